#ifndef MAILRAIL_TESTS_SUPPORT_LOCAL_PARTY_H_
#define MAILRAIL_TESTS_SUPPORT_LOCAL_PARTY_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "mailrail/mailrail.h"
#include "tests/support/ledger.h"
#include "tests/support/locks.h"
#include "tests/support/party.h"
#include "tests/support/pipes.h"
#include "tests/support/queues.h"
#include "tests/support/regions.h"

namespace mailrail {

// A party within this program. Thread-safe as Party says.
class LocalParty final : public Party {
 public:
  // Attaches to the agent at `socket`. `ledger` is not owned, must live on, and may be null.
  static absl::StatusOr<std::unique_ptr<LocalParty>> Attach(const std::string& socket,
                                                            Ledger* ledger);

  Process& process() { return *process_; }

  // By their handles, for what a Party cannot be told to do.
  Sender& sender(Handle handle);
  Receiver& receiver(Handle handle);

  void End() override;
  party::Result Do(party::Command command) override;

 private:
  using Channel = std::variant<std::monostate, Sender, Receiver>;
  class Running;

  LocalParty(Process process, Ledger* ledger);

  void Carry(const party::Command& command, party::Result& result);
  Handle Keep(Channel channel);
  Channel& channel(Handle handle);
  absl::Status CarrySettle(const party::Settle& settle);
  absl::Status CarryCall(const party::Call& call, absl::Time deadline, party::Result& result);
  absl::Status CarryAnswer(const party::Answer& answer, absl::Time deadline);
  absl::Status CarryEcho(const party::Echo& echo, absl::Time deadline);
  absl::Status CarrySend(const party::Send& send, absl::Time deadline, party::Result& result);
  absl::Status CarryReceive(const party::Receive& receive, absl::Time deadline,
                            party::Result& result);

  std::optional<Process> process_;
  Ledger* const ledger_;
  // Null once it has ended.
  std::unique_ptr<Queues> queues_;
  std::unique_ptr<Queues> posix_queues_;
  std::unique_ptr<Locks> locks_;
  std::unique_ptr<Pipes> pipes_;
  std::unique_ptr<NamedRegions> regions_;
  absl::Mutex mutex_;
  // Handle n is at n - 1; destroyed ones stay as std::monostate.
  std::vector<std::unique_ptr<Channel>> channels_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Message> leased_ ABSL_GUARDED_BY(mutex_);  // by number
  // The threads that are in a call.
  std::multiset<pid_t> callers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_LOCAL_PARTY_H_
