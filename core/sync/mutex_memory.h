#ifndef MAILRAIL_CORE_SYNC_MUTEX_MEMORY_H_
#define MAILRAIL_CORE_SYNC_MUTEX_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "core/shm/futex.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// A mutex in shared memory. The state is its holder; it has no cells.
//
//   lock     state: nobody -> me
//   unlock   state: me -> nobody; wake one that sleeps
//
// So lock and unlock of a mutex for which nobody waits are one compare-and-swap each. It is not
// fair: one that comes by may be quicker than one that was woken. Thread-safe.
class MutexMemory : public SyncMemory {
 public:
  static constexpr SyncKind kKind = SyncKind::kMutex;
  static constexpr size_t kBytes = BytesFor(0);

  // As SyncMemory. REQUIRES: Check(memory, bytes, kKind) was OK once.
  MutexMemory(char* memory, size_t bytes) : SyncMemory(memory, bytes) {}

  // `has_slept`: whether `me` has slept for it since it has tried first.
  Acquired TryLock(Holder me, bool has_slept);

  // False when it is not held by `me` (any more): it was taken away.
  bool Unlock(Holder me);

  // A fencing token for `me`, who holds it; 0 when it does not.
  uint64_t Fence(Holder me);

  // Nobody's: Holder{}.
  Holder holder() const;
  bool HeldBy(Holder me) const { return holder() == me; }

  // Takes away what a process holds that has ended; the next holder is told. Whether there was
  // something.
  bool RemoveHolder(uint32_t number) {
    return RemoveHolders([number](uint32_t holder) { return holder == number; });
  }
  // The same of all processes that have ended.
  bool RemoveHolders(Gone gone);

 private:
  // A flag of the state: the last holder has died with it, and nobody holds it.
  static constexpr uint64_t kDied = 1;
};

// Here, since a call costs as much as what they do.

inline Acquired MutexMemory::TryLock(Holder me, bool has_slept) {
  uint64_t state = 0;  // what it is most often
  while (!header().state.compare_exchange_weak(state, me.Pack())) {
    if (IsHeld(state)) {
      return Holder::Unpack(state) == me ? Acquired::kHeldBySelf : Acquired::kNo;
    }
  }
  if (has_slept) header().sleepers.store(1);
  return state == kDied ? Acquired::kAfterDeath : Acquired::kYes;
}

inline bool MutexMemory::Unlock(Holder me) {
  uint64_t mine = me.Pack();
  if (!header().state.compare_exchange_strong(mine, 0)) return false;
  WakeSleeper();
  return true;
}

inline uint64_t MutexMemory::Fence(Holder me) {
  const uint64_t fence = NextFence();
  return HeldBy(me) ? fence : 0;
}

inline Holder MutexMemory::holder() const { return Holder::Unpack(header().state.load()); }

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_MUTEX_MEMORY_H_
