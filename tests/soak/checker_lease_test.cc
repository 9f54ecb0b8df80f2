// What the checker says of mailboxes whose receivers acknowledge by hand.
#include "tests/soak/checker_testing.h"

namespace mailrail::soak {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr bool kAcknowledge = true, kGiveBack = false;

class CheckerLeaseTest : public CheckerTest {
 protected:
  CheckerLeaseTest() { history_.lease_ns[kBox] = 800; }

  size_t s_ = Attach(), r_ = Attach(), t_ = Attach();
};

TEST_F(CheckerLeaseTest, WhatIsAcknowledgedOnceIsFine) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Settle(r_, kAcknowledge, 50, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerLeaseTest, WhatIsNotAcknowledgedIsLost) {
  Send(s_, kBox, 1, 10, 20);
  Send(s_, kBox, 2, 22, 24);
  Receive(r_, kBox, 1, 30, 40);
  Settle(r_, kGiveBack, 50, 60);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost, Breach::kLost));
}

TEST_F(CheckerLeaseTest, ADeathExcusesNoLossButInAnAcknowledgement) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Killed(r_, 50);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
  CallSettle(r_, kAcknowledge, 45);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerLeaseTest, WhatWasGivenBackGoesToAnotherMarked) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Settle(r_, kGiveBack, 50, 60);
  Receive(t_, kBox, 1, 55, 70).redelivered = true;
  Settle(t_, kAcknowledge, 80, 90);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerLeaseTest, UnmarkedItIsOneThatWasNotThereBefore) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Settle(r_, kGiveBack, 50, 60);
  Receive(t_, kBox, 1, 65, 70);
  Settle(t_, kAcknowledge, 80, 90);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kMark));
}

TEST_F(CheckerLeaseTest, NobodyGetsWhatAnotherHolds) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Receive(t_, kBox, 1, 50, 60).redelivered = true;
  Settle(r_, kAcknowledge, 70, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

TEST_F(CheckerLeaseTest, WhenTheLeaseHasEndedItIsAnothersAndCannotBeAcknowledged) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Receive(t_, kBox, 1, 50, 760).redelivered = true;
  Settle(r_, kAcknowledge, 770, 780, absl::StatusCode::kFailedPrecondition);
  Settle(t_, kAcknowledge, 790, 800);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerLeaseTest, BeforeItHasEndedItCanBeAcknowledged) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Settle(r_, kAcknowledge, 70, 80, absl::StatusCode::kFailedPrecondition);
  Receive(t_, kBox, 1, 50, 760).redelivered = true;
  Settle(t_, kAcknowledge, 790, 800);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kStatus));
}

TEST_F(CheckerLeaseTest, WhatADeadReceiverHeldGoesToAnother) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Killed(r_, 50);
  Receive(t_, kBox, 1, 45, 60).redelivered = true;
  Settle(t_, kAcknowledge, 70, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerLeaseTest, NobodyReceivesWhatIsDone) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Settle(r_, kAcknowledge, 50, 60);
  Receive(t_, kBox, 1, 1000, 1010).redelivered = true;
  Settle(t_, kGiveBack, 1020, 1030);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

TEST_F(CheckerLeaseTest, NobodyAcknowledgesWhatIsDone) {
  Send(s_, kBox, 1, 10, 20);
  Receive(r_, kBox, 1, 30, 40);
  Settle(r_, kAcknowledge, 50, 60);
  Receive(t_, kBox, 1, 35, 900).redelivered = true;
  Settle(t_, kAcknowledge, 910, 920);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

}  // namespace
}  // namespace mailrail::soak
