// Each kind of violation is found in a history that has it, and none in one that has not.
#include "tests/soak/checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mailrail::soak {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kBox = 1;  // a mailbox of node 0

// A history that is told event by event: times are those that stand there.
class CheckerTest : public ::testing::Test {
 protected:
  CheckerTest() { history_.mailboxes[kBox] = 0; }

  // A process; its number is its key less kFirstKey.
  size_t Attach(int node = 0) {
    const size_t process = history_.lives.size();
    Life& life = history_.lives.emplace_back();
    life.name = "p" + std::to_string(process);
    life.node = node;
    Event event;
    event.destination = Key(process);
    life.events.push_back(event);
    return process;
  }
  static uint64_t Key(size_t process) { return kFirstKey + process; }

  void Killed(size_t process, int64_t time) {
    Life& life = history_.lives[process];
    life.killed = true;
    life.struck_ns = time;
    life.died_ns = time + 1;
  }

  void CallSend(size_t process, uint64_t to, uint64_t value, int64_t time, int priority = 0) {
    Event event;
    event.kind = EventKind::kSendCall;
    event.destination = to;
    event.value = value;
    event.bytes = 8;
    event.priority = static_cast<uint8_t>(priority);
    event.time_ns = time;
    history_.lives[process].events.push_back(event);
  }
  void Send(size_t process, uint64_t to, uint64_t value, int64_t call, int64_t returned,
            int priority = 0, absl::StatusCode status = absl::StatusCode::kOk) {
    CallSend(process, to, value, call, priority);
    Event event = history_.lives[process].events.back();
    event.kind = EventKind::kSendReturn;
    event.status = status;
    event.time_ns = returned;
    history_.lives[process].events.push_back(event);
  }

  void CallReceive(size_t process, uint64_t from, int64_t time) {
    Event event;
    event.kind = EventKind::kReceiveCall;
    event.destination = from;
    event.time_ns = time;
    history_.lives[process].events.push_back(event);
  }
  // The return of a receive of `value`, as it was sent; it may be changed.
  Event& Receive(size_t process, uint64_t from, uint64_t value, int64_t call, int64_t returned) {
    CallReceive(process, from, call);
    Event event;
    event.kind = EventKind::kReceiveReturn;
    event.destination = from;
    event.value = value;
    event.bytes = 8;
    event.time_ns = returned;
    event.sequence = value;
    for (size_t sender = 0; sender < history_.lives.size(); ++sender) {
      for (const Event& sent : history_.lives[sender].events) {
        if (sent.kind != EventKind::kSendCall || sent.value != value) continue;
        event.priority = sent.priority;
        event.peer = Key(sender);
      }
    }
    return history_.lives[process].events.emplace_back(event);
  }
  void ReceiveNothing(size_t process, uint64_t from, int64_t call, int64_t returned,
                      absl::StatusCode status = absl::StatusCode::kDeadlineExceeded) {
    Event& event = Receive(process, from, 0, call, returned);
    event.status = status;
  }

  void Watch(size_t process, size_t peer) {
    Event event;
    event.kind = EventKind::kWatched;
    event.destination = Key(process);
    event.peer = Key(peer);
    history_.lives[process].events.push_back(event);
  }
  void TellEnd(size_t process, size_t peer, int64_t call, int64_t returned,
               EndReason reason = EndReason::kKilled) {
    Event& event = Receive(process, Key(process), 0, call, returned);
    event.kind = EventKind::kEndTold;
    event.peer = Key(peer);
    event.reason = reason;
  }

  std::vector<Breach> Breaches() {
    std::vector<Breach> breaches;
    for (const Violation& violation : Check(history_).violations) {
      breaches.push_back(violation.breach);
      EXPECT_FALSE(violation.text.empty());
    }
    return breaches;
  }

  History history_;
};

