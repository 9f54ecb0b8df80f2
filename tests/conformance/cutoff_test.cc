// Receivers of a node that is not reached (MailboxOptions::cutoff).
#include <signal.h>

#include <memory>
#include <string>
#include <thread>

#include "tests/conformance/conformance.h"
#include "tests/conformance/own_cluster.h"

namespace mailrail {
namespace {

constexpr absl::StatusCode kNothing = absl::StatusCode::kDeadlineExceeded;

// The mailbox is on alpha, and the node that is not reached is beta.
class CutoffTest : public OwnClusterTest {
 protected:
  void SetUp() override {
    OwnClusterTest::SetUp();
    far_ = NewPeer();
    ASSERT_NE(far_, nullptr);
  }

  // Beta has no agent from now on, and its processes live.
  void Leave() {
    proper_ = cluster().Proper("beta");
    cluster().Agent("beta").Signal(SIGSTOP);
    kill(proper_, SIGKILL);
  }
  void ComeBack() {
    cluster().Agent("beta").Signal(SIGCONT);
    EXPECT_TRUE(Eventually([&] { return cluster().Proper("beta") != proper_; }));
    EXPECT_THAT(cluster().WaitUntilConnected(), IsOk());
  }

  std::unique_ptr<Party> far_;
  pid_t proper_ = 0;
};

INSTANTIATE_TEST_SUITE_P(, CutoffTest, testing::Values(Transport::kTwoNodes), TransportName);

TEST_P(CutoffTest, WhatTheyHoldGoesToOthersMarkedWhileTheyAreNotReached) {
  ASSERT_THAT(self().CreateMailbox("q", {.lease_time = absl::Hours(1),
                                         .hold_order = true,
                                         .cutoff = absl::Milliseconds(300)}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(from_far, far_->OpenLeasing("q"));
  ASSERT_OK_AND_ASSIGN(near, self().OpenMailbox("q"));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox("q"));
  ASSERT_THAT(self().Send(sender, Numbered(2)), IsOk());
  ASSERT_THAT(NumbersOf(far_->Receive(from_far, 1).messages), testing::ElementsAre(1));
  // As long as it is reached it keeps it.
  EXPECT_THAT(self().Receive(near, 1, absl::Now() + absl::Milliseconds(600)), HasCode(kNothing));
  Leave();
  const ReceiveResult result = self().Receive(near, 2);
  ASSERT_THAT(NumbersOf(result.messages), testing::ElementsAre(1, 2));
  EXPECT_EQ(result.messages[0].attempts, 1);
  EXPECT_EQ(result.messages[1].attempts, 0);
  ComeBack();
  // It is done with it, too; nobody hears of that any more.
  EXPECT_THAT(far_->Acknowledge(1), IsOk());
  ASSERT_THAT(self().Send(sender, {{.number = 3}}), IsOk());
  EXPECT_THAT(NumbersOf(far_->Receive(from_far, 1).messages), testing::ElementsAre(3));
}

TEST_P(CutoffTest, ANodeThatComesBackInTimeHasLostNothing) {
  ASSERT_THAT(self().CreateMailbox("q", {.lease_time = absl::Hours(1)}), IsOk());
  ASSERT_OK_AND_ASSIGN(from_far, far_->OpenLeasing("q"));
  ASSERT_OK_AND_ASSIGN(near, self().OpenMailbox("q"));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox("q"));
  ASSERT_THAT(self().Send(sender, Numbered(1)), IsOk());
  ASSERT_THAT(NumbersOf(far_->Receive(from_far, 1).messages), testing::ElementsAre(1));
  Leave();
  EXPECT_THAT(self().Receive(near, 1, absl::Now() + absl::Milliseconds(600)), HasCode(kNothing));
  ComeBack();
  EXPECT_THAT(far_->Acknowledge(1), IsOk());
  EXPECT_TRUE(Eventually([&] { return self().process().StatMailbox("q")->leased == 0; }));
  EXPECT_THAT(self().Receive(near, 1, absl::InfinitePast()), HasCode(kNothing));
}

TEST_P(CutoffTest, TheExclusiveRightGoesToTheNextAndTheyAreTheLastWhenTheyAreReachedAgain) {
  ASSERT_THAT(self().CreateMailbox(
                  "q", {.policy = ReceivePolicy::kExclusive, .cutoff = absl::Milliseconds(300)}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(from_far, far_->OpenMailbox("q"));
  ASSERT_OK_AND_ASSIGN(near, self().OpenMailbox("q"));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox("q"));
  ASSERT_THAT(self().Send(sender, Numbered(4)), IsOk());
  EXPECT_THAT(NumbersOf(far_->Receive(from_far, 1).messages), testing::ElementsAre(1));
  EXPECT_THAT(self().Receive(near, 1, absl::InfinitePast()), HasCode(kNothing));
  Leave();
  EXPECT_THAT(NumbersOf(self().Receive(near, 1).messages), testing::ElementsAre(2));
  ComeBack();
  EXPECT_THAT(far_->Receive(from_far, 1, absl::Now() + absl::Milliseconds(300)), HasCode(kNothing));
  EXPECT_THAT(NumbersOf(self().Receive(near, 1).messages), testing::ElementsAre(3));
  self().Close(near);
  EXPECT_THAT(NumbersOf(far_->Receive(from_far, 1).messages), testing::ElementsAre(4));
}

TEST_P(CutoffTest, KeysGoToOthersAndComeBack) {
  ASSERT_THAT(self().CreateMailbox("q", {.distribution = Distribution::kStickyByKey,
                                         .cutoff = absl::Milliseconds(300)}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(from_far, far_->OpenMailbox("q"));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox("q"));
  // Until another has it open, all keys are its own.
  ASSERT_THAT(self().Send(sender, {{.number = 1, .key = "a"}}), IsOk());
  EXPECT_THAT(NumbersOf(far_->Receive(from_far, 1).messages), testing::ElementsAre(1));
  ASSERT_OK_AND_ASSIGN(near, self().OpenMailbox("q"));
  std::vector<Outgoing> messages = Numbered(20);
  for (Outgoing& message : messages) message.key = "key" + std::to_string(message.number);
  ASSERT_THAT(self().Send(sender, messages), IsOk());
  Leave();
  EXPECT_THAT(self().Receive(near, messages.size()), IsOk());
  ComeBack();
  // By its place, or by its number, it has some again.
  EXPECT_TRUE(Eventually([&] {
    EXPECT_THAT(self().Send(sender, messages), IsOk());
    while (self().Receive(near, 1, absl::InfinitePast()).status.ok()) {
    }
    return far_->Receive(from_far, 1, absl::Now() + absl::Milliseconds(200)).status.ok();
  }));
}

}  // namespace
}  // namespace mailrail
