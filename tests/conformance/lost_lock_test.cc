// Locks of another node, when a node is not reached, or its agent is started again.
#include <signal.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/lock_fixture.h"
#include "tests/conformance/own_cluster.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using Call = party::LockCall;

// The locks are of alpha, and who has them is on beta.
class LostLockTest : public OwnClusterTest {
 protected:
  void SetUp() override {
    OwnClusterTest::SetUp();
    far_ = NewPeer();
    ASSERT_NE(far_, nullptr);
  }
  std::vector<std::string> Flags() const override { return {"--object-lease", "900ms"}; }

  static Call Of(Call::What what, Call::Kind kind = Call::MUTEX, uint32_t thread = 0) {
    Call call;
    call.set_kind(kind);
    call.set_name("it@alpha");
    call.set_what(what);
    call.set_thread(thread);
    call.set_units(1);
    call.set_most(kind == Call::BARRIER ? 2 : 1);
    return call;
  }
  bool FarHas() { return far_->CallLock(Of(Call::VALUE)).value == 1; }

  // Beta has no agent from now on, and its processes live.
  void CutOffBeta() {
    proper_ = cluster().Proper("beta");
    cluster().Agent("beta").Signal(SIGSTOP);
    kill(proper_, SIGKILL);
  }
  void BetaComesBack() {
    cluster().Agent("beta").Signal(SIGCONT);
    EXPECT_TRUE(Eventually([&] { return cluster().Proper("beta") != proper_; }));
    EXPECT_THAT(cluster().WaitUntilConnected(), IsOk());
  }

  std::unique_ptr<Party> far_;
  pid_t proper_ = 0;
};

INSTANTIATE_TEST_SUITE_P(, LostLockTest, testing::Values(Transport::kTwoNodes), TransportName);

TEST_P(LostLockTest, AHolderWhoseNodeIsReachedKeepsItBeyondTheLease) {
  ASSERT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk());
  EXPECT_THAT(self().CallLock(Of(Call::LOCK), absl::Now() + absl::Seconds(2)),
              HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_TRUE(FarHas());
  EXPECT_THAT(far_->CallLock(Of(Call::UNLOCK)), IsOk());
}

TEST_P(LostLockTest, AHolderIsToldThatItHasLostItWhenTheHomeDoesNotAnswer) {
  ASSERT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk());
  const pid_t home = cluster().Proper("alpha");
  ASSERT_EQ(kill(home, SIGSTOP), 0);
  EXPECT_TRUE(Eventually([&] { return !FarHas(); }));
  EXPECT_THAT(far_->CallLock(Of(Call::UNLOCK)), HasCode(StatusCode::kAborted));
  ASSERT_EQ(kill(home, SIGCONT), 0);
  const LockResult next = self().CallLock(Of(Call::LOCK));
  ASSERT_THAT(next, IsOk());
  EXPECT_TRUE(next.owner_died) << "it was given up";
  ASSERT_THAT(self().CallLock(Of(Call::UNLOCK)), IsOk());
  EXPECT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk()) << "by the same handle";
}

TEST_P(LostLockTest, WhoHadNothingToLoseGetsItAfterwards) {
  const std::unique_ptr<Party> idle = NewPeer();
  ASSERT_NE(idle, nullptr);
  ASSERT_THAT(idle->CallLock(Of(Call::OPEN)), IsOk());
  ASSERT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk());
  const pid_t home = cluster().Proper("alpha");
  ASSERT_EQ(kill(home, SIGSTOP), 0);
  EXPECT_TRUE(Eventually([&] { return !FarHas(); }));
  ASSERT_EQ(kill(home, SIGCONT), 0);
  EXPECT_THAT(idle->CallLock(Of(Call::LOCK)), IsOk());
  EXPECT_THAT(idle->CallLock(Of(Call::UNLOCK)), IsOk());
  EXPECT_THAT(self().CallLock(Of(Call::LOCK), absl::Now() + absl::Seconds(10)), IsOk());
}

TEST_P(LostLockTest, WhatACutOffNodeHoldsIsFreeAfterItsLease) {
  const LockResult first = far_->CallLock(Of(Call::LOCK));
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(far_->CallLock(Of(Call::ACQUIRE, Call::SEMAPHORE)), IsOk());
  CutOffBeta();
  const LockResult next = self().CallLock(Of(Call::LOCK));
  ASSERT_THAT(next, IsOk());
  EXPECT_TRUE(next.owner_died);
  EXPECT_GT(next.fence, first.fence) << "what it guards can tell them apart";
  ASSERT_THAT(self().CallLock(Of(Call::ACQUIRE, Call::SEMAPHORE)), IsOk());
  BetaComesBack();
  EXPECT_THAT(far_->CallLock(Of(Call::UNLOCK)), HasCode(StatusCode::kAborted));
  EXPECT_THAT(far_->CallLock(Of(Call::RELEASE, Call::SEMAPHORE)), HasCode(StatusCode::kAborted));
  EXPECT_THAT(far_->CallLock(Of(Call::LOCK), absl::InfinitePast()),
              HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(self().CallLock(Of(Call::UNLOCK)), IsOk());
  EXPECT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk());
}

