#include "core/sync/semaphore_memory.h"

namespace mailrail {

void SemaphoreMemory::Fill(char* memory, size_t bytes, uint32_t units) {
  const SemaphoreMemory semaphore(memory, bytes);
  for (uint32_t i = 0; i < units; ++i) semaphore.cell(i).store(kFree, std::memory_order_relaxed);
}

template <typename To>
bool SemaphoreMemory::Change(uint64_t from, To to, uint32_t* cell, uint64_t* seen) {
  uint32_t index = *cell < count() ? *cell : 0;
  *seen = 0;
  for (uint32_t i = 0; i < count(); ++i) {
    uint64_t word = this->cell(index).load();
    // It fails only when somebody else was quicker with this one.
    if (What(word) == from && this->cell(index).compare_exchange_strong(word, to(word))) {
      *cell = index;
      return true;
    }
    *seen = (*seen ^ word) * 0x9e3779b97f4a7c15;
    if (++index == count()) index = 0;
  }
  return false;
}

bool SemaphoreMemory::TryAcquire(Holder me, bool has_slept, uint32_t* cell) {
  uint64_t seen = 0;
  const auto mine = [me](uint64_t word) { return me.Pack() | Takes(word) | kHeld; };
  if (!Change(kFree, mine, cell, &seen)) return false;
  if (has_slept) PassOn();
  return true;
}

bool SemaphoreMemory::TryTake(bool has_slept, uint32_t* cell) {
  uint64_t seen = 0;
  const auto none = [](uint64_t word) { return Takes(word + kOneTake) | kNone; };
  if (!Change(kFree, none, cell, &seen)) return false;
  if (has_slept) PassOn();
  return true;
}

bool SemaphoreMemory::Release(Holder me, uint32_t cell) {
  uint64_t word = this->cell(cell).load();
  if (!HeldBy(word, me) || !this->cell(cell).compare_exchange_strong(word, Takes(word) | kFree)) {
    return false;
  }
  WakeSleeper();
  return true;
}

template <typename To>
bool SemaphoreMemory::ChangeNone(To to, uint32_t* cell) {
  uint64_t before = 0, seen = 0;
  for (bool again = false; !Change(kNone, to, cell, &seen); again = true) {
    // Cells may have become none behind where it looked. When two looks have seen the same, there
    // was a moment between them at which none was.
    if (again && seen == before) return false;
    before = seen;
  }
  return true;
}

bool SemaphoreMemory::Add(uint32_t* cell) {
  if (!ChangeNone([](uint64_t word) { return Takes(word) | kFree; }, cell)) return false;
  WakeSleeper();
  return true;
}

bool SemaphoreMemory::FindHeld(Holder me, uint32_t* cell) const {
  for (uint32_t i = 0; i < count(); ++i) {
    if (!HeldBy(this->cell(i).load(), me)) continue;
    *cell = i;
    return true;
  }
  return false;
}

bool SemaphoreMemory::Reserve(Holder me, uint32_t* cell) {
  return ChangeNone([me](uint64_t word) { return me.Pack() | Takes(word) | kHeld; }, cell);
}

bool SemaphoreMemory::Consume(Holder me, uint32_t cell) {
  uint64_t word = this->cell(cell).load();
  return HeldBy(word, me) &&
         this->cell(cell).compare_exchange_strong(word, Takes(word + kOneTake) | kNone);
}

void SemaphoreMemory::PassOn() {
  header().sleepers.store(1);
  // Of two units that are freed one after the other the second wakes nobody, when the first has
  // cleared the flag.
  if (HasFree()) WakeSleeper();
}

uint64_t SemaphoreMemory::Fence(Holder me, uint32_t cell) {
  const uint64_t fence = NextFence();
  return HeldBy(this->cell(cell).load(), me) ? fence : 0;
}

bool SemaphoreMemory::HasFree() const {
  for (uint32_t i = 0; i < count(); ++i) {
    if (What(cell(i).load()) == kFree) return true;
  }
  return false;
}

uint32_t SemaphoreMemory::value() const {
  uint32_t value = 0;
  for (uint32_t i = 0; i < count(); ++i) value += What(cell(i).load()) == kFree ? 1 : 0;
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

uint32_t SemaphoreMemory::RemoveHolders(Gone gone) {
  uint32_t removed = 0;
  for (uint32_t i = 0; i < count(); ++i) {
    uint64_t word = cell(i).load();
    if (!IsHeldByGone(word, gone)) continue;
    if (cell(i).compare_exchange_strong(word, Takes(word) | kFree)) ++removed;
  }
  if (removed > 0) WakeAll();
  return removed;
}

}  // namespace mailrail
