#ifndef MAILRAIL_CORE_SYNC_BARRIER_MEMORY_H_
#define MAILRAIL_CORE_SYNC_BARRIER_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "core/shm/futex.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// A barrier in shared memory: a cell for each party. The state is {generation 32, changes 32}; a
// cell is the holder, and in its flags which generation it has come for.
//
//   arrive   a cell of an earlier generation -> me, this one
//   trip     all cells are of this generation: generation += 1, unless `changes` has changed
//            since they were looked at
//   leave    cell: me -> me, leaving, which does not count; changes += 1 while it still is this
//            generation, else all have passed; cell: -> nobody, this generation
//
// So any of those that wait may trip it, if the last one to come has died before it did, and one
// that leaves either was counted, and has passed, or was not. Thread-safe.
class BarrierMemory : public SyncMemory {
 public:
  static constexpr SyncKind kKind = SyncKind::kBarrier;
  static constexpr uint32_t kLargest = 4096;  // parties at most

  struct Place {
    uint32_t generation = 0;
    uint32_t cell = 0;
  };

  // As SyncMemory. REQUIRES: Check(memory, bytes, kKind) was OK once.
  BarrierMemory(char* memory, size_t bytes) : SyncMemory(memory, bytes) {}

  // Takes a place, and trips the barrier when it was the last one. False when it was tripped
  // meanwhile, or all places are taken: again.
  bool Arrive(Holder me, Place* place);
  // Whether all have come. Who waits asks this before each sleep, since it trips it for a dead one.
  bool Passed(const Place& place);
  enum class Left { kLeft, kPassed, kTakenAway };
  // Gives the place up, unless all have come.
  Left Leave(Holder me, const Place& place);

  // Whether there is such a place.
  bool Has(const Place& place) const { return place.cell < count(); }
  // Whether this thread has that place; and which it has of this generation, false when none.
  bool At(Holder me, const Place& place) const;
  bool Find(Holder me, Place* place) const;

  uint32_t generation() const { return GenerationOf(header().state.load()); }
  // How many have come.
  uint32_t arrived() const;
  // Those that have come, at most `max`, into `holders`; how many.
  uint32_t Arrived(Holder* holders, uint32_t max) const;

  // Gives up the places of a process that has ended; how many.
  uint32_t RemoveHolder(uint32_t number) {
    return RemoveHolders([number](uint32_t holder) { return holder == number; });
  }
  // The same of all processes that have ended.
  uint32_t RemoveHolders(Gone gone);

 private:
  // The flags of a cell: the lower bits of its generation. Those that a cell is of are this one's,
  // or the last one's at most, since each fills them all.
  static constexpr uint64_t kLeaving = 0x8000;
  static constexpr uint64_t kTag = 0x7fff;

  static uint32_t GenerationOf(uint64_t state) { return static_cast<uint32_t>(state >> 32); }
  static bool Counts(uint64_t word, uint32_t generation) {
    return IsHeld(word) && (word & (kLeaving | kTag)) == (generation & kTag);
  }
  void TryTrip(uint32_t generation);
  // The second half of Leave, for a cell that is `leaving`.
  bool Depart(uint32_t generation, uint32_t cell, uint64_t leaving);
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_BARRIER_MEMORY_H_
