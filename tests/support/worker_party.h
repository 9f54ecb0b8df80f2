#ifndef MAILRAIL_TESTS_SUPPORT_WORKER_PARTY_H_
#define MAILRAIL_TESTS_SUPPORT_WORKER_PARTY_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/fd.h"
#include "tests/support/child.h"
#include "tests/support/ledger.h"
#include "tests/support/party.h"

namespace mailrail {

// A party in a child process (worker.cc), which carries out each command in a thread of its own.
// Thread-safe as Party says; made and destroyed by the test's main thread.
class WorkerParty final : public Party {
 public:
  // Starts a worker that attaches to the agent at `socket`; its error when it cannot. `ledger` may
  // be null.
  static absl::StatusOr<std::unique_ptr<WorkerParty>> Start(const std::string& socket,
                                                            const Ledger* ledger);
  ~WorkerParty() override;

  pid_t pid() const { return child_.pid(); }
  Child& child() { return child_; }

  void End() override;
  void Exit() override;

 private:
  WorkerParty(Child child, Fd channel);

  party::Result Do(party::Command command) override;
  void ReadResults();

  Child child_;
  const Fd channel_;
  absl::Mutex write_mutex_;
  absl::Mutex mutex_;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  // What came and was not yet taken by who asked.
  std::map<uint64_t, party::Result> results_ ABSL_GUARDED_BY(mutex_);
  std::thread reader_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_WORKER_PARTY_H_
