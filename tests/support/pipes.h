#ifndef MAILRAIL_TESTS_SUPPORT_PIPES_H_
#define MAILRAIL_TESTS_SUPPORT_PIPES_H_

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "mailrail/mailrail.h"
#include "tests/support/party.pb.h"

namespace mailrail {

// The ends of pipes and FIFOs that a party has open, by name. Thread-safe; one call at a time on
// one end.
class Pipes {
 public:
  // `process` is not owned, and outlives it.
  explicit Pipes(Process* process) : process_(process) {}

  party::PipeResult Do(const party::PipeCall& call, absl::Time deadline);

 private:
  // Of a pipe one of the two, of a FIFO both.
  struct End {
    std::unique_ptr<PipeReader> reader;
    std::unique_ptr<PipeWriter> writer;
  };
  absl::Status Open(const party::PipeCall& call, absl::Time deadline);

  Process* const process_;
  absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<End>> ends_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_PIPES_H_
