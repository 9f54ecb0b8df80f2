#ifndef MAILRAIL_CORE_SYNC_SYNC_CALL_H_
#define MAILRAIL_CORE_SYNC_SYNC_CALL_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/shm/futex.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// What a thread of another node does with an object, by its home's agent.
//
// Each is done so that it can be done again, if its answer was lost with whoever has done it: one
// that gets something finds that it has it, one that gives something back finds that it is gone.
enum class SyncOp : uint32_t {
  kNone = 0,
  // Of a mutex or shared mutex. To give back what one has asked for undoes that, whatever came of
  // it: kUnlock also a wait that has the right to write, and waits for readers.
  kLock = 1,
  kUnlock = 2,
  kLockShared = 3,
  kUnlockShared = 4,
  // Of a semaphore, all by a holder of one unit at most. To use one up is kAcquire and then
  // kConsume; to add one is kReserve, which holds a unit that was not there, and then kRelease: so
  // what died in between is as if it had not begun, or had been done.
  kAcquire = 5,
  kRelease = 6,
  kConsume = 7,
  kReserve = 8,  // kResourceExhausted
  // Of a barrier. This one alone cannot be done again after all have come: who does it must know
  // that it was not.
  kArrive = 9,
  kPass = 10,
  kLeave = 11,  // `value`: 1 when all had come
  // Of a condition.
  kEnlist = 12,  // kResourceExhausted
  kAwaitNotify = 13,
  kDelist = 14,  // `value`: 1 when it was notified
  kNotifyOne = 15,
  kNotifyAll = 16,
  // Free units, parties that have come.
  kReadValue = 17,
};

// One such call. A view, as of SyncMemory. One thread at a time.
class SyncCall {
 public:
  struct Result {
    uint64_t fence = 0;
    bool owner_died = false;
    uint32_t place = 0;
    uint32_t generation = 0;
    uint32_t value = 0;
  };

  // Whether objects of this kind have it.
  static bool Fits(SyncKind kind, SyncOp op);
  // What undoes it, if it is not known what became of it; kNone: nothing is to be undone. What
  // gives something back is done again.
  static SyncOp Undo(SyncOp op);

  // REQUIRES: Fits(kind, op), and `memory` is of an object of this kind.
  SyncCall(char* memory, size_t bytes, SyncKind kind, SyncOp op, Holder who, uint32_t place,
           uint32_t generation)
      : memory_(memory),
        bytes_(bytes),
        kind_(kind),
        op_(op),
        who_(who),
        place_(place),
        generation_(generation) {}

  Holder who() const { return who_; }
  SyncOp op() const { return op_; }

  // kDeadlineExceeded when it is not to be had yet: Park, and try again before sleeping.
  // `has_slept` as of MutexMemory. kUnavailable when the object is destroyed; and as above.
  absl::StatusOr<Result> Try(bool has_slept);
  FutexWord Park() const;
  // It is not tried any more. Takes back what it may have; `has_slept`: and wakes another in its
  // place.
  void GiveUp(bool has_slept);

 private:
  absl::StatusOr<Result> TryLock(bool has_slept);
  absl::StatusOr<Result> TryWrite();
  absl::StatusOr<Result> TryRead();
  absl::StatusOr<Result> TrySemaphore(bool has_slept);
  absl::StatusOr<Result> TryBarrier();
  absl::StatusOr<Result> TryCondition();
  template <typename Memory>
  Memory As() const {
    return Memory(memory_, bytes_);
  }

  char* memory_;
  size_t bytes_;
  SyncKind kind_;
  SyncOp op_;
  Holder who_;
  uint32_t place_;
  uint32_t generation_;
  bool tried_ = false;
  bool owner_died_ = false;  // kLock of a shared mutex: it has the right to write
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_SYNC_CALL_H_
