// Messages that are lost, made up or doubled are found in a history that has them, and in no other.
#include "tests/soak/checker_testing.h"

namespace mailrail::soak {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using CheckerDeliveryTest = CheckerTest;

TEST_F(CheckerDeliveryTest, MessagesThatAllComeInOrderViolateNothing) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40, 5);
  Send(b, kBox, 3, 50, 60);
  Send(a, Key(r), 4, 70, 80);
  Receive(r, kBox, 2, 100, 110);
  Receive(r, kBox, 1, 120, 130);
  Receive(r, kBox, 3, 140, 150);
  ReceiveNothing(r, kBox, 160, 170);
  Receive(r, Key(r), 4, 180, 190);
  EXPECT_THAT(Breaches(), IsEmpty());
  const Verdict verdict = Check(history_);
  EXPECT_EQ(verdict.told, 4u);
  EXPECT_EQ(verdict.received, 4u);
}

TEST_F(CheckerDeliveryTest, AMessageThatNeverComesIsLost) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  ReceiveNothing(r, kBox, 30, 40);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerDeliveryTest, AMessageThatNeverComesToAnInboxIsLost) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerDeliveryTest, AMessageOfASendThatDidNotReturnMayCome) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  CallSend(a, kBox, 1, 10);
  Killed(a, 20);
  CallSend(b, kBox, 2, 10);
  Killed(b, 20);
  Receive(r, kBox, 2, 30, 40);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerDeliveryTest, AKilledReceiverMayHaveTakenTheMessageOfItsLastReceive) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  CallReceive(r, kBox, 30);
  Killed(r, 40);
  EXPECT_THAT(Breaches(), IsEmpty());
  EXPECT_EQ(Check(history_).gone_taken, 1u);
}

TEST_F(CheckerDeliveryTest, AKilledReceiverHasTakenOneMessageAtMost) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 21, 22);
  CallReceive(r, kBox, 30);
  Killed(r, 40);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerDeliveryTest, AReceiverThatWasKilledOutsideOfReceivesHasTakenNothing) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  ReceiveNothing(r, kBox, 30, 40);
  Killed(r, 50);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerDeliveryTest, AKilledReceiverHasNotTakenWhatWasSentAfterItsDeath) {
  const size_t a = Attach(), r = Attach();
  CallReceive(r, kBox, 10);
  Killed(r, 20);
  Send(a, kBox, 1, 30, 40);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerDeliveryTest, AKilledReceiverHasNotTakenWhatWasOvertakenBeforeItsReceive) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  Receive(s, kBox, 2, 50, 60);
  CallReceive(r, kBox, 70);
  Killed(r, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerDeliveryTest, AKilledReceiverHasNotTakenWhatStoodBehindOthersWhenItDied) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  CallReceive(r, kBox, 50);
  Killed(r, 60);
  Receive(s, kBox, 1, 70, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerDeliveryTest, AMessageThatADeadReceiverHadClaimedMayBeTakenByALaterOne) {
  const size_t a = Attach(), r = Attach(), s = Attach(), t = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  CallReceive(r, kBox, 41);
  Receive(s, kBox, 2, 50, 60);
  Killed(r, 61);
  CallReceive(t, kBox, 70);
  Killed(t, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerDeliveryTest, WhatStandsInAnInboxGoesWithItsKilledProcess) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Send(a, Key(r), 2, 30, 40);
  Send(a, Key(r), 3, 50, 60);
  Receive(r, Key(r), 1, 70, 80);
  Killed(r, 90);
  EXPECT_THAT(Breaches(), IsEmpty());
  EXPECT_EQ(Check(history_).gone_in_inboxes, 2u);
}

TEST_F(CheckerDeliveryTest, AMessageThatIsMissingBeforeOthersInAnInboxIsLost) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Send(a, Key(r), 2, 30, 40);
  Receive(r, Key(r), 2, 70, 80);
  Killed(r, 90);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerDeliveryTest, AMessageThatNobodyHasSentIsAPhantom) {
  const size_t r = Attach();
  Receive(r, kBox, 7, 10, 20);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPhantom));
}

TEST_F(CheckerDeliveryTest, AMessageThatWasSentElsewhereIsAPhantom) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Receive(r, Key(r), 1, 30, 40);
  Receive(r, kBox, 1, 50, 60);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPhantom));
}

TEST_F(CheckerDeliveryTest, AMessageThatComesBeforeItIsSentIsAPhantom) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 30, 40);
  Receive(r, kBox, 1, 10, 20);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPhantom));
}

TEST_F(CheckerDeliveryTest, AMessageThatFoundNoRoomIsAPhantomWhenItComes) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20, 0, absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Breaches(), IsEmpty());
  Receive(r, kBox, 1, 30, 40);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPhantom));
}

TEST_F(CheckerDeliveryTest, AMessageThatComesTwiceIsADuplicate) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40);
  Receive(s, kBox, 1, 50, 60);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

TEST_F(CheckerDeliveryTest, AMessageThatWasTakenMayNotComeAgainOnItsNodeEvenMarked) {
  const size_t a = Attach(), r = Attach(), s = Attach(), t = Attach();
  Send(a, kBox, 1, 10, 20);
  CallReceive(t, kBox, 21);
  Killed(t, 22);
  Receive(r, kBox, 1, 30, 40);
  Receive(s, kBox, 1, 50, 60).redelivered = true;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

TEST_F(CheckerDeliveryTest, AMessageForOtherNodesMayComeAgainMarked) {
  const size_t a = Attach(), r = Attach(1), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40);
  Event& again = Receive(s, kBox, 1, 50, 60);
  again.redelivered = true;
  EXPECT_THAT(Breaches(), IsEmpty());
  again.redelivered = false;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

TEST_F(CheckerDeliveryTest, AMessageThatComesTwiceToAnInboxIsADuplicate) {
  const size_t a = Attach(1), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Receive(r, Key(r), 1, 30, 40);
  Receive(r, Key(r), 1, 50, 60);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

}  // namespace
}  // namespace mailrail::soak
