// What a process is told wrongly is found in a history that has it, and in no other.
#include "tests/soak/checker_testing.h"

namespace mailrail::soak {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using CheckerReportsTest = CheckerTest;

TEST_F(CheckerReportsTest, TheEndOfAProcessIsToldAfterItsMessages) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Receive(r, Key(r), 1, 30, 40);
  Watch(r, a);
  Killed(a, 50);
  TellEnd(r, a, 60, 70);
  EXPECT_THAT(Breaches(), IsEmpty());
  EXPECT_EQ(Check(history_).ends_told, 1u);
  Send(a, Key(r), 2, 21, 22);
  Receive(r, Key(r), 2, 80, 90);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
}

TEST_F(CheckerReportsTest, AnEndThatIsNeverToldIsFoundUnlessTheWatcherIsKilled) {
  const size_t a = Attach(), r = Attach();
  Watch(r, a);
  EXPECT_THAT(Breaches(), IsEmpty());
  Killed(a, 50);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
  Killed(r, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerReportsTest, TheEndOfAProcessThatLivesIsWrong) {
  const size_t a = Attach(), r = Attach();
  Watch(r, a);
  TellEnd(r, a, 60, 70);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
  Killed(a, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
}

TEST_F(CheckerReportsTest, AnEndThatIsToldTwiceIsWrong) {
  const size_t a = Attach(), r = Attach();
  Watch(r, a);
  Killed(a, 50);
  TellEnd(r, a, 60, 70);
  TellEnd(r, a, 80, 90);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
}

TEST_F(CheckerReportsTest, AWrongReasonOfAnEndIsFound) {
  const size_t a = Attach(), r = Attach();
  Watch(r, a);
  Killed(a, 50);
  TellEnd(r, a, 60, 70, EndReason::kExited);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
  history_.lives[a].killed = false;
  history_.lives[a].left = true;
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerReportsTest, AMarkWithoutADeathHasNoReason) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40).redelivered = true;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kMark));
}

TEST_F(CheckerReportsTest, AMarkInAnInboxHasNoReason) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Receive(r, Key(r), 1, 30, 40).redelivered = true;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kMark));
}

TEST_F(CheckerReportsTest, WhatComesOtherwiseThanItWasSentIsAltered) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20, 3);
  Event& event = Receive(r, kBox, 1, 30, 40);
  const Event whole = event;
  event.intact = false;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kAltered));
  event = whole;
  event.bytes = 7;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kAltered));
  event = whole;
  event.priority = 4;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kAltered));
  event = whole;
  event.peer = Key(r);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kAltered));
  event = whole;
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerReportsTest, SequencesThatDoNotGrowWithTheSendsAreAltered) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  Receive(r, kBox, 1, 50, 60).sequence = 9;
  Receive(r, kBox, 2, 70, 80).sequence = 9;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kAltered));
}

TEST_F(CheckerReportsTest, ASendToAProcessThatWasKilledMayFail) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20, 0, absl::StatusCode::kUnavailable);
  Killed(r, 15);
  EXPECT_THAT(Breaches(), IsEmpty());
  Killed(r, 25);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kStatus));
}

TEST_F(CheckerReportsTest, ASendToAMailboxThatLivesMayNotFail) {
  const size_t a = Attach();
  Send(a, kBox, 1, 10, 20, 0, absl::StatusCode::kUnavailable);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kStatus));
}

TEST_F(CheckerReportsTest, AReceiveThatFailsWithoutReasonIsReported) {
  const size_t r = Attach();
  ReceiveNothing(r, kBox, 10, 20, absl::StatusCode::kAborted);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kStatus));
}

TEST_F(CheckerReportsTest, ACallToTheAgentThatFailsWithoutReasonIsReported) {
  const size_t r = Attach();
  Event event;
  event.kind = EventKind::kCallFailed;
  event.status = absl::StatusCode::kInternal;
  history_.lives[r].events.push_back(event);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kStatus));
}

}  // namespace
}  // namespace mailrail::soak
