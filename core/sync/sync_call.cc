#include "core/sync/sync_call.h"

#include "core/sync/any_sync.h"
#include "core/sync/barrier_memory.h"
#include "core/sync/condition_memory.h"
#include "core/sync/mutex_memory.h"
#include "core/sync/semaphore_memory.h"
#include "core/sync/shared_mutex_memory.h"

namespace mailrail {
namespace {

using Result = SyncCall::Result;

absl::Status NotYet() { return absl::DeadlineExceededError("it is not to be had yet"); }
absl::Status Destroyed() { return absl::UnavailableError("it was destroyed"); }
absl::Status TakenAway() { return absl::AbortedError("it was taken away"); }

}  // namespace

bool SyncCall::Fits(SyncKind kind, SyncOp op) {
  switch (op) {
    case SyncOp::kLock:
    case SyncOp::kUnlock:
      return kind == SyncKind::kMutex || kind == SyncKind::kSharedMutex;
    case SyncOp::kLockShared:
    case SyncOp::kUnlockShared:
      return kind == SyncKind::kSharedMutex;
    case SyncOp::kAcquire:
    case SyncOp::kRelease:
    case SyncOp::kConsume:
    case SyncOp::kReserve:
      return kind == SyncKind::kSemaphore;
    case SyncOp::kArrive:
    case SyncOp::kPass:
    case SyncOp::kLeave:
      return kind == SyncKind::kBarrier;
    case SyncOp::kEnlist:
    case SyncOp::kAwaitNotify:
    case SyncOp::kDelist:
    case SyncOp::kNotifyOne:
    case SyncOp::kNotifyAll:
      return kind == SyncKind::kCondition;
    case SyncOp::kReadValue:
      return kind == SyncKind::kSemaphore || kind == SyncKind::kBarrier;
    case SyncOp::kNone:
      break;
  }
  return false;
}

SyncOp SyncCall::Undo(SyncOp op) {
  switch (op) {
    case SyncOp::kLock:
    case SyncOp::kUnlock:
      return SyncOp::kUnlock;
    case SyncOp::kLockShared:
    case SyncOp::kUnlockShared:
      return SyncOp::kUnlockShared;
    case SyncOp::kAcquire:
    case SyncOp::kRelease:
      return SyncOp::kRelease;
    case SyncOp::kConsume:
    case SyncOp::kReserve:
      return SyncOp::kConsume;
    case SyncOp::kArrive:
    case SyncOp::kPass:
    case SyncOp::kLeave:
      return SyncOp::kLeave;
    case SyncOp::kEnlist:
    case SyncOp::kAwaitNotify:
    case SyncOp::kDelist:
      return SyncOp::kDelist;
    case SyncOp::kNotifyOne:
    case SyncOp::kNotifyAll:
    case SyncOp::kReadValue:
    case SyncOp::kNone:
      break;
  }
  return SyncOp::kNone;
}

absl::StatusOr<Result> SyncCall::TryLock(bool has_slept) {
  MutexMemory mutex = As<MutexMemory>();
  if (op_ == SyncOp::kUnlock) {
    mutex.Unlock(who_);
    return Result();
  }
  const Acquired acquired = mutex.TryLock(who_, has_slept);
  if (acquired == Acquired::kNo) return mutex.closed() ? Destroyed() : NotYet();
  if (mutex.closed()) {
    mutex.Unlock(who_);
    return Destroyed();
  }
  const uint64_t fence = mutex.Fence(who_);
  if (fence == 0) return TakenAway();
  // One before this has got it, and whether after a death is not known any more: rather too often.
  return Result{fence, acquired != Acquired::kYes};
}

absl::StatusOr<Result> SyncCall::TryWrite() {
  SharedMutexMemory mutex = As<SharedMutexMemory>();
  if (op_ == SyncOp::kUnlock) {
    mutex.Unlock(who_);
    return Result();
  }
  const Acquired acquired = mutex.TryLock(who_);
  if (acquired == Acquired::kNo) return mutex.closed() ? Destroyed() : NotYet();
  if (acquired == Acquired::kAfterDeath) owner_died_ = true;
  // As of TryLock.
  if (acquired == Acquired::kHeldBySelf && !tried_) owner_died_ = true;
  tried_ = true;
  if (mutex.closed()) {
    mutex.Unlock(who_, owner_died_);
    return Destroyed();
  }
  if (!mutex.Drained()) return NotYet();
  const uint64_t fence = mutex.Fence(who_, SharedMutexMemory::kNoCell);
  if (fence == 0) return TakenAway();
  return Result{fence, owner_died_};
}

absl::StatusOr<Result> SyncCall::TryRead() {
  SharedMutexMemory mutex = As<SharedMutexMemory>();
  uint32_t cell = mutex.FindReader(who_);
  if (op_ == SyncOp::kUnlockShared) {
    if (cell != SharedMutexMemory::kNoCell) mutex.UnlockShared(who_, cell);
    return Result();
  }
  bool died = false;
  if (cell == SharedMutexMemory::kNoCell) {
    const Acquired acquired = mutex.TryLockShared(who_, &cell);
    if (acquired == Acquired::kHeldBySelf) {
      return absl::FailedPreconditionError("this thread has it already");
    }
    if (acquired == Acquired::kNo) return mutex.closed() ? Destroyed() : NotYet();
    died = acquired == Acquired::kAfterDeath;
  } else {
    died = true;  // as of TryLock
  }
  if (mutex.closed()) {
    mutex.UnlockShared(who_, cell);
    return Destroyed();
  }
  const uint64_t fence = mutex.Fence(who_, cell);
  if (fence == 0) return TakenAway();
  return Result{fence, died};
}

absl::StatusOr<Result> SyncCall::TrySemaphore(bool has_slept) {
  SemaphoreMemory semaphore = As<SemaphoreMemory>();
  uint32_t cell = 0;
  const bool held = semaphore.FindHeld(who_, &cell);
  Result result;
  switch (op_) {
    case SyncOp::kRelease:
      if (held) semaphore.Release(who_, cell);
      return result;
    case SyncOp::kConsume:
      if (held) semaphore.Consume(who_, cell);
      return result;
    case SyncOp::kReserve:
      if (semaphore.closed()) return Destroyed();
      if (held || semaphore.Reserve(who_, &cell)) return result;
      return absl::ResourceExhaustedError("the semaphore has all its units");
    default:
      break;
  }
  if (!held && !semaphore.TryAcquire(who_, has_slept, &cell)) {
    return semaphore.closed() ? Destroyed() : NotYet();
  }
  if (semaphore.closed()) {
    semaphore.Release(who_, cell);
    return Destroyed();
  }
  result.fence = semaphore.Fence(who_, cell);
  if (result.fence == 0) return TakenAway();
  return result;
}

absl::StatusOr<Result> SyncCall::TryBarrier() {
  BarrierMemory barrier = As<BarrierMemory>();
  const BarrierMemory::Place known = {generation_, place_};
  Result result;
  result.place = place_;
  result.generation = generation_;
  if (op_ == SyncOp::kPass) {
    if (barrier.Passed(known)) return result;
    if (barrier.closed()) return Destroyed();
    return barrier.At(who_, known) ? NotYet() : TakenAway();
  }
  if (op_ == SyncOp::kLeave) {
    // To undo an arrival whose answer was lost its place is not known.
    BarrierMemory::Place place = known;
    if (!barrier.At(who_, known) && !barrier.Find(who_, &place)) {
      // One that has come to a generation that is over has passed.
      result.value = barrier.Has(known) && barrier.generation() != generation_ ? 1 : 0;
      return result;
    }
    result.value = barrier.Leave(who_, place) == BarrierMemory::Left::kPassed ? 1 : 0;
    barrier.WakeAll();  // its place is another's
    return result;
  }
  if (barrier.closed()) return Destroyed();
  BarrierMemory::Place place;
  if (!barrier.Find(who_, &place) && !barrier.Arrive(who_, &place)) return NotYet();
  result.place = place.cell;
  result.generation = place.generation;
  return result;
}

absl::StatusOr<Result> SyncCall::TryCondition() {
  ConditionMemory condition = As<ConditionMemory>();
  Result result;
  result.place = place_;
  switch (op_) {
    case SyncOp::kNotifyOne:
      condition.NotifyOne();
      return result;
    case SyncOp::kNotifyAll:
      condition.NotifyAll();
      return result;
    case SyncOp::kDelist:
      result.value = condition.Find(who_, &result.place) && condition.Leave(who_, result.place);
      return result;
    case SyncOp::kAwaitNotify:
      // Not taken yet: if who waits dies now, it is another's.
      if (condition.Waits(who_, place_)) return condition.closed() ? Destroyed() : NotYet();
      return result;
    default:
      break;
  }
  if (condition.closed()) return Destroyed();
  if (condition.Find(who_, &result.place) || condition.Enlist(who_, &result.place)) return result;
  return absl::ResourceExhaustedError("so many wait at this condition already");
}

absl::StatusOr<Result> SyncCall::Try(bool has_slept) {
  if (op_ == SyncOp::kReadValue) {
    Result result;
    result.value = AnySync(memory_, bytes_, kind_).Value();
    return result;
  }
  switch (kind_) {
    case SyncKind::kMutex:
      return TryLock(has_slept);
    case SyncKind::kSharedMutex:
      return op_ == SyncOp::kLock || op_ == SyncOp::kUnlock ? TryWrite() : TryRead();
    case SyncKind::kSemaphore:
      return TrySemaphore(has_slept);
    case SyncKind::kBarrier:
      return TryBarrier();
    case SyncKind::kCondition:
      return TryCondition();
  }
  return absl::InvalidArgumentError("an object of no known kind");
}

FutexWord SyncCall::Park() const {
  if (op_ == SyncOp::kAwaitNotify && As<ConditionMemory>().Waits(who_, place_)) {
    return As<ConditionMemory>().Park(place_);
  }
  return SyncMemory(memory_, bytes_).Park();
}

void SyncCall::GiveUp(bool has_slept) {
  if (kind_ == SyncKind::kSharedMutex && op_ == SyncOp::kLock && tried_) {
    As<SharedMutexMemory>().Unlock(who_, owner_died_);
  }
  if (!has_slept || kind_ == SyncKind::kCondition) return;
  SyncMemory memory(memory_, bytes_);
  if (kind_ == SyncKind::kMutex || kind_ == SyncKind::kSemaphore) {
    memory.WakeOne();
  } else {
    memory.WakeAll();
  }
}

}  // namespace mailrail
