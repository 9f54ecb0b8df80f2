#ifndef MAILRAIL_CORE_QUEUE_QUEUE_NOTIFIER_H_
#define MAILRAIL_CORE_QUEUE_QUEUE_NOTIFIER_H_

#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "mailrail/process.h"
#include "mailrail/receiver.h"
#include "mailrail/wait_set.h"

namespace mailrail::internal {

// Behind MessageQueue::Notify: a thread that waits, while there is a registration, until a receive
// may find something. That no other process is registered an owned mailbox shows, which one alone
// can create, and which ends with its process.
//
// Thread-safe, but for destruction, which is not in the callback. A forked child has no such
// thread, and leaves it alone. `process` outlives it.
class QueueNotifier {
 public:
  // `receiver` receives from the queue; `registration` is the name of the owned mailbox.
  QueueNotifier(Process* process, Receiver receiver, std::string registration);
  ~QueueNotifier();

  // As MessageQueue.
  absl::Status Register(std::function<void()> callback);
  void Cancel();

 private:
  enum class State {
    kFree,
    kChanging,  // a thread is asking the agent for the owned mailbox, or to destroy it
    kRegistered,
    kStopped,
  };

  // What the thread does.
  void Run();
  // Waits until there is a registration; false when it is to end.
  bool AwaitRegistration();
  bool registered() ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the registration and calls back.
  void Call();
  // Waits until no other thread is changing it.
  void AwaitChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Has the owned mailbox made, unless it is there.
  absl::Status Claim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Has it destroyed, and ends the registration; returns what was registered.
  std::function<void()> Release() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Process* const process_;
  const std::string registration_;
  Receiver receiver_;
  WaitSet set_;
  absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kFree;
  // The owned mailbox is there; also when it could not be destroyed, as no agent ran.
  bool owns_ ABSL_GUARDED_BY(mutex_) = false;
  bool calling_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> callback_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_QUEUE_QUEUE_NOTIFIER_H_
