#ifndef MAILRAIL_CORE_PROCESS_CALLS_H_
#define MAILRAIL_CORE_PROCESS_CALLS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "core/mailbox/outgoing_lane.h"
#include "mailrail/message.h"
#include "mailrail/receiver.h"
#include "mailrail/sender.h"

namespace mailrail::internal {

class ProcessImpl;

// The requests of a process, and their answers. All answers come to one mailbox that the process
// owns, made on first use; one of the callers receives from it, for all of them. Thread-safe.
class Calls {
 public:
  // `process` outlives it.
  explicit Calls(ProcessImpl* process) : process_(process) {}

  // As Sender::Call.
  absl::StatusOr<Message> Call(OutgoingLane* lane, absl::string_view body, SendOptions options,
                               absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Waiting {
    absl::optional<Message> answer;
    absl::CondVar wake;
  };

  // Makes the mailbox, unless it is there.
  absl::Status Open(absl::Time deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Message> Await(const OutgoingLane& lane, Waiting* waiting, absl::Time deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Receives one answer and hands it to whom it is for. Gives up the lock while it waits.
  absl::Status ReceiveOne(absl::Time deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Has another caller receive, if one waits and nobody does.
  void HandOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  ProcessImpl* const process_;
  absl::Mutex mutex_;
  std::string reply_to_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Receiver> answers_ ABSL_GUARDED_BY(mutex_);
  bool receiving_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_call_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Waiting*> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_CALLS_H_