TEST_F(CheckerTest, MessagesThatAllComeInOrderViolateNothing) {
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

TEST_F(CheckerTest, AMessageThatNeverComesIsLost) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  ReceiveNothing(r, kBox, 30, 40);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerTest, AMessageThatNeverComesToAnInboxIsLost) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerTest, AMessageOfASendThatDidNotReturnMayCome) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  CallSend(a, kBox, 1, 10);
  Killed(a, 20);
  CallSend(b, kBox, 2, 10);
  Killed(b, 20);
  Receive(r, kBox, 2, 30, 40);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, AKilledReceiverMayHaveTakenTheMessageOfItsLastReceive) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  CallReceive(r, kBox, 30);
  Killed(r, 40);
  EXPECT_THAT(Breaches(), IsEmpty());
  EXPECT_EQ(Check(history_).gone_taken, 1u);
}

TEST_F(CheckerTest, AKilledReceiverHasTakenOneMessageAtMost) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 21, 22);
  CallReceive(r, kBox, 30);
  Killed(r, 40);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerTest, AReceiverThatWasKilledOutsideOfReceivesHasTakenNothing) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  ReceiveNothing(r, kBox, 30, 40);
  Killed(r, 50);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerTest, AKilledReceiverHasNotTakenWhatWasSentAfterItsDeath) {
  const size_t a = Attach(), r = Attach();
  CallReceive(r, kBox, 10);
  Killed(r, 20);
  Send(a, kBox, 1, 30, 40);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerTest, AKilledReceiverHasNotTakenWhatWasOvertakenBeforeItsReceive) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  Receive(s, kBox, 2, 50, 60);
  CallReceive(r, kBox, 70);
  Killed(r, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerTest, AKilledReceiverHasNotTakenWhatStoodBehindOthersWhenItDied) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  CallReceive(r, kBox, 50);
  Killed(r, 60);
  Receive(s, kBox, 1, 70, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerTest, AMessageThatADeadReceiverHadClaimedMayBeTakenByALaterOne) {
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

TEST_F(CheckerTest, WhatStandsInAnInboxGoesWithItsKilledProcess) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Send(a, Key(r), 2, 30, 40);
  Send(a, Key(r), 3, 50, 60);
  Receive(r, Key(r), 1, 70, 80);
  Killed(r, 90);
  EXPECT_THAT(Breaches(), IsEmpty());
  EXPECT_EQ(Check(history_).gone_in_inboxes, 2u);
}

TEST_F(CheckerTest, AMessageThatIsMissingBeforeOthersInAnInboxIsLost) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Send(a, Key(r), 2, 30, 40);
  Receive(r, Key(r), 2, 70, 80);
  Killed(r, 90);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kLost));
}

TEST_F(CheckerTest, AMessageThatNobodyHasSentIsAPhantom) {
  const size_t r = Attach();
  Receive(r, kBox, 7, 10, 20);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPhantom));
}

TEST_F(CheckerTest, AMessageThatWasSentElsewhereIsAPhantom) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Receive(r, Key(r), 1, 30, 40);
  Receive(r, kBox, 1, 50, 60);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPhantom));
}

TEST_F(CheckerTest, AMessageThatComesBeforeItIsSentIsAPhantom) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 30, 40);
  Receive(r, kBox, 1, 10, 20);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPhantom));
}

TEST_F(CheckerTest, AMessageThatFoundNoRoomIsAPhantomWhenItComes) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20, 0, absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Breaches(), IsEmpty());
  Receive(r, kBox, 1, 30, 40);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPhantom));
}

TEST_F(CheckerTest, AMessageThatComesTwiceIsADuplicate) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40);
  Receive(s, kBox, 1, 50, 60);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

