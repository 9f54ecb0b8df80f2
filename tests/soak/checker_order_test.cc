// Messages against the order, or hidden, are found in a history that has them, and in no other.
#include "tests/soak/checker_testing.h"

namespace mailrail::soak {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using CheckerOrderTest = CheckerTest;

TEST_F(CheckerOrderTest, LaterBeforeEarlierOfOneSenderIsAgainstTheOrder) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Send(a, Key(r), 2, 30, 40);
  Receive(r, Key(r), 2, 50, 60);
  Receive(r, Key(r), 1, 70, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kOrder));
}

TEST_F(CheckerOrderTest, AnInboxKeepsNoOrderBetweenSenders) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Send(b, Key(r), 2, 30, 40);
  Receive(r, Key(r), 2, 50, 60);
  Receive(r, Key(r), 1, 70, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerOrderTest, ReceiversWhoseCallsOverlapMayReturnInAnyOrder) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  Receive(r, kBox, 2, 50, 60);
  Receive(s, kBox, 1, 55, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerOrderTest, LaterBeforeEarlierOfTwoSendersIsAgainstTheQueueOrder) {
  const size_t a = Attach(), b = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(b, kBox, 2, 30, 40);
  Receive(r, kBox, 2, 50, 60);
  Receive(s, kBox, 1, 70, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kQueueOrder));
}

TEST_F(CheckerOrderTest, SendsThatOverlapMayBeQueuedInAnyOrder) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 31);
  Send(b, kBox, 2, 30, 40);
  Receive(r, kBox, 2, 50, 60);
  Receive(r, kBox, 1, 70, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerOrderTest, SendersOfOtherNodesAreNotInTheQueueOrder) {
  const size_t a = Attach(1), b = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(b, kBox, 2, 30, 40);
  Receive(r, kBox, 2, 50, 60);
  Receive(r, kBox, 1, 70, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerOrderTest, AMessageThatWasAwayMayComeLateWhenItIsMarked) {
  const size_t a = Attach(), r = Attach(), dead = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  CallReceive(dead, kBox, 45);
  Killed(dead, 65);
  Receive(r, kBox, 2, 50, 60);
  Event& late = Receive(r, kBox, 1, 70, 80);
  late.redelivered = true;
  EXPECT_THAT(Breaches(), IsEmpty());
  late.redelivered = false;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kOrder, Breach::kQueueOrder));
}

TEST_F(CheckerOrderTest, AWorseMessageBeforeABetterOneIsAgainstThePriority) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20, 5);
  Send(b, kBox, 2, 10, 20, 4);
  Receive(r, kBox, 2, 30, 40);
  Receive(r, kBox, 1, 50, 60);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPriority));
}

TEST_F(CheckerOrderTest, ABetterMessageThatIsSentDuringTheReceiveMayComeLater) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(b, Key(r), 2, 10, 20, 4);
  Send(a, Key(r), 1, 25, 31, 5);
  Receive(r, Key(r), 2, 30, 40);
  Receive(r, Key(r), 1, 50, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerOrderTest, ABetterMessageThatAnotherReceiverWasTakingIsNotLeftToBeTaken) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20, 5);
  Send(a, kBox, 2, 21, 22, 4);
  Receive(r, kBox, 2, 30, 40);
  Receive(s, kBox, 1, 35, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerOrderTest, ABetterMessageOfAnotherNodeMayStillBeOnItsWay) {
  const size_t a = Attach(1), b = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20, 5);
  Send(b, Key(r), 2, 10, 20, 4);
  Receive(r, Key(r), 2, 30, 40);
  Receive(r, Key(r), 1, 50, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerOrderTest, AReceiveThatReturnsNothingThoughThereWasAMessageHasHiddenIt) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40);
  Send(a, kBox, 2, 50, 60);
  ReceiveNothing(r, kBox, 70, 80);
  Receive(s, kBox, 2, 90, 100);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kHidden));
}

TEST_F(CheckerOrderTest, AReceiveMayReturnNothingWhileTheAgentIsOut) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40);
  Send(a, kBox, 2, 50, 60);
  ReceiveNothing(r, kBox, 70, 80);
  Receive(r, kBox, 2, 90, 100);
  history_.outages = {{0, 75, 85}};
  EXPECT_THAT(Breaches(), IsEmpty());
  history_.outages = {{0, 40, 60}, {0, 85, 95}, {1, 70, 80}};
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kHidden));
}

TEST_F(CheckerOrderTest, AReceiveMayReturnNothingWhileASenderIsNewToIt) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  ReceiveNothing(r, kBox, 30, 40);
  Receive(r, kBox, 1, 50, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerOrderTest, AReceiveMayReturnNothingWhileAnotherTakesTheMessage) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40);
  Send(a, kBox, 2, 50, 60);
  ReceiveNothing(r, kBox, 70, 80);
  Receive(s, kBox, 2, 75, 100);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerOrderTest, WhatNobodyCanObserveIsNotHeldAgainstAnybody) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(b, kBox, 2, 30, 40);
  Send(a, kBox, 3, 50, 60, 5);
  Receive(r, kBox, 2, 70, 80);
  Receive(r, kBox, 3, 81, 82);
  Receive(r, kBox, 1, 90, 100);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kQueueOrder, Breach::kPriority));
  history_.unobservable_ns = 10;
  EXPECT_THAT(Breaches(), IsEmpty());
}

}  // namespace
}  // namespace mailrail::soak
