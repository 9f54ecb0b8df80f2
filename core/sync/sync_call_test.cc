#include "core/sync/sync_call.h"

#include <gtest/gtest.h>

#include "core/sync/any_sync.h"
#include "core/sync/sync_testing.h"

namespace mailrail {
namespace {

using Result = SyncCall::Result;
using absl::StatusCode;

constexpr Holder kMe = {7, 1}, kYou = {8, 1};

// An object, and calls of it that do not wait.
class Object {
 public:
  explicit Object(const SyncSpec& spec) : kind_(spec.kind), memory_(AnySync::BytesFor(spec)) {
    AnySync::Format(memory_.writable(), spec, /*fence=*/100);
  }

  SyncCall Call(Holder who, SyncOp op, const Result& at = {}) {
    return SyncCall(memory_.writable(), memory_.size(), kind_, op, who, at.place, at.generation);
  }
  absl::StatusOr<Result> Do(Holder who, SyncOp op, const Result& at = {}) {
    return Call(who, op, at).Try(/*has_slept=*/false);
  }
  StatusCode CodeOf(Holder who, SyncOp op, const Result& at = {}) {
    return Do(who, op, at).status().code();
  }
  uint32_t Value(SyncOp op = SyncOp::kReadValue) { return Do(kMe, op)->value; }
  AnySync view() { return AnySync(memory_.writable(), memory_.size(), kind_); }

