#ifndef MAILRAIL_CORE_SHM_HANDLE_LOCK_H_
#define MAILRAIL_CORE_SHM_HANDLE_LOCK_H_

#include <atomic>
#include <mutex>

#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"

namespace mailrail {

// A lock for what several handles may share and one handle uses most of the time. A handle is used
// by one thread at a time; so while there is but one (AddHandle was called once), Lock and Unlock
// are a few plain stores. A second handle makes it a mutex, for as long as there are any.
//
// The first of two handles may be in use when the second one is added: it stores `busy_`, then
// loads `sole_`; AddHandle stores `sole_`, has every thread of the process pass a barrier
// (membarrier), then loads `busy_`. So either it waits for the user, or the user sees that it is
// no longer alone. After Dice, Huang, Yang: "Asymmetric Dekker synchronization" (2001).
//
// Lock, Unlock: thread-safe among handles. AddHandle, RemoveHandle: thread-safe.
class ABSL_LOCKABLE HandleLock {
 public:
  HandleLock() = default;
  HandleLock(const HandleLock&) = delete;
  HandleLock& operator=(const HandleLock&) = delete;

  // A handle that uses this lock begins, or ends, to exist. Whoever locks without being counted
  // must be alone, or do so while none or several are counted.
  void AddHandle();
  void RemoveHandle();

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    if (ABSL_PREDICT_TRUE(sole_.load(std::memory_order_relaxed))) {
      busy_.store(true, std::memory_order_relaxed);
      // The barrier between the two is in AddHandle.
      std::atomic_signal_fence(std::memory_order_seq_cst);
      if (ABSL_PREDICT_TRUE(sole_.load(std::memory_order_relaxed))) {
        locked_alone_ = true;
        return;
      }
      busy_.store(false, std::memory_order_release);
    }
    mutex_.lock();
    locked_alone_ = false;
  }

  void Unlock() ABSL_UNLOCK_FUNCTION() {
    if (ABSL_PREDICT_TRUE(locked_alone_)) {
      busy_.store(false, std::memory_order_release);
    } else {
      mutex_.unlock();
    }
  }

 private:
  std::atomic<bool> sole_{false};
  std::atomic<bool> busy_{false};
  bool locked_alone_ = false;  // of whoever holds the lock
  int handles_ = 0;            // guarded by mutex_
  std::mutex mutex_;
};

class ABSL_SCOPED_LOCKABLE HandleLockHolder {
 public:
  explicit HandleLockHolder(HandleLock* lock) ABSL_EXCLUSIVE_LOCK_FUNCTION(lock) : lock_(lock) {
    lock_->Lock();
  }
  ~HandleLockHolder() ABSL_UNLOCK_FUNCTION() { lock_->Unlock(); }
  HandleLockHolder(const HandleLockHolder&) = delete;
  HandleLockHolder& operator=(const HandleLockHolder&) = delete;

 private:
  HandleLock* const lock_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_HANDLE_LOCK_H_
