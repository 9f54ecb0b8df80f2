// What sync.h promises of mutexes, of names, and of objects that come and go.
#include "tests/conformance/lock_fixture.h"

namespace mailrail {
namespace {

using absl::StatusCode;

class MutexTest : public LockTest {
 protected:
  void SetUp() override {
    LockTest::SetUp();
    name_ = NewName();
  }
  std::string name_;
};

MAILRAIL_OVER_TRANSPORTS(MutexTest);

TEST_P(MutexTest, OneThreadAtATimeHasIt) {
  ASSERT_THAT(Lock(peer(), name_), IsOk());
  EXPECT_THAT(Lock(self(), name_, AtOnce()), HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Lock(peer(), name_, AtOnce(), /*thread=*/1), HasCode(StatusCode::kDeadlineExceeded))
      << "another thread of the same process";
  ASSERT_THAT(Unlock(peer(), name_), IsOk());
  EXPECT_THAT(Lock(self(), name_, AtOnce()), IsOk());
}

TEST_P(MutexTest, WhoWaitsGetsItWhenItIsUnlocked) {
  ASSERT_THAT(Lock(self(), name_), IsOk());
  std::future<Result> lock = Begin(peer(), Of(Call::MUTEX, name_, Call::LOCK));
  ASSERT_THAT(Unlock(self(), name_), IsOk());
  const Result result = lock.get();
  EXPECT_THAT(result, IsOk());
  EXPECT_FALSE(result.owner_died);
}

TEST_P(MutexTest, AWaitEndsAtItsDeadline) {
  ASSERT_THAT(Lock(peer(), name_), IsOk());
  const absl::Time deadline = absl::Now() + absl::Milliseconds(60);
  EXPECT_THAT(Lock(self(), name_, deadline), HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_GE(absl::Now(), deadline);
}

TEST_P(MutexTest, AThreadThatHasItCannotLockItAgain) {
  ASSERT_THAT(Lock(self(), name_), IsOk());
  EXPECT_THAT(Lock(self(), name_), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(Unlock(self(), name_), IsOk());
}

TEST_P(MutexTest, OnlyWhoHasItUnlocksIt) {
  ASSERT_THAT(Open(self(), name_), IsOk());
  EXPECT_THAT(Unlock(self(), name_), HasCode(StatusCode::kFailedPrecondition)) << "nobody has it";
  ASSERT_THAT(Lock(peer(), name_), IsOk());
  EXPECT_THAT(Unlock(self(), name_), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(Unlock(peer(), name_, /*thread=*/1), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(Unlock(peer(), name_), IsOk());
}

TEST_P(MutexTest, TheNextOwnerIsToldOnceThatAnOwnerHasDied) {
  ASSERT_THAT(Open(self(), name_), IsOk());
  ASSERT_THAT(Lock(peer(), name_), IsOk());
  peer().End();
  const Result first = Lock(self(), name_);
  ASSERT_THAT(first, IsOk());
  EXPECT_TRUE(first.owner_died);
  ASSERT_THAT(Unlock(self(), name_), IsOk());
  const Result second = Lock(self(), name_);
  ASSERT_THAT(second, IsOk());
  EXPECT_FALSE(second.owner_died);
}

TEST_P(MutexTest, WhoWaitsIsToldThatTheOwnerHasDied) {
  ASSERT_THAT(Lock(peer(), name_), IsOk());
  std::future<Result> lock = Begin(self(), Of(Call::MUTEX, name_, Call::LOCK));
  peer().End();
  const Result result = lock.get();
  ASSERT_THAT(result, IsOk());
  EXPECT_TRUE(result.owner_died);
}

TEST_P(MutexTest, TheLastHandleThatGoesLeavesNothingLocked) {
  ASSERT_THAT(Open(self(), name_), IsOk());
  ASSERT_THAT(Lock(peer(), name_), IsOk());
  ASSERT_THAT(peer().CallLock(Of(Call::MUTEX, name_, Call::CLOSE)), IsOk());
  const Result result = Lock(self(), name_);
  ASSERT_THAT(result, IsOk());
  EXPECT_TRUE(result.owner_died);
}

TEST_P(MutexTest, FencingTokensRise) {
  uint64_t last = 0;
  for (int round = 0; round < 10; ++round) {
    for (Party* party : {static_cast<Party*>(&self()), &peer()}) {
      const Result result = Lock(*party, name_);
      ASSERT_THAT(result, IsOk());
      EXPECT_GT(result.fence, last);
      last = result.fence;
      ASSERT_THAT(Unlock(*party, name_), IsOk());
    }
    if (round % 3 != 2) continue;
    // Those of one made anew are larger still.
    ASSERT_THAT(self().CallLock(Of(Call::MUTEX, name_, Call::DESTROY)), IsOk());
    for (Party* party : {static_cast<Party*>(&self()), &peer()}) {
      ASSERT_THAT(party->CallLock(Of(Call::MUTEX, name_, Call::CLOSE)), IsOk());
    }
  }
}

TEST_P(MutexTest, WhoWaitsForOneThatIsDestroyedIsTold) {
  ASSERT_THAT(Lock(self(), name_), IsOk());
  std::future<Result> lock = Begin(peer(), Of(Call::MUTEX, name_, Call::LOCK));
  ASSERT_THAT(self().CallLock(Of(Call::MUTEX, name_, Call::DESTROY)), IsOk());
  EXPECT_THAT(lock.get(), HasCode(StatusCode::kUnavailable));
  EXPECT_THAT(Unlock(self(), name_), IsOk()) << "who has it goes on";
  EXPECT_THAT(Lock(self(), name_), HasCode(StatusCode::kUnavailable));
  EXPECT_THAT(self().CallLock(Of(Call::MUTEX, name_, Call::DESTROY)),
              HasCode(StatusCode::kNotFound));
}

TEST_P(MutexTest, ATransientOneIsGoneWithTheLastThatHasItOpen) {
  Call open = Of(Call::MUTEX, name_, Call::OPEN);
  open.set_transient(true);
  ASSERT_THAT(self().CallLock(open), IsOk());
  ASSERT_THAT(peer().CallLock(open), IsOk());
  ASSERT_THAT(self().CallLock(Of(Call::MUTEX, name_, Call::CLOSE)), IsOk());
  Call find = open;
  find.set_must_exist(true);
  ASSERT_THAT(self().CallLock(find), IsOk()) << "the other one has it";
  ASSERT_THAT(self().CallLock(Of(Call::MUTEX, name_, Call::CLOSE)), IsOk());
  peer().End();
  EXPECT_TRUE(Eventually([&] {
    const Result found = self().CallLock(find);
    if (StatusOf(found).ok()) self().CallLock(Of(Call::MUTEX, name_, Call::CLOSE));
    return StatusOf(found).code() == StatusCode::kNotFound;
  }));
}

TEST_P(MutexTest, EachKindHasNamesOfItsOwn) {
  ASSERT_THAT(Lock(self(), name_), IsOk());
  EXPECT_THAT(peer().CallLock(Of(Call::SHARED_MUTEX, name_, Call::LOCK), AtOnce()), IsOk());
  Call missing = Of(Call::CONDITION, name_, Call::OPEN);
  missing.set_must_exist(true);
  EXPECT_THAT(peer().CallLock(missing), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(Open(self(), "1" + name_), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(Open(self(), name_ + "@nowhere"), HasCode(StatusCode::kNotFound)) << "no node";
  EXPECT_THAT(Lock(peer(), name_ + "@alpha", AtOnce()), HasCode(StatusCode::kDeadlineExceeded))
      << "the same in full";
}

TEST_P(MutexTest, WhatIsHeldStaysSoWhenTheAgentIsStartedAgain) {
  ASSERT_THAT(Lock(peer(), name_), IsOk());
  ASSERT_THAT(Open(self(), name_), IsOk());
  KillAgent("alpha");
  EXPECT_THAT(Lock(self(), name_, AtOnce()), HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(Unlock(peer(), name_), IsOk());
  ASSERT_THAT(Lock(peer(), name_), IsOk());
  std::future<Result> lock = Begin(self(), Of(Call::MUTEX, name_, Call::LOCK));
  peer().End();
  const Result result = lock.get();
  ASSERT_THAT(result, IsOk());
  EXPECT_TRUE(result.owner_died);
}

// --- Deadlocks.

TEST_P(MutexTest, AWaitThatWouldCloseACycleIsRefusedInWords) {
  const std::string other = NewName();
  ASSERT_THAT(Lock(self(), name_), IsOk());
  ASSERT_THAT(Lock(peer(), other), IsOk());
  std::vector<std::future<Result>> locks;
  locks.push_back(std::async(std::launch::async, [&] { return Lock(self(), other); }));
  locks.push_back(std::async(std::launch::async, [&] { return Lock(peer(), name_); }));
  const uint32_t refused = FirstToEnd(locks);
  const Result result = locks[refused].get();
  ASSERT_THAT(result, HasCode(StatusCode::kFailedPrecondition));
  const std::string words(StatusOf(result).message());
  EXPECT_THAT(words, testing::HasSubstr(name_));
  EXPECT_THAT(words, testing::HasSubstr(other));
  EXPECT_THAT(words, testing::HasSubstr(self().id().ToString()));
  EXPECT_THAT(words, testing::HasSubstr(peer().id().ToString()));
  if (refused == 0) {
    ASSERT_THAT(Unlock(self(), name_), IsOk());
  } else {
    ASSERT_THAT(Unlock(peer(), other), IsOk());
  }
  EXPECT_THAT(locks[1 - refused].get(), IsOk());
}

TEST_P(MutexTest, ACycleOfThreeThreadsIsFound) {
  const std::string names[] = {name_, NewName(), NewName()};
  Party* const parties[] = {&self(), &peer(), &peer()};
  for (uint32_t i = 0; i < 3; ++i) {
    ASSERT_THAT(Lock(*parties[i], names[i], Patience(), i), IsOk());
  }
  std::vector<std::future<Result>> locks;
  for (uint32_t i = 0; i < 3; ++i) {
    locks.push_back(std::async(std::launch::async, [&, i] {
      return Lock(*parties[i], names[(i + 1) % 3], Patience(), i);
    }));
  }
  // Whoever is the last that the agent knows of.
  const uint32_t refused = FirstToEnd(locks);
  const Result result = locks[refused].get();
  ASSERT_THAT(result, HasCode(StatusCode::kFailedPrecondition));
  for (const std::string& name : names) {
    EXPECT_THAT(std::string(StatusOf(result).message()), testing::HasSubstr(name));
  }
  // The others get what they wait for, one after the other.
  for (uint32_t step = 0; step < 2; ++step) {
    const uint32_t releases = (refused + 3 - step) % 3, waits = (releases + 2) % 3;
    ASSERT_THAT(Unlock(*parties[releases], names[releases], releases), IsOk());
    EXPECT_THAT(locks[waits].get(), IsOk());
  }
}

TEST_P(MutexTest, ALineOfWaitsIsNoCycle) {
  const std::string other = NewName();
  ASSERT_THAT(Lock(self(), name_), IsOk());
  ASSERT_THAT(Lock(peer(), other), IsOk());
  std::future<Result> first = Begin(peer(), Of(Call::MUTEX, name_, Call::LOCK));
  std::future<Result> second =
      Begin(peer(), Of(Call::MUTEX, other, Call::LOCK, 1), Patience(), /*beside=*/1);
  // Long enough for both to have told the agent, twice.
  EXPECT_EQ(second.wait_for(std::chrono::milliseconds(1200)), std::future_status::timeout);
  ASSERT_THAT(Unlock(self(), name_), IsOk());
  EXPECT_THAT(first.get(), IsOk());
  ASSERT_THAT(Unlock(peer(), other), IsOk());
  EXPECT_THAT(second.get(), IsOk());
}

TEST_P(MutexTest, AWaitThatHasEndedIsInNoCycle) {
  const std::string other = NewName();
  ASSERT_THAT(Lock(self(), name_), IsOk());
  ASSERT_THAT(Lock(peer(), other), IsOk());
  ASSERT_THAT(Lock(peer(), name_, absl::Now() + absl::Milliseconds(50)),
              HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(Lock(self(), other, absl::Now() + absl::Milliseconds(50)),
              HasCode(StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace mailrail
