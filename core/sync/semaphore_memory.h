#ifndef MAILRAIL_CORE_SYNC_SEMAPHORE_MEMORY_H_
#define MAILRAIL_CORE_SYNC_SEMAPHORE_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "core/shm/futex.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// A counting semaphore in shared memory: a cell for each unit that it may have at most. Its flags
// are {takes 14, what it is 2}: none, free or held.
//
//   none -> free           a unit was added (Add)
//   free -> none, takes+1  a unit was used up (Take): whoever has it dies, and it stays so
//   free -> held by me     a unit was acquired (Acquire)
//   held -> free           it was released, or its holder has died
//   none -> held by me     one that is to be added (Reserve): its holder's death adds it
//   held -> none, takes+1  one that was acquired is used up (Consume)
//
// Its value is the number of free cells. There is no counter that could disagree with them. Not
// fair. Thread-safe.
class SemaphoreMemory : public SyncMemory {
 public:
  static constexpr SyncKind kKind = SyncKind::kSemaphore;
  static constexpr uint32_t kLargest = 32768;  // units at most

  // As SyncMemory. REQUIRES: Check(memory, bytes, kKind) was OK once.
  SemaphoreMemory(char* memory, size_t bytes) : SyncMemory(memory, bytes) {}

  // Of new memory: so many cells free.
  static void Fill(char* memory, size_t bytes, uint32_t units);

  // False when it has seen no unit free; one may have become free behind where it looked, which
  // whoever has parked before is woken for. `has_slept` as MutexMemory's. `*cell`: in, where to
  // look first, best where this thread has last found one; out, where it stands.
  bool TryAcquire(Holder me, bool has_slept, uint32_t* cell);
  bool TryTake(bool has_slept, uint32_t* cell);
  // False when it was taken away.
  bool Release(Holder me, uint32_t cell);
  // False when there are as many units as there may be.
  bool Add(uint32_t* cell);

  // For a holder that has one unit at most: where it stands, false when it holds none; whether it
  // stands there; holds a unit that was not there, which adds it when it is released, false when
  // there are as many as there may be; and uses up the one that it holds, false when that was taken
  // away.
  bool FindHeld(Holder me, uint32_t* cell) const;
  bool HoldsAt(Holder me, uint32_t at) const { return HeldBy(cell(at).load(), me); }
  bool Reserve(Holder me, uint32_t* cell);
  bool Consume(Holder me, uint32_t cell);

  // As MutexMemory's.
  uint64_t Fence(Holder me, uint32_t cell);

  uint32_t value() const;
  // Whether a unit is free now.
  bool HasFree() const;
  // Those that hold units now, at most `max`, into `holders`; how many.
  uint32_t Holders(Holder* holders, uint32_t max) const;

  // Frees the units that a process holds that has ended; how many.
  uint32_t RemoveHolder(uint32_t number) {
    return RemoveHolders([number](uint32_t holder) { return holder == number; });
  }
  // The same of all processes that have ended.
  uint32_t RemoveHolders(Gone gone);

 private:
  // What a cell is.
  static constexpr uint64_t kNone = 0;
  static constexpr uint64_t kFree = 1;
  static constexpr uint64_t kHeld = 2;
  static constexpr uint64_t kWhat = 3;
  // How often a unit of it was used up: so that a cell is not what it was before, if it was none
  // meanwhile.
  static constexpr uint64_t kTakes = 0xfffc;
  static constexpr uint64_t kOneTake = 4;

  static uint64_t What(uint64_t word) { return word & kWhat; }
  static uint64_t Takes(uint64_t word) { return word & kTakes; }
  static bool HeldBy(uint64_t word, Holder holder) {
    return What(word) == kHeld && Holder::Unpack(word) == holder;
  }

  // Changes the first cell from `*cell` on that is `from`, where `to` says what it becomes; false
  // when it has seen none. `seen`: a hash of all that it has seen then.
  template <typename To>
  bool Change(uint64_t from, To to, uint32_t* cell, uint64_t* seen);
  // The same of one that is none; false only when there was a moment at which none was.
  template <typename To>
  bool ChangeNone(To to, uint32_t* cell);
  // One that has slept goes on: others may sleep still, and a unit be free for them.
  void PassOn();
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_SEMAPHORE_MEMORY_H_