TEST_F(CheckerTest, AMessageThatWasTakenMayNotComeAgainOnItsNodeEvenMarked) {
  const size_t a = Attach(), r = Attach(), s = Attach(), t = Attach();
  Send(a, kBox, 1, 10, 20);
  CallReceive(t, kBox, 21);
  Killed(t, 22);
  Receive(r, kBox, 1, 30, 40);
  Receive(s, kBox, 1, 50, 60).redelivered = true;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

TEST_F(CheckerTest, AMessageForOtherNodesMayComeAgainMarked) {
  const size_t a = Attach(), r = Attach(1), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40);
  Event& again = Receive(s, kBox, 1, 50, 60);
  again.redelivered = true;
  EXPECT_THAT(Breaches(), IsEmpty());
  again.redelivered = false;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

TEST_F(CheckerTest, AMessageThatComesTwiceToAnInboxIsADuplicate) {
  const size_t a = Attach(1), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Receive(r, Key(r), 1, 30, 40);
  Receive(r, Key(r), 1, 50, 60);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kDuplicate));
}

TEST_F(CheckerTest, LaterBeforeEarlierOfOneSenderIsAgainstTheOrder) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Send(a, Key(r), 2, 30, 40);
  Receive(r, Key(r), 2, 50, 60);
  Receive(r, Key(r), 1, 70, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kOrder));
}

TEST_F(CheckerTest, AnInboxKeepsNoOrderBetweenSenders) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Send(b, Key(r), 2, 30, 40);
  Receive(r, Key(r), 2, 50, 60);
  Receive(r, Key(r), 1, 70, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, ReceiversWhoseCallsOverlapMayReturnInAnyOrder) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  Receive(r, kBox, 2, 50, 60);
  Receive(s, kBox, 1, 55, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, LaterBeforeEarlierOfTwoSendersIsAgainstTheQueueOrder) {
  const size_t a = Attach(), b = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(b, kBox, 2, 30, 40);
  Receive(r, kBox, 2, 50, 60);
  Receive(s, kBox, 1, 70, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kQueueOrder));
}

TEST_F(CheckerTest, SendsThatOverlapMayBeQueuedInAnyOrder) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 31);
  Send(b, kBox, 2, 30, 40);
  Receive(r, kBox, 2, 50, 60);
  Receive(r, kBox, 1, 70, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, SendersOfOtherNodesAreNotInTheQueueOrder) {
  const size_t a = Attach(1), b = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(b, kBox, 2, 30, 40);
  Receive(r, kBox, 2, 50, 60);
  Receive(r, kBox, 1, 70, 80);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, AMessageThatWasAwayMayComeLateWhenItIsMarked) {
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

TEST_F(CheckerTest, AWorseMessageBeforeABetterOneIsAgainstThePriority) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20, 5);
  Send(b, kBox, 2, 10, 20, 4);
  Receive(r, kBox, 2, 30, 40);
  Receive(r, kBox, 1, 50, 60);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kPriority));
}

TEST_F(CheckerTest, ABetterMessageThatIsSentDuringTheReceiveMayComeLater) {
  const size_t a = Attach(), b = Attach(), r = Attach();
  Send(b, Key(r), 2, 10, 20, 4);
  Send(a, Key(r), 1, 25, 31, 5);
  Receive(r, Key(r), 2, 30, 40);
  Receive(r, Key(r), 1, 50, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, ABetterMessageThatAnotherReceiverWasTakingIsNotLeftToBeTaken) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20, 5);
  Send(a, kBox, 2, 21, 22, 4);
  Receive(r, kBox, 2, 30, 40);
  Receive(s, kBox, 1, 35, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, ABetterMessageOfAnotherNodeMayStillBeOnItsWay) {
  const size_t a = Attach(1), b = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20, 5);
  Send(b, Key(r), 2, 10, 20, 4);
  Receive(r, Key(r), 2, 30, 40);
  Receive(r, Key(r), 1, 50, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, AReceiveThatReturnsNothingThoughThereWasAMessageHasHiddenIt) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40);
  Send(a, kBox, 2, 50, 60);
  ReceiveNothing(r, kBox, 70, 80);
  Receive(s, kBox, 2, 90, 100);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kHidden));
}