 private:
  const SyncKind kind_;
  const TwiceMapped memory_;
};

TEST(SyncCallTest, AMutexIsHadByOneAndALockThatIsRepeatedHasItStill) {
  Object mutex({SyncKind::kMutex});
  const absl::StatusOr<Result> first = mutex.Do(kMe, SyncOp::kLock);
  ASSERT_TRUE(first.ok());
  EXPECT_GT(first->fence, 100u);
  EXPECT_FALSE(first->owner_died);
  const absl::StatusOr<Result> again = mutex.Do(kMe, SyncOp::kLock);
  ASSERT_TRUE(again.ok());
  EXPECT_GT(again->fence, first->fence);
  EXPECT_TRUE(again->owner_died) << "what the first one has found is not known any more";
  EXPECT_EQ(mutex.CodeOf(kYou, SyncOp::kLock), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(mutex.Do(kYou, SyncOp::kUnlock).ok()) << "of nothing";
  EXPECT_EQ(mutex.CodeOf(kYou, SyncOp::kLock), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(mutex.Do(kMe, SyncOp::kUnlock).ok());
  EXPECT_TRUE(mutex.Do(kMe, SyncOp::kUnlock).ok()) << "once more";
  EXPECT_TRUE(mutex.Do(kYou, SyncOp::kLock).ok());
  mutex.view().RemoveHolder(kYou.number);
  EXPECT_TRUE(mutex.Do(kMe, SyncOp::kLock)->owner_died);
}

TEST(SyncCallTest, AWriterWaitsForReadersAndKeepsItsRightUntilItGivesUp) {
  Object mutex({SyncKind::kSharedMutex});
  ASSERT_TRUE(mutex.Do(kMe, SyncOp::kLockShared).ok());
  ASSERT_TRUE(mutex.Do(kMe, SyncOp::kLockShared).ok()) << "repeated";
  SyncCall write = mutex.Call(kYou, SyncOp::kLock);
  EXPECT_EQ(write.Try(false).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(mutex.CodeOf({9, 1}, SyncOp::kLockShared), StatusCode::kDeadlineExceeded);
  write.GiveUp(/*has_slept=*/true);
  EXPECT_TRUE(mutex.Do({9, 1}, SyncOp::kLockShared).ok());
  SyncCall next = mutex.Call(kYou, SyncOp::kLock);
  EXPECT_EQ(next.Try(false).status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(mutex.Do(kMe, SyncOp::kUnlockShared).ok());
  ASSERT_TRUE(mutex.Do(kMe, SyncOp::kUnlockShared).ok()) << "it had one cell, not two";
  EXPECT_EQ(next.Try(true).status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(mutex.Do({9, 1}, SyncOp::kUnlockShared).ok());
  const absl::StatusOr<Result> written = next.Try(true);
  ASSERT_TRUE(written.ok());
  EXPECT_FALSE(written->owner_died);
}

TEST(SyncCallTest, AUnitIsUsedUpInTwoStepsAndAddedInTwo) {
  Object semaphore({SyncKind::kSemaphore, 2, 1});
  ASSERT_TRUE(semaphore.Do(kMe, SyncOp::kAcquire).ok());
  ASSERT_TRUE(semaphore.Do(kMe, SyncOp::kAcquire).ok()) << "repeated: the same one";
  EXPECT_EQ(semaphore.CodeOf(kYou, SyncOp::kAcquire), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(semaphore.Do(kMe, SyncOp::kConsume).ok());
  ASSERT_TRUE(semaphore.Do(kMe, SyncOp::kConsume).ok());
  semaphore.view().RemoveHolder(kMe.number);
  EXPECT_EQ(semaphore.Value(), 0u) << "it is used up";
  for (uint32_t value = 1; value <= 2; ++value) {
    ASSERT_TRUE(semaphore.Do(kMe, SyncOp::kReserve).ok());
    ASSERT_TRUE(semaphore.Do(kMe, SyncOp::kReserve).ok());
    ASSERT_TRUE(semaphore.Do(kMe, SyncOp::kRelease).ok());
    ASSERT_TRUE(semaphore.Do(kMe, SyncOp::kRelease).ok());
    EXPECT_EQ(semaphore.Value(), value);
  }
  EXPECT_EQ(semaphore.CodeOf(kMe, SyncOp::kReserve), StatusCode::kResourceExhausted);
}

TEST(SyncCallTest, WhoDiesWhileItUsesAUnitUpGivesItBackAndWhoDiesWhileItAddsOneHasAddedIt) {
  Object semaphore({SyncKind::kSemaphore, 2, 1});
  ASSERT_TRUE(semaphore.Do(kMe, SyncOp::kAcquire).ok());
  ASSERT_TRUE(semaphore.Do(kYou, SyncOp::kReserve).ok());
  EXPECT_EQ(semaphore.Value(), 0u);
  semaphore.view().RemoveHolder(kMe.number);
  EXPECT_EQ(semaphore.Value(), 1u);
  semaphore.view().RemoveHolder(kYou.number);
  EXPECT_EQ(semaphore.Value(), 2u);
}

TEST(SyncCallTest, APartyIsCountedOnceAndPassesWithTheLast) {
  Object barrier({SyncKind::kBarrier, 2});
  const absl::StatusOr<Result> place = barrier.Do(kMe, SyncOp::kArrive);
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(barrier.Do(kMe, SyncOp::kArrive)->place, place->place) << "repeated";
  EXPECT_EQ(barrier.Value(), 1u);
  EXPECT_EQ(barrier.CodeOf(kMe, SyncOp::kPass, *place), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(barrier.CodeOf(kYou, SyncOp::kPass, *place), StatusCode::kAborted) << "not its own";
  ASSERT_TRUE(barrier.Do(kYou, SyncOp::kArrive).ok());
  EXPECT_TRUE(barrier.Do(kMe, SyncOp::kPass, *place).ok());
  EXPECT_EQ(barrier.Do(kMe, SyncOp::kLeave, *place)->value, 1u) << "all had come";
  const absl::StatusOr<Result> next = barrier.Do(kMe, SyncOp::kArrive);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(barrier.Do(kMe, SyncOp::kLeave, *next)->value, 0u);
  EXPECT_EQ(barrier.Value(), 0u);
  ASSERT_TRUE(barrier.Do(kMe, SyncOp::kArrive).ok());
  ASSERT_TRUE(barrier.Do(kMe, SyncOp::kLeave, {.place = 1, .generation = 77}).ok());
  EXPECT_EQ(barrier.Value(), 0u) << "it has left, though it did not know where it stood";
}

TEST(SyncCallTest, ANotificationThatItsWaiterDoesNotTakeIsAnothers) {
  Object condition({SyncKind::kCondition});
  const absl::StatusOr<Result> mine = condition.Do(kMe, SyncOp::kEnlist);
  ASSERT_TRUE(mine.ok());
  EXPECT_EQ(condition.Do(kMe, SyncOp::kEnlist)->place, mine->place) << "repeated";
  const absl::StatusOr<Result> yours = condition.Do(kYou, SyncOp::kEnlist);
  ASSERT_TRUE(yours.ok());
  EXPECT_EQ(condition.CodeOf(kMe, SyncOp::kAwaitNotify, *mine), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(condition.Do(kYou, SyncOp::kNotifyOne).ok());
  EXPECT_TRUE(condition.Do(kMe, SyncOp::kAwaitNotify, *mine).ok());
  EXPECT_EQ(condition.CodeOf(kYou, SyncOp::kAwaitNotify, *yours), StatusCode::kDeadlineExceeded);
  condition.view().RemoveHolder(kMe.number);
  EXPECT_TRUE(condition.Do(kYou, SyncOp::kAwaitNotify, *yours).ok());
  EXPECT_EQ(condition.Do(kYou, SyncOp::kDelist, *yours)->value, 1u);
  EXPECT_EQ(condition.Do(kYou, SyncOp::kDelist, *yours)->value, 0u);
}

TEST(SyncCallTest, PlacesThatAreNoneDoNoHarm) {
  Object barrier({SyncKind::kBarrier, 2});
  Object condition({SyncKind::kCondition});
  for (const uint32_t place : {2u, 1024u, ~0u}) {
    Result at;
    at.place = place;
    EXPECT_EQ(barrier.CodeOf(kMe, SyncOp::kPass, at), StatusCode::kAborted);
    EXPECT_TRUE(barrier.Do(kMe, SyncOp::kLeave, at).ok());
    EXPECT_TRUE(condition.Do(kMe, SyncOp::kAwaitNotify, at).ok()) << "whoever waits looks again";
    EXPECT_EQ(condition.Do(kMe, SyncOp::kDelist, at)->value, 0u);
    condition.Call(kMe, SyncOp::kAwaitNotify, at).Park();
  }
}

TEST(SyncCallTest, WhatIsDestroyedIsNotHad) {
  const SyncSpec specs[] = {{SyncKind::kMutex},
                            {SyncKind::kSharedMutex},
                            {SyncKind::kSemaphore, 1, 1},
                            {SyncKind::kBarrier, 1},
                            {SyncKind::kCondition}};
  const SyncOp ops[] = {SyncOp::kLock, SyncOp::kLockShared, SyncOp::kAcquire, SyncOp::kArrive,
                        SyncOp::kEnlist};
  for (size_t i = 0; i < std::size(specs); ++i) {
    Object object(specs[i]);
    object.view().Close();
    EXPECT_EQ(object.CodeOf(kMe, ops[i]), StatusCode::kUnavailable);
    EXPECT_TRUE(object.view().Holds(1).empty());
  }
}

TEST(SyncCallTest, EachOpIsOfSomeKindAndWhatGetsSomethingIsUndone) {
  for (uint32_t op = 1; op <= static_cast<uint32_t>(SyncOp::kReadValue); ++op) {
    int kinds = 0;
    for (uint32_t kind = 1; kind <= 5; ++kind) {
      if (!SyncCall::Fits(static_cast<SyncKind>(kind), static_cast<SyncOp>(op))) continue;
      ++kinds;
      const SyncOp undo = SyncCall::Undo(static_cast<SyncOp>(op));
      EXPECT_TRUE(undo == SyncOp::kNone || SyncCall::Fits(static_cast<SyncKind>(kind), undo));
      EXPECT_EQ(SyncCall::Undo(undo), undo) << "done again";
    }
    EXPECT_GT(kinds, 0) << op;
  }
  EXPECT_FALSE(SyncCall::Fits(SyncKind::kMutex, SyncOp::kNone));
}

}  // namespace
}  // namespace mailrail
