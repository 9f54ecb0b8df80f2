#include "core/sync/mutex_memory.h"

namespace mailrail {

Acquired MutexMemory::TryLock(Holder me, bool has_slept) {
  const uint64_t mine = me.Pack() | (has_slept ? kMayWait : 0);
  uint64_t state = 0;  // what it is most often
  while (!header().state.compare_exchange_weak(state, mine)) {
    if (IsHeld(state)) {
      return Holder::Unpack(state) == me ? Acquired::kHeldBySelf : Acquired::kNo;
    }
  }
  return (state & kDied) != 0 ? Acquired::kAfterDeath : Acquired::kYes;
}

bool MutexMemory::Unlock(Holder me) {
  uint64_t state = me.Pack();
  while (!header().state.compare_exchange_weak(state, 0)) {
    if (Holder::Unpack(state) != me) return false;
  }
  if ((state & kMayWait) != 0) WakeOne();
  return true;
}

FutexWord MutexMemory::Park() {
  const FutexWord word = gate();
  uint64_t state = header().state.load();
  while (IsHeld(state) && (state & kMayWait) == 0 &&
         !header().state.compare_exchange_weak(state, state | kMayWait)) {
  }
  return word;
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
