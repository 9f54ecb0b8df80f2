#ifndef MAILRAIL_CORE_SYNC_CONDITION_MEMORY_H_
#define MAILRAIL_CORE_SYNC_CONDITION_MEMORY_H_

#include <cstddef>
#include <cstdint>

#include "core/shm/futex.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// A condition variable in shared memory: two cells for each waiter, who it is and its futex word.
//
//   wait     cell: nobody -> me; (unlock the mutex;) sleep until it says kNotified; -> nobody
//   notify   cell of one that waits: -> notified; its word += 1, wake it
//
// A notification is one waiter's, and is never lost nor had twice: one whose waiter has died goes
// to another. Waiters are notified in about the order in which they came. Thread-safe.
class ConditionMemory : public SyncMemory {
 public:
  static constexpr SyncKind kKind = SyncKind::kCondition;
  static constexpr uint32_t kWaiters = 1024;  // at a time
  static constexpr size_t kBytes = BytesFor(2 * kWaiters);

  // As SyncMemory. REQUIRES: Check(memory, bytes, kKind) was OK once.
  ConditionMemory(char* memory, size_t bytes) : SyncMemory(memory, bytes) {}

  // Takes a place, before the mutex is unlocked; false when there is none left.
  bool Enlist(Holder me, uint32_t* place);
  // Whether it was notified; if so the place is given up.
  bool Notified(Holder me, uint32_t place);
  // Gives the place up; whether it was notified meanwhile.
  bool Leave(Holder me, uint32_t place);

  // Whether this thread has that place, and was not notified; and which it has, notified or not,
  // false when none.
  bool Waits(Holder me, uint32_t place) const {
    return place < places() && waiter(place).load() == me.Pack();
  }
  bool Find(Holder me, uint32_t* place) const;

  // Look again before sleeping on the word.
  FutexWord Park(uint32_t place);

  // Whether somebody waited.
  bool NotifyOne();
  void NotifyAll();

  // Wakes all, so that they look again.
  void WakeWaiters();

  // Those that wait and were not notified, at most `max`, into `holders`; how many.
  uint32_t Waiting(Holder* holders, uint32_t max) const;

  // Gives up the places of a process that has ended, and hands on what it was notified of.
  uint32_t RemoveHolder(uint32_t number) {
    return RemoveHolders([number](uint32_t holder) { return holder == number; });
  }
  // The same of all processes that have ended.
  uint32_t RemoveHolders(Gone gone);

 private:
  static constexpr uint64_t kNotified = 1;  // a flag of a cell

  SharedAtomic<uint64_t>& waiter(uint32_t place) const { return cell(2 * place); }
  SharedAtomic<uint32_t>& word(uint32_t place) const {
    return reinterpret_cast<SharedAtomic<uint32_t>&>(cell(2 * place + 1));
  }
  uint32_t places() const { return count() / 2; }
  bool Notify(uint32_t place);
  bool NotifyNext();
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_CONDITION_MEMORY_H_
