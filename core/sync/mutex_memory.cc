#include "core/sync/mutex_memory.h"

namespace mailrail {

Acquired MutexMemory::TryLock(Holder me, bool has_slept) {
  uint64_t state = 0;  // what it is most often
  while (!header().state.compare_exchange_weak(state, me.Pack())) {
    if (IsHeld(state)) {
      return Holder::Unpack(state) == me ? Acquired::kHeldBySelf : Acquired::kNo;
    }
  }
  if (has_slept) header().sleepers.store(1);
  return state == kDied ? Acquired::kAfterDeath : Acquired::kYes;
}

bool MutexMemory::Unlock(Holder me) {
  uint64_t mine = me.Pack();
  if (!header().state.compare_exchange_strong(mine, 0)) return false;
  WakeSleeper();
  return true;
}

uint64_t MutexMemory::Fence(Holder me) {
  const uint64_t fence = NextFence();
  return HeldBy(me) ? fence : 0;
}

Holder MutexMemory::holder() const { return Holder::Unpack(header().state.load()); }

bool MutexMemory::RemoveHolder(uint32_t number) {
  uint64_t state = header().state.load();
  while (IsHeldBy(state, number)) {
    if (header().state.compare_exchange_weak(state, kDied)) {
      WakeAll();
      return true;
    }
  }
  return false;
}

}  // namespace mailrail