TEST_F(CheckerTest, AReceiveMayReturnNothingWhileTheAgentIsOut) {
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

TEST_F(CheckerTest, AReceiveMayReturnNothingWhileASenderIsNewToIt) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  ReceiveNothing(r, kBox, 30, 40);
  Receive(r, kBox, 1, 50, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, AReceiveMayReturnNothingWhileAnotherTakesTheMessage) {
  const size_t a = Attach(), r = Attach(), s = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40);
  Send(a, kBox, 2, 50, 60);
  ReceiveNothing(r, kBox, 70, 80);
  Receive(s, kBox, 2, 75, 100);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, WhatNobodyCanObserveIsNotHeldAgainstAnybody) {
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

TEST_F(CheckerTest, TheEndOfAProcessIsToldAfterItsMessages) {
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

TEST_F(CheckerTest, AnEndThatIsNeverToldIsFoundUnlessTheWatcherIsKilled) {
  const size_t a = Attach(), r = Attach();
  Watch(r, a);
  EXPECT_THAT(Breaches(), IsEmpty());
  Killed(a, 50);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
  Killed(r, 60);
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, TheEndOfAProcessThatLivesIsWrong) {
  const size_t a = Attach(), r = Attach();
  Watch(r, a);
  TellEnd(r, a, 60, 70);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
  Killed(a, 80);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
}

TEST_F(CheckerTest, AnEndThatIsToldTwiceIsWrong) {
  const size_t a = Attach(), r = Attach();
  Watch(r, a);
  Killed(a, 50);
  TellEnd(r, a, 60, 70);
  TellEnd(r, a, 80, 90);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
}

TEST_F(CheckerTest, AWrongReasonOfAnEndIsFound) {
  const size_t a = Attach(), r = Attach();
  Watch(r, a);
  Killed(a, 50);
  TellEnd(r, a, 60, 70, EndReason::kExited);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kEnd));
  history_.lives[a].killed = false;
  history_.lives[a].left = true;
  EXPECT_THAT(Breaches(), IsEmpty());
}

TEST_F(CheckerTest, AMarkWithoutADeathHasNoReason) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Receive(r, kBox, 1, 30, 40).redelivered = true;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kMark));
}

TEST_F(CheckerTest, AMarkInAnInboxHasNoReason) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20);
  Receive(r, Key(r), 1, 30, 40).redelivered = true;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kMark));
}

TEST_F(CheckerTest, WhatComesOtherwiseThanItWasSentIsAltered) {
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

TEST_F(CheckerTest, SequencesThatDoNotGrowWithTheSendsAreAltered) {
  const size_t a = Attach(), r = Attach();
  Send(a, kBox, 1, 10, 20);
  Send(a, kBox, 2, 30, 40);
  Receive(r, kBox, 1, 50, 60).sequence = 9;
  Receive(r, kBox, 2, 70, 80).sequence = 9;
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kAltered));
}

TEST_F(CheckerTest, ASendToAProcessThatWasKilledMayFail) {
  const size_t a = Attach(), r = Attach();
  Send(a, Key(r), 1, 10, 20, 0, absl::StatusCode::kUnavailable);
  Killed(r, 15);
  EXPECT_THAT(Breaches(), IsEmpty());
  Killed(r, 25);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kStatus));
}

TEST_F(CheckerTest, ASendToAMailboxThatLivesMayNotFail) {
  const size_t a = Attach();
  Send(a, kBox, 1, 10, 20, 0, absl::StatusCode::kUnavailable);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kStatus));
}

TEST_F(CheckerTest, AReceiveThatFailsWithoutReasonIsReported) {
  const size_t r = Attach();
  ReceiveNothing(r, kBox, 10, 20, absl::StatusCode::kAborted);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kStatus));
}

TEST_F(CheckerTest, ACallToTheAgentThatFailsWithoutReasonIsReported) {
  const size_t r = Attach();
  Event event;
  event.kind = EventKind::kCallFailed;
  event.status = absl::StatusCode::kInternal;
  history_.lives[r].events.push_back(event);
  EXPECT_THAT(Breaches(), ElementsAre(Breach::kStatus));
}

}  // namespace
}  // namespace mailrail::soak
