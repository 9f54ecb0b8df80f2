// What sync.h promises of semaphores and barriers.
#include "tests/conformance/lock_fixture.h"

namespace mailrail {
namespace {

using absl::StatusCode;

class SemaphoreTest : public LockTest {
 protected:
  void SetUp() override {
    LockTest::SetUp();
    name_ = NewName();
  }
  Call Do(Call::What what, uint32_t thread = 0) const {
    Call call = Of(Call::SEMAPHORE, name_, what, thread);
    call.set_units(2);
    call.set_most(3);
    return call;
  }
  uint32_t Value() { return self().CallLock(Do(Call::VALUE)).value; }
  std::string name_;
};

MAILRAIL_OVER_TRANSPORTS(SemaphoreTest);

TEST_P(SemaphoreTest, AsManyHaveItAsItHasUnits) {
  ASSERT_THAT(self().CallLock(Do(Call::ACQUIRE)), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::ACQUIRE)), IsOk());
  EXPECT_THAT(self().CallLock(Do(Call::ACQUIRE), AtOnce()), HasCode(StatusCode::kDeadlineExceeded));
  std::future<Result> waits = Begin(peer(), Do(Call::ACQUIRE, 1));
  ASSERT_THAT(self().CallLock(Do(Call::RELEASE)), IsOk());
  EXPECT_THAT(waits.get(), IsOk());
  EXPECT_EQ(Value(), 0u);
}

TEST_P(SemaphoreTest, WhatIsHeldComesBackWhenTheHolderDies) {
  ASSERT_THAT(peer().CallLock(Do(Call::ACQUIRE)), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::ACQUIRE)), IsOk());
  std::future<Result> waits = Begin(self(), Do(Call::ACQUIRE));
  peer().End();
  EXPECT_THAT(waits.get(), IsOk());
  EXPECT_TRUE(Eventually([&] { return Value() == 1; }));
}

TEST_P(SemaphoreTest, WhatIsUsedUpStaysSoWhoeverDies) {
  ASSERT_THAT(self().CallLock(Do(Call::OPEN)), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::WAIT)), IsOk());
  ASSERT_THAT(peer().CallLock(Do(Call::WAIT)), IsOk());
  std::future<Result> waits = Begin(self(), Do(Call::WAIT));
  ASSERT_THAT(peer().CallLock(Do(Call::POST)), IsOk());
  EXPECT_THAT(waits.get(), IsOk());
  peer().End();
  // When it has been noticed that it has.
  EXPECT_TRUE(Eventually([&] { return !self().Resolve(peer().id().ToString()).ok(); }));
  EXPECT_EQ(Value(), 0u);
}

TEST_P(SemaphoreTest, ThereAreNeverMoreUnitsThanItMayHave) {
  ASSERT_THAT(self().CallLock(Do(Call::POST)), IsOk());
  EXPECT_THAT(peer().CallLock(Do(Call::POST)), HasCode(StatusCode::kResourceExhausted));
  EXPECT_EQ(Value(), 3u);
}

TEST_P(SemaphoreTest, FencingTokensRise) {
  uint64_t last = 0;
  for (int i = 0; i < 10; ++i) {
    const Result result =
        (i % 2 == 0 ? static_cast<Party&>(self()) : peer()).CallLock(Do(Call::ACQUIRE));
    ASSERT_THAT(result, IsOk());
    EXPECT_GT(result.fence, last);
    last = result.fence;
    ASSERT_THAT((i % 2 == 0 ? static_cast<Party&>(self()) : peer()).CallLock(Do(Call::RELEASE)),
                IsOk());
  }
}

TEST_P(SemaphoreTest, OneOfAnotherSizeIsRefused) {
  ASSERT_THAT(self().CallLock(Do(Call::OPEN)), IsOk());
  Call other = Do(Call::OPEN);
  other.set_most(4);
  EXPECT_THAT(peer().CallLock(other), HasCode(StatusCode::kFailedPrecondition));
  other.set_most(0);
  EXPECT_THAT(peer().CallLock(other), IsOk()) << "whatever it has";
  other.set_name(NewName());
  other.set_most(32769);
  EXPECT_THAT(peer().CallLock(other), HasCode(StatusCode::kInvalidArgument));
}

