#ifndef MAILRAIL_CORE_PROCESS_WAIT_SET_IMPL_H_
#define MAILRAIL_CORE_PROCESS_WAIT_SET_IMPL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/base/fd.h"
#include "core/process/process_impl.h"
#include "core/process/waitable.h"
#include "core/process/watcher.h"
#include "core/shm/step.h"

namespace mailrail::internal {

// Behind WaitSet. Who waits sleeps on the words of all members at once, as long as these are few
// and nobody has asked for the descriptor; else the watcher's threads do, and tell of the first
// that is ready ("signal"), until a wait has found none ("unsignal").
//
// Thread-safe. `process` outlives this.
class WaitSetImpl {
 public:
  explicit WaitSetImpl(ProcessImpl* process) : process_(process) {}
  ~WaitSetImpl();

  ProcessImpl* process() const { return process_; }

  // As WaitSet. A period of zero: once.
  absl::Status Add(uint64_t key, Waitable* waitable);
  // The same of one that is the set's.
  absl::Status Add(uint64_t key, std::unique_ptr<Waitable> waitable);
  absl::Status AddTimer(uint64_t key, absl::Time time, absl::Duration period);
  absl::Status Remove(uint64_t key);
  size_t size() const;
  // Puts the keys of those that are ready into `keys`; returns how many, at least 1.
  absl::StatusOr<size_t> Wait(absl::Span<uint64_t> keys, absl::Time deadline);
  void Wake();
  absl::StatusOr<int> Descriptor();

 private:
  struct Member final : Watched {
    bool SignalOrPark(FutexWord* word, absl::Duration* longest) override {
      return set->SignalOrPark(this, word, longest);
    }
    WaitSetImpl* set = nullptr;
    uint64_t key = 0;
    Waitable* waitable = nullptr;  // null: a timer
    std::unique_ptr<Waitable> owned;
    absl::Time due;
    absl::Duration period;
    bool watched = false;  // by the watcher
  };

  absl::Status AddMember(std::unique_ptr<Member> member);
  absl::Status Insert(std::unique_ptr<Member> member) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(Member* member) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsReady(const Member& member, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AnyReady() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  size_t TakeReady(absl::Span<uint64_t> keys) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The key of a timer is returned.
  void Expire(Member* timer, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time NextDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sets the descriptor's timer to what is due next.
  void Arm() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Until something may be ready, at most until `deadline`. Without the lock while it sleeps.
  void Sleep(absl::Time deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Whoever waits looks again.
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Signal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Unsignal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SignalOrPark(Member* member, FutexWord* word, absl::Duration* longest);
  // Hands members that it has not got yet to the watcher, if that is to sleep for this set.
  void WatchAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);

  ProcessImpl* const process_;
  // Held by who adds and removes receivers; before mutex_, which the watcher's threads take.
  absl::Mutex change_mutex_;
  mutable absl::Mutex mutex_ ABSL_ACQUIRED_AFTER(change_mutex_);
  absl::flat_hash_map<uint64_t, std::unique_ptr<Member>> members_ ABSL_GUARDED_BY(mutex_);
  std::vector<Member*> order_ ABSL_GUARDED_BY(mutex_);
  size_t turn_ ABSL_GUARDED_BY(mutex_) = 0;       // the one that a look begins with
  size_t waitables_ ABSL_GUARDED_BY(mutex_) = 0;  // of the members
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  // The watcher's threads sleep for this set; that stays so.
  bool threads_ ABSL_GUARDED_BY(mutex_) = false;
  bool signaled_ ABSL_GUARDED_BY(mutex_) = false;
  SharedAtomic<uint32_t> changes_{0};
  // Once the descriptor was asked for: an epoll descriptor over the other two.
  Fd epoll_ ABSL_GUARDED_BY(mutex_);
  Fd event_ ABSL_GUARDED_BY(mutex_);
  Fd timer_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_WAIT_SET_IMPL_H_