TEST_P(LostLockTest, APlaceAtABarrierOfACutOffNodeIsAnothers) {
  ASSERT_THAT(self().CallLock(Of(Call::OPEN, Call::BARRIER)), IsOk());
  std::thread waits([&] { far_->CallLock(Of(Call::WAIT, Call::BARRIER)); });
  EXPECT_TRUE(
      Eventually([&] { return self().CallLock(Of(Call::VALUE, Call::BARRIER)).value == 1; }));
  CutOffBeta();
  EXPECT_TRUE(
      Eventually([&] { return self().CallLock(Of(Call::VALUE, Call::BARRIER)).value == 0; }));
  BetaComesBack();
  waits.join();
}

TEST_P(LostLockTest, WhatIsHeldStaysSoWhenEitherAgentIsStartedAgain) {
  ASSERT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk());
  for (const char* node : {"beta", "alpha", "beta"}) {
    cluster().KillProper(node);
    ASSERT_THAT(cluster().WaitUntilConnected(), IsOk());
    EXPECT_THAT(self().CallLock(Of(Call::LOCK), absl::InfinitePast()),
                HasCode(StatusCode::kDeadlineExceeded))
        << node;
  }
  EXPECT_TRUE(FarHas());
  ASSERT_THAT(far_->CallLock(Of(Call::UNLOCK)), IsOk());
  EXPECT_THAT(self().CallLock(Of(Call::LOCK)), IsOk());
}

TEST_P(LostLockTest, WhoWaitsGoesOnWaitingWhenEitherAgentIsStartedAgain) {
  ASSERT_THAT(self().CallLock(Of(Call::LOCK)), IsOk());
  LockResult result;
  std::thread waits([&] { result = far_->CallLock(Of(Call::LOCK)); });
  EXPECT_TRUE(Eventually([&] { return far_->Asleep() > 0; }));
  for (const char* node : {"alpha", "beta", "alpha"}) {
    cluster().KillProper(node);
    ASSERT_THAT(cluster().WaitUntilConnected(), IsOk());
  }
  ASSERT_THAT(self().CallLock(Of(Call::UNLOCK)), IsOk());
  waits.join();
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(self().CallLock(Of(Call::LOCK), absl::InfinitePast()),
              HasCode(StatusCode::kDeadlineExceeded));
}

TEST_P(LostLockTest, AHolderThatEndsWhileItsNodeHasNoAgentHoldsItNoMore) {
  ASSERT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk());
  EndWithoutAgent(far_.get());
  const LockResult next = self().CallLock(Of(Call::LOCK));
  ASSERT_THAT(next, IsOk());
  EXPECT_TRUE(next.owner_died);
}

TEST_P(LostLockTest, WhatWasHeldAtANodeThatStartsAnewIsLost) {
  ASSERT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk());
  cluster().Kill("alpha");
  ASSERT_THAT(cluster().Restart("alpha"), IsOk());
  EXPECT_TRUE(Eventually([&] { return !FarHas(); }));
  // One that has the same number there as the other had.
  Call other = Of(Call::LOCK);
  other.set_name("other@alpha");
  EXPECT_THAT(far_->CallLock(other), IsOk());
  EXPECT_THAT(far_->CallLock(Of(Call::UNLOCK)), HasCode(StatusCode::kAborted));
  EXPECT_THAT(far_->CallLock(Of(Call::LOCK)), HasCode(StatusCode::kUnavailable))
      << "that one is there no more";
  ASSERT_THAT(far_->CallLock(Of(Call::CLOSE)), IsOk());
  EXPECT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk()) << "another one of its name";
}

TEST_P(LostLockTest, WhatAHolderOfANodeThatStartsAnewHadIsFree) {
  ASSERT_THAT(far_->CallLock(Of(Call::LOCK)), IsOk());
  cluster().Kill("beta");
  ASSERT_THAT(cluster().Restart("beta"), IsOk());
  const LockResult next = self().CallLock(Of(Call::LOCK));
  ASSERT_THAT(next, IsOk());
  EXPECT_TRUE(next.owner_died);
}

TEST_P(LostLockTest, OneOfAnotherNodeIsNoMemberOfAWaitSet) {
  absl::StatusOr<Mutex> mutex = Mutex::Open(self().process(), "near@beta");
  ASSERT_THAT(mutex, IsOk());
  WaitSet set(self().process());
  EXPECT_THAT(set.Add(1, *mutex), HasCode(StatusCode::kUnimplemented));
}

}  // namespace
}  // namespace mailrail
