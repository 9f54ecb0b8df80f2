#ifndef MAILRAIL_CORE_SYNC_SHARED_MUTEX_MEMORY_H_
#define MAILRAIL_CORE_SYNC_SHARED_MUTEX_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "core/shm/futex.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// A mutex in shared memory that one may hold to write or many to read. The state is who writes, or
// waits for the readers to leave and keeps new ones out until then; each reader is a cell.
//
//   read    cell: nobody -> me; state: nobody? else cell: me -> nobody, and wait
//   write   state: nobody -> me; all cells nobody? else wait, holding the state
//
// A reader's cell and its look at the state, and a writer's state and its look at the cells, must
// not change places: all are sequentially consistent. Readers spread over the cells, so they do not
// share a cache line but by chance. Writers go before readers. All that sleep are woken, since it
// may be for any of them. Thread-safe.
class SharedMutexMemory : public SyncMemory {
 public:
  static constexpr SyncKind kKind = SyncKind::kSharedMutex;
  static constexpr uint32_t kReaders = 1024;  // at a time; others wait
  static constexpr size_t kBytes = BytesFor(kReaders);
  static constexpr uint32_t kNoCell = ~0u;

  // As SyncMemory. REQUIRES: Check(memory, bytes, kKind) was OK once.
  SharedMutexMemory(char* memory, size_t bytes) : SyncMemory(memory, bytes) {}

  // `*cell`: where the reader stands, for UnlockShared. kAfterDeath: the last that wrote has died
  // with it, and nobody has written since.
  Acquired TryLockShared(Holder me, uint32_t* cell);
  // False when it was taken away.
  bool UnlockShared(Holder me, uint32_t cell);

  // The right to be the next that writes.
  Acquired TryLock(Holder me);
  // Whether no reader is left, for the holder of that right, who then writes.
  bool Drained() const;
  // Gives the right up, whether all had left or not. False when it was taken away. `died`: it was
  // had after a death, and nothing was written.
  bool Unlock(Holder me, bool died = false);

  // As MutexMemory's, of who writes or reads.
  uint64_t Fence(Holder me, uint32_t cell);

  Holder writer() const;
  // Whether one more may read now.
  bool MayRead() const;
  // Whether this thread reads it; and where it stands, kNoCell when it does not.
  bool ReadBy(Holder me) const { return FindReader(me) != kNoCell; }
  uint32_t FindReader(Holder me) const;
  // Those that read it now, at most `max` of them, into `readers`; how many.
  uint32_t Readers(Holder* readers, uint32_t max) const;

  // As MutexMemory's.
  bool RemoveHolder(uint32_t number) {
    return RemoveHolders([number](uint32_t holder) { return holder == number; });
  }
  // The same of all processes that have ended.
  bool RemoveHolders(Gone gone);

 private:
  // A flag of the state: the last that wrote has died with it, and nobody holds it.
  static constexpr uint64_t kDied = 1;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_SHARED_MUTEX_MEMORY_H_
