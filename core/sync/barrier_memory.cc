#include "core/sync/barrier_memory.h"

namespace mailrail {

bool BarrierMemory::Arrive(Holder me, Place* place) {
  const uint32_t generation = this->generation();
  for (uint32_t i = 0; i < count(); ++i) {
    uint64_t word = cell(i).load();
    // After that: else it may be the place of one that has come for the next.
    if (this->generation() != generation) return false;
    // One that leaves keeps its cell until it has.
    const bool taken = IsHeld(word) && (word & kTag) == (generation & kTag);
    // It succeeds in this generation alone, since the next one begins when no cell is as it was: so
    // this party was counted, even if the barrier is tripped before it looks again.
    if (taken || !cell(i).compare_exchange_strong(word, me.Pack() | (generation & kTag))) continue;
    *place = {generation, i};
    TryTrip(generation);
    return true;
  }
  TryTrip(generation);
  return false;
}

void BarrierMemory::TryTrip(uint32_t generation) {
  uint64_t state = header().state.load();
  while (GenerationOf(state) == generation) {
    for (uint32_t i = 0; i < count(); ++i) {
      if (!Counts(cell(i).load(), generation)) return;
    }
    const uint64_t next = (uint64_t{generation} + 1) << 32 | (state & 0xffffffff);
    if (!header().state.compare_exchange_strong(state, next)) continue;
    return WakeSleepers();
  }
}

bool BarrierMemory::Passed(const Place& place) {
  if (generation() == place.generation) TryTrip(place.generation);
  return generation() != place.generation;
}

bool BarrierMemory::Depart(uint32_t generation, uint32_t cell, uint64_t leaving) {
  uint64_t state = header().state.load();
  while (GenerationOf(state) == generation) {
    const uint64_t next = (state & ~uint64_t{0xffffffff}) | ((state + 1) & 0xffffffff);
    if (!header().state.compare_exchange_strong(state, next)) continue;
    this->cell(cell).compare_exchange_strong(leaving, leaving & kTag);
    return true;
  }
  return false;
}

bool BarrierMemory::At(Holder me, const Place& place) const {
  return place.cell < count() && cell(place.cell).load() == (me.Pack() | (place.generation & kTag));
}

bool BarrierMemory::Find(Holder me, Place* place) const {
  const uint32_t generation = this->generation();
  for (uint32_t i = 0; i < count(); ++i) {
    *place = {generation, i};
    if (At(me, *place)) return true;
  }
  return false;
}

BarrierMemory::Left BarrierMemory::Leave(Holder me, const Place& place) {
  const uint64_t mine = me.Pack() | (place.generation & kTag);
  uint64_t word = mine;
  if (!cell(place.cell).compare_exchange_strong(word, mine | kLeaving)) {
    // By now it may be one of the next generation's.
    return generation() != place.generation ? Left::kPassed : Left::kTakenAway;
  }
  return Depart(place.generation, place.cell, mine | kLeaving) ? Left::kLeft : Left::kPassed;
}

uint32_t BarrierMemory::arrived() const {
  const uint32_t generation = this->generation();
  uint32_t arrived = 0;
  for (uint32_t i = 0; i < count(); ++i) arrived += Counts(cell(i).load(), generation) ? 1 : 0;
  return arrived;
}

uint32_t BarrierMemory::Arrived(Holder* holders, uint32_t max) const {
  const uint32_t generation = this->generation();
  uint32_t found = 0;
  for (uint32_t i = 0; i < count() && found < max; ++i) {
    const uint64_t word = cell(i).load();
    if (Counts(word, generation)) holders[found++] = Holder::Unpack(word);
  }
  return found;
}

uint32_t BarrierMemory::RemoveHolders(Gone gone) {
  const uint32_t generation = this->generation();
  uint32_t removed = 0;
  for (uint32_t i = 0; i < count(); ++i) {
    uint64_t word = cell(i).load();
    if (!IsHeldByGone(word, gone) || (word & kTag) != (generation & kTag)) continue;
    if (!cell(i).compare_exchange_strong(word, word | kLeaving)) continue;
    removed += Depart(generation, i, word | kLeaving) ? 1 : 0;
  }
  return removed;
}

}  // namespace mailrail