TEST_P(SemaphoreTest, WhoWaitsForOneThatIsDestroyedIsTold) {
  ASSERT_THAT(self().CallLock(Do(Call::ACQUIRE)), IsOk());
  ASSERT_THAT(self().CallLock(Do(Call::ACQUIRE)), IsOk());
  std::future<Result> acquires = Begin(peer(), Do(Call::ACQUIRE));
  std::future<Result> waits = Begin(peer(), Do(Call::WAIT, 1), Patience(), /*beside=*/1);
  ASSERT_THAT(self().CallLock(Do(Call::DESTROY)), IsOk());
  EXPECT_THAT(acquires.get(), HasCode(StatusCode::kUnavailable));
  EXPECT_THAT(waits.get(), HasCode(StatusCode::kUnavailable));
  EXPECT_THAT(peer().CallLock(Do(Call::POST)), HasCode(StatusCode::kUnavailable));
}

class BarrierTest : public LockTest {
 protected:
  void SetUp() override {
    LockTest::SetUp();
    name_ = NewName();
  }
  Call Do(Call::What what, uint32_t thread = 0) const {
    Call call = Of(Call::BARRIER, name_, what, thread);
    call.set_most(3);
    return call;
  }
  // How many wait.
  uint32_t Waiting() { return self().CallLock(Do(Call::VALUE, 9)).value; }
  std::string name_;
};

MAILRAIL_OVER_TRANSPORTS(BarrierTest);

TEST_P(BarrierTest, AllGoOnWhenTheLastHasComeRoundAfterRound) {
  for (uint32_t round = 0; round < 20; ++round) {
    std::vector<std::future<Result>> waits;
    waits.push_back(Begin(self(), Do(Call::WAIT)));
    waits.push_back(Begin(peer(), Do(Call::WAIT, 1)));
    EXPECT_TRUE(Eventually([&] { return Waiting() == 2; }));
    const Result last = peer().CallLock(Do(Call::WAIT, 2));
    ASSERT_THAT(last, IsOk());
    EXPECT_EQ(last.value, round);
    for (std::future<Result>& wait : waits) {
      const Result result = wait.get();
      EXPECT_THAT(result, IsOk());
      EXPECT_EQ(result.value, round);
    }
  }
}

TEST_P(BarrierTest, OneThatGivesUpDoesNotCount) {
  EXPECT_THAT(peer().CallLock(Do(Call::WAIT), absl::Now() + absl::Milliseconds(30)),
              HasCode(StatusCode::kDeadlineExceeded));
  std::future<Result> first = Begin(self(), Do(Call::WAIT));
  std::future<Result> second = Begin(self(), Do(Call::WAIT, 1), Patience(), /*beside=*/1);
  EXPECT_TRUE(Eventually([&] { return Waiting() == 2; }));
  ASSERT_THAT(peer().CallLock(Do(Call::WAIT)), IsOk());
  EXPECT_THAT(first.get(), IsOk());
  EXPECT_THAT(second.get(), IsOk());
}

// Who can be ended in a call.
class BarrierDeathTest : public BarrierTest {};

INSTANTIATE_TEST_SUITE_P(, BarrierDeathTest, testing::Values(Transport::kTwoProcesses),
                         TransportName);

TEST_P(BarrierDeathTest, OneThatHasDiedDoesNotCount) {
  std::future<Result> dies = Begin(peer(), Do(Call::WAIT));
  std::future<Result> first = Begin(self(), Do(Call::WAIT));
  peer().End();
  EXPECT_THAT(dies.get(), HasCode(StatusCode::kCancelled));
  EXPECT_TRUE(Eventually([&] { return Waiting() == 1; }));
  std::future<Result> second = Begin(self(), Do(Call::WAIT, 1), Patience(), /*beside=*/1);
  ASSERT_THAT(self().CallLock(Do(Call::WAIT, 2)), IsOk());
  EXPECT_THAT(first.get(), IsOk());
  EXPECT_THAT(second.get(), IsOk());
}

TEST_P(BarrierTest, WhoWaitsAtOneThatIsDestroyedIsTold) {
  std::future<Result> wait = Begin(peer(), Do(Call::WAIT));
  ASSERT_THAT(self().CallLock(Do(Call::DESTROY)), IsOk());
  EXPECT_THAT(wait.get(), HasCode(StatusCode::kUnavailable));
}

TEST_P(BarrierTest, OneForSoManyPartiesIsNotOneForMore) {
  ASSERT_THAT(self().CallLock(Do(Call::OPEN)), IsOk());
  Call other = Do(Call::OPEN);
  other.set_most(4);
  EXPECT_THAT(peer().CallLock(other), HasCode(StatusCode::kFailedPrecondition));
  other.set_most(0);
  EXPECT_THAT(peer().CallLock(other), IsOk());
  other.set_name(NewName());
  EXPECT_THAT(peer().CallLock(other), HasCode(StatusCode::kNotFound)) << "for how many?";
}

}  // namespace
}  // namespace mailrail
