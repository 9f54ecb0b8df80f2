#ifndef MAILRAIL_TESTS_SUPPORT_LOCKS_H_
#define MAILRAIL_TESTS_SUPPORT_LOCKS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "mailrail/mailrail.h"
#include "tests/support/party.pb.h"

namespace mailrail {

// The mutexes and other objects that a party has open, and threads to hold them. Thread-safe, but
// one call at a time of each thread.
class Locks {
 public:
  // `process` is not owned, and outlives it.
  explicit Locks(Process* process);
  ~Locks();

  // Runs `what` on the party's thread of this number, which is there from then on, and waits for
  // it.
  void On(uint32_t thread, std::function<void()> what);

  // What `call` says; on the thread that it names, by On. An object is opened by its first call.
  party::LockResult Do(const party::LockCall& call, absl::Time deadline);

 private:
  using Object = std::variant<std::monostate, Mutex, SharedMutex, Semaphore, Condition, Barrier>;
  class Actor;

  absl::StatusOr<Object*> Find(const party::LockCall& call);
  absl::Status Carry(const party::LockCall& call, Object& object, absl::Time deadline,
                     party::LockResult* result);
  absl::Status Acquire(const party::LockCall& call, Semaphore& semaphore, absl::Time deadline,
                       party::LockResult* result);
  absl::Status Release(const party::LockCall& call);

  Process* const process_;
  absl::Mutex mutex_;
  std::map<uint32_t, std::unique_ptr<Actor>> actors_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<int, std::string>, std::unique_ptr<Object>> objects_ ABSL_GUARDED_BY(mutex_);
  std::multimap<std::string, Semaphore::Permit> permits_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_LOCKS_H_
