// Monitors: a mutex with conditions, by name. What sync.h says of names, deaths, errors and handles
// holds here too.
#ifndef MAILRAIL_MONITOR_H_
#define MAILRAIL_MONITOR_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "mailrail/sync.h"

namespace mailrail {

// A condition variable, for use with one Mutex. A notification is one waiter's, and is never lost:
// one whose waiter died with it goes to another. Up to 1024 may wait.
class Condition {
 public:
  static absl::StatusOr<Condition> Open(Process& process, absl::string_view name,
                                        const OpenOptions& options = {},
                                        absl::Time deadline = absl::Now() + absl::Seconds(10));
  static absl::Status Destroy(Process& process, absl::string_view name,
                              absl::Time deadline = absl::Now() + absl::Seconds(10));

  Condition(Condition&&) noexcept;
  Condition& operator=(Condition&&) noexcept;
  ~Condition();

  // Unlocks `mutex`, waits to be notified, and locks it again, for which it waits beyond
  // `deadline`, and is not refused (Mutex::Lock): so this thread has the mutex whatever this
  // returns, unless the mutex was destroyed or taken away meanwhile (Mutex::HeldByThisThread).
  // kFailedPrecondition when this thread does not have it; kResourceExhausted when too many wait.
  // It may return without a notification: look again at what is waited for. `grant`, unless it is
  // null, becomes that of locking it again, whatever this returns then; an owner_died that is set
  // stays so.
  absl::Status Wait(Mutex& mutex, absl::Time deadline = absl::InfiniteFuture(),
                    Grant* grant = nullptr);

  // Waits until `until` is true, which is asked under the mutex. kDeadlineExceeded when it is not
  // at the deadline. `grant` as above.
  absl::Status WaitUntil(Mutex& mutex, absl::FunctionRef<bool()> until,
                         absl::Time deadline = absl::InfiniteFuture(), Grant* grant = nullptr);

  // Best called by who has the mutex. Whoever waits then is woken: one of them, or all. Errors: a
  // fork's child alone.
  absl::Status NotifyOne();
  absl::Status NotifyAll();

 private:
  explicit Condition(std::shared_ptr<internal::SyncObject> object);
  std::shared_ptr<internal::SyncObject> object_;
};

// A mutex and its conditions as one: who has entered is alone in it, and leaves while it waits.
class Monitor {
 public:
  // Opens the mutex `name` and, for each of `conditions`, the condition `name.CONDITION`.
  static absl::StatusOr<Monitor> Open(Process& process, absl::string_view name,
                                      const std::vector<std::string>& conditions,
                                      const OpenOptions& options = {},
                                      absl::Time deadline = absl::Now() + absl::Seconds(10));

  // This thread is in the monitor until this goes. Move-only; its Monitor outlives it.
  class Entry {
   public:
    // As of entering last, which may be after a wait; owner_died: somebody has died in it, before
    // this was entered or during a wait.
    const Grant& grant() const { return grant_; }

    // Leaves, waits until `condition` (its place in Open's list) is notified, and enters again. As
    // Condition.
    absl::Status Wait(size_t condition, absl::Time deadline = absl::InfiniteFuture());
    absl::Status WaitUntil(size_t condition, absl::FunctionRef<bool()> until,
                           absl::Time deadline = absl::InfiniteFuture());
    absl::Status NotifyOne(size_t condition);
    absl::Status NotifyAll(size_t condition);

   private:
    friend class Monitor;
    Entry(Monitor* monitor, MutexLock lock)
        : monitor_(monitor), grant_(lock.grant()), lock_(std::move(lock)) {}
    // kInvalidArgument when there are not so many.
    absl::StatusOr<Condition*> Find(size_t condition);
    Monitor* monitor_;
    Grant grant_;
    MutexLock lock_;
  };
  // Errors as Mutex::Lock.
  absl::StatusOr<Entry> Enter(absl::Time deadline = absl::InfiniteFuture());

 private:
  Monitor(std::unique_ptr<Mutex> mutex, std::vector<Condition> conditions)
      : mutex_(std::move(mutex)), conditions_(std::move(conditions)) {}
  std::unique_ptr<Mutex> mutex_;  // where entries find it, wherever this goes
  std::vector<Condition> conditions_;
};

}  // namespace mailrail

#endif  // MAILRAIL_MONITOR_H_
