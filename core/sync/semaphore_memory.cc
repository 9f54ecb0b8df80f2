#include "core/sync/semaphore_memory.h"

namespace mailrail {

void SemaphoreMemory::Fill(char* memory, uint32_t units) {
  const SemaphoreMemory semaphore(memory);
  for (uint32_t i = 0; i < units; ++i) semaphore.cell(i).store(kFree, std::memory_order_relaxed);
}

bool SemaphoreMemory::Change(uint64_t from, uint64_t to, uint32_t* cell) {
  uint32_t index = *cell < count() ? *cell : 0;
  for (uint32_t i = 0; i < count(); ++i) {
    uint64_t word = this->cell(index).load();
    // It fails only when somebody else was quicker with this one.
    if (word == from && this->cell(index).compare_exchange_strong(word, to)) {
      *cell = index;
      return true;
    }
    if (++index == count()) index = 0;
  }
  return false;
}

bool SemaphoreMemory::TryAcquire(Holder me, bool has_slept, uint32_t* cell) {
  if (!Change(kFree, me.Pack(), cell)) return false;
  if (has_slept) PassOn();
  return true;
}

bool SemaphoreMemory::TryTake(bool has_slept, uint32_t* cell) {
  if (!Change(kFree, kNone, cell)) return false;
  if (has_slept) PassOn();
  return true;
}

bool SemaphoreMemory::Release(Holder me, uint32_t cell) {
  uint64_t mine = me.Pack();
  if (!this->cell(cell).compare_exchange_strong(mine, kFree)) return false;
  WakeSleeper();
  return true;
}

bool SemaphoreMemory::Add(uint32_t* cell) {
  if (!Change(kNone, kFree, cell)) return false;
  WakeSleeper();
  return true;
}

void SemaphoreMemory::PassOn() {
  header().sleepers.store(1);
  // Of two units that are freed one after the other the second wakes nobody, when the first has
  // cleared the flag.
  for (uint32_t i = 0; i < count(); ++i) {
    if (cell(i).load() == kFree) return WakeSleeper();
  }
}

uint64_t SemaphoreMemory::Fence(Holder me, uint32_t cell) {
  const uint64_t fence = NextFence();
  return this->cell(cell).load() == me.Pack() ? fence : 0;
}

uint32_t SemaphoreMemory::value() const {
  uint32_t value = 0;
  for (uint32_t i = 0; i < count(); ++i) value += cell(i).load() == kFree ? 1 : 0;
  return value;
}

uint32_t SemaphoreMemory::Holders(Holder* holders, uint32_t max) const {
  uint32_t found = 0;
  for (uint32_t i = 0; i < count() && found < max; ++i) {
    const uint64_t word = cell(i).load();
    if (IsHeld(word)) holders[found++] = Holder::Unpack(word);
  }
  return found;
}

uint32_t SemaphoreMemory::RemoveHolder(uint32_t number) {
  uint32_t removed = 0;
  for (uint32_t i = 0; i < count(); ++i) {
    uint64_t word = cell(i).load();
    if (IsHeldBy(word, number) && cell(i).compare_exchange_strong(word, kFree)) ++removed;
  }
  if (removed > 0) WakeAll();
  return removed;
}

}  // namespace mailrail
