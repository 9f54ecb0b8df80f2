#ifndef MAILRAIL_CORE_SYNC_SEMAPHORE_MEMORY_H_
#define MAILRAIL_CORE_SYNC_SEMAPHORE_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "core/shm/futex.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// A counting semaphore in shared memory: a cell for each unit that it may have at most.
//
//   cell: none -> free         a unit was added (Add)
//         free -> none         a unit was used up (Take): whoever has it dies, and it stays so
//         free -> somebody     a unit was acquired (Acquire)
//         somebody -> free     it was released, or its holder has died
//
// Its value is the number of free cells. There is no counter that could disagree with them. Not
// fair. Thread-safe.
class SemaphoreMemory : public SyncMemory {
 public:
  static constexpr SyncKind kKind = SyncKind::kSemaphore;
  static constexpr uint32_t kLargest = 32768;  // units at most

  // REQUIRES: Check(memory, ..., kKind) was OK.
  explicit SemaphoreMemory(char* memory) : SyncMemory(memory) {}

  // Of new memory of `largest` cells: so many of them free.
  static void Fill(char* memory, uint32_t units);

  // False when no unit is free. `has_slept` as MutexMemory's. `*cell`: in, where to look first,
  // best where this thread has last found one; out, where it stands.
  bool TryAcquire(Holder me, bool has_slept, uint32_t* cell);
  bool TryTake(bool has_slept, uint32_t* cell);
  // False when it was taken away.
  bool Release(Holder me, uint32_t cell);
  // False when there are as many units as there may be.
  bool Add(uint32_t* cell);

  // As MutexMemory's.
  uint64_t Fence(Holder me, uint32_t cell);

  uint32_t value() const;
  // Those that hold units now, at most `max`, into `holders`; how many.
  uint32_t Holders(Holder* holders, uint32_t max) const;

  // Frees the units that a process holds that has ended; how many.
  uint32_t RemoveHolder(uint32_t number);

 private:
  // Holder words name a process; these do not.
  static constexpr uint64_t kNone = 0;
  static constexpr uint64_t kFree = 1;

  // Makes one of the cells that are `from` `to`; false when there is none.
  bool Change(uint64_t from, uint64_t to, uint32_t* cell);
  // One that has slept goes on: others may sleep still, and a unit be free for them.
  void PassOn();
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_SEMAPHORE_MEMORY_H_
