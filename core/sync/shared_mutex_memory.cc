#include "core/sync/shared_mutex_memory.h"

namespace mailrail {
namespace {

// Where a reader begins to look for a cell: threads that follow each other are a cache line apart.
uint32_t FirstCell(Holder me) { return (me.number * 37 + me.thread) * 16; }

}  // namespace

Acquired SharedMutexMemory::TryLockShared(Holder me, uint32_t* cell) {
  uint64_t state = header().state.load();
  if (IsHeld(state)) return Holder::Unpack(state) == me ? Acquired::kHeldBySelf : Acquired::kNo;
  const uint32_t first = FirstCell(me);
  for (uint32_t i = 0; i < count(); ++i) {
    const uint32_t index = (first + i * 17) % count();
    uint64_t nobody = 0;
    if (!this->cell(index).compare_exchange_strong(nobody, me.Pack())) continue;
    state = header().state.load();
    if (!IsHeld(state)) {
      *cell = index;
      return (state & kDied) != 0 ? Acquired::kAfterDeath : Acquired::kYes;
    }
    UnlockShared(me, index);
    return Acquired::kNo;
  }
  return Acquired::kNo;
}

bool SharedMutexMemory::UnlockShared(Holder me, uint32_t cell) {
  uint64_t mine = me.Pack();
  if (!this->cell(cell).compare_exchange_strong(mine, 0)) return false;
  // One that waits to write, or to read where all cells were in use.
  WakeSleepers();
  return true;
}

Acquired SharedMutexMemory::TryLock(Holder me) {
  uint64_t state = 0;
  while (!header().state.compare_exchange_weak(state, me.Pack())) {
    if (IsHeld(state)) {
      return Holder::Unpack(state) == me ? Acquired::kHeldBySelf : Acquired::kNo;
    }
  }
  return state == kDied ? Acquired::kAfterDeath : Acquired::kYes;
}

bool SharedMutexMemory::Drained() const {
  for (uint32_t i = 0; i < count(); ++i) {
    if (cell(i).load() != 0) return false;
  }
  return true;
}

bool SharedMutexMemory::Unlock(Holder me, bool died) {
  uint64_t mine = me.Pack();
  if (!header().state.compare_exchange_strong(mine, died ? kDied : 0)) return false;
  WakeSleepers();
  return true;
}

uint64_t SharedMutexMemory::Fence(Holder me, uint32_t cell) {
  const uint64_t fence = NextFence();
  const bool holds = cell == kNoCell ? writer() == me : this->cell(cell).load() == me.Pack();
  return holds ? fence : 0;
}

Holder SharedMutexMemory::writer() const { return Holder::Unpack(header().state.load()); }

bool SharedMutexMemory::MayRead() const {
  if (writer().number != 0) return false;
  for (uint32_t i = 0; i < count(); ++i) {
    if (cell(i).load() == 0) return true;
  }
  return false;
}

uint32_t SharedMutexMemory::FindReader(Holder me) const {
  for (uint32_t i = 0; i < count(); ++i) {
    if (cell(i).load() == me.Pack()) return i;
  }
  return kNoCell;
}

uint32_t SharedMutexMemory::Readers(Holder* readers, uint32_t max) const {
  uint32_t found = 0;
  for (uint32_t i = 0; i < count() && found < max; ++i) {
    const uint64_t word = cell(i).load();
    if (IsHeld(word)) readers[found++] = Holder::Unpack(word);
  }
  return found;
}

bool SharedMutexMemory::RemoveHolders(Gone gone) {
  bool removed = false;
  uint64_t state = header().state.load();
  while (IsHeldByGone(state, gone)) {
    if (header().state.compare_exchange_weak(state, kDied)) {
      removed = true;
      break;
    }
  }
  for (uint32_t i = 0; i < count(); ++i) {
    uint64_t word = cell(i).load();
    removed |= IsHeldByGone(word, gone) && cell(i).compare_exchange_strong(word, 0);
  }
  if (removed) WakeAll();
  return removed;
}

}  // namespace mailrail
