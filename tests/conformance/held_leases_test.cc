// Receivers that acknowledge by hand and hold several messages at a time: what becomes of each is
// its own affair.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/lease_fixture.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using testing::ElementsAre;

class HeldLeasesTest : public LeaseTest {
 protected:
  // So many, which are held from now on.
  static std::vector<uint64_t> Hold(Party& party, Handle receiver, size_t count) {
    const ReceiveResult result = party.Receive(receiver, count);
    EXPECT_THAT(result, IsOk());
    for (const Received& message : result.messages) {
      EXPECT_TRUE(message.intact);
      EXPECT_EQ(message.attempts, 0);
    }
    return NumbersOf(result.messages);
  }
  // Waits until the mailbox has so many leased, and nothing else.
  void AwaitLeasedAlone(uint64_t leased) {
    EXPECT_TRUE(Eventually([&] {
      const absl::StatusOr<MailboxState> state = self().process().StatMailbox(name_);
      return state.ok() && state->leased == leased && state->waiting == 0 && state->delayed == 0;
    }));
  }
  // Of four messages 1 to 3 were held, 1 was acknowledged since, and 2 given back.
  void ExpectTheRest(Party& party, Handle receiver) {
    EXPECT_TRUE(Eventually([&] {
      const absl::StatusOr<MailboxState> state = self().process().StatMailbox(name_);
      return state.ok() && state->leased == 1 && state->waiting == 2;
    }));
    ExpectIs(Next(party, receiver), 2, 1);
    ExpectIs(Next(party, receiver), 4, 0);
    for (uint64_t number = 2; number <= 4; ++number) EXPECT_THAT(party.Acknowledge(number), IsOk());
    AwaitLeasedAlone(0);
  }
};

MAILRAIL_OVER_TRANSPORTS(HeldLeasesTest);

TEST_P(HeldLeasesTest, SeveralMessagesAreHeldAndSettledInAnyOrder) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(4));
  EXPECT_THAT(Hold(peer(), receiver, 4), ElementsAre(1, 2, 3, 4));
  AwaitLeasedAlone(4);
  EXPECT_THAT(peer().Acknowledge(3), IsOk());
  EXPECT_THAT(peer().Acknowledge(1), IsOk());
  AwaitLeasedAlone(2);
  EXPECT_THAT(peer().GiveBack(2), IsOk());
  ExpectIs(Next(peer(), receiver), 2, 1);
  EXPECT_THAT(peer().Acknowledge(4), IsOk());
  EXPECT_THAT(peer().Acknowledge(2), IsOk());
  AwaitLeasedAlone(0);
  ExpectNothing(peer(), receiver);
}

TEST_P(HeldLeasesTest, ABatchIsHeldAtATime) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(5));
  const ReceiveResult result = peer().Receive(receiver, 5, Patience(), {.batch = 5});
  EXPECT_THAT(NumbersOf(result.messages), ElementsAre(1, 2, 3, 4, 5));
  AwaitLeasedAlone(5);
}

TEST_P(HeldLeasesTest, LargeBodiesAreHeldTogether) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(6, {.bytes = 1000000}));
  EXPECT_THAT(Hold(peer(), receiver, 6), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(peer().Acknowledge(6), IsOk());
  EXPECT_THAT(peer().GiveBack(4), IsOk());
  ExpectIs(Next(peer(), receiver), 4, 1);
  AwaitLeasedAlone(5);
}

TEST_P(HeldLeasesTest, OneThatIsGivenBackForLaterComesWhenItIsDueThoughOthersAreHeld) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(4));
  EXPECT_THAT(Hold(peer(), receiver, 3), ElementsAre(1, 2, 3));
  const absl::Time before = absl::Now();
  EXPECT_THAT(peer().GiveBack(2, absl::Milliseconds(400)), IsOk());
  ExpectIs(Next(peer(), receiver), 4, 0);
  ExpectIs(Next(peer(), receiver), 2, 1);
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(399));
  AwaitLeasedAlone(4);
}

TEST_P(HeldLeasesTest, OneLeaseEndsWhileAnotherIsExtended) {
  Create({.lease_time = absl::Milliseconds(600)});
  const Handle receiver = Open(peer());
  const std::unique_ptr<Party> other = NewSelf();
  const Handle of_other = Open(*other);
  Send(Numbered(2));
  EXPECT_THAT(Hold(peer(), receiver, 2), ElementsAre(1, 2));
  EXPECT_THAT(peer().Extend(2, absl::Hours(1)), IsOk());
  ExpectIs(Next(*other, of_other), 1, 1);
  EXPECT_THAT(other->Acknowledge(1), IsOk());
  EXPECT_THAT(other->Receive(of_other, 1, absl::Now() + absl::Milliseconds(1200)),
              HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(peer().Acknowledge(2), IsOk());
  AwaitLeasedAlone(0);
}

TEST_P(HeldLeasesTest, WhatIsUrgentGoesNextThoughOthersAreHeld) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(3));
  EXPECT_THAT(Hold(peer(), receiver, 2), ElementsAre(1, 2));
  Send({{.number = 9, .priority = 31}});
  ExpectIs(Next(peer(), receiver), 9, 0);
  ExpectIs(Next(peer(), receiver), 3, 0);
}

TEST_P(HeldLeasesTest, WhatIsNotReceivedIsThereForOthers) {
  Create();
  const Handle receiver = Open(peer());
  const std::unique_ptr<Party> other = NewSelf();
  const Handle of_other = Open(*other);
  for (uint64_t round = 0; round < 20; ++round) {
    Send(Numbered(2, {}, 2 * round + 1));
    EXPECT_THAT(Hold(peer(), receiver, 1), ElementsAre(2 * round + 1));
    EXPECT_THAT(Hold(*other, of_other, 1), ElementsAre(2 * round + 2));
  }
  AwaitLeasedAlone(40);
}

TEST_P(HeldLeasesTest, WhatADeadReceiverHeldComesAgainMarkedInItsPlaces) {
  Create();
  const std::unique_ptr<Party> dying = NewPeer();
  const Handle receiver = Open(*dying);
  Send(Numbered(4));
  EXPECT_THAT(Hold(*dying, receiver, 3), ElementsAre(1, 2, 3));
  EXPECT_THAT(dying->Acknowledge(2), IsOk());
  dying->End();
  EXPECT_TRUE(Eventually([&] { return self().process().StatMailbox(name_)->waiting == 3; }));
  const Handle next = Open(peer());
  ExpectIs(Next(peer(), next), 1, 1);
  ExpectIs(Next(peer(), next), 3, 1);
  ExpectIs(Next(peer(), next), 4, 0);
  AwaitLeasedAlone(3);
}

TEST_P(HeldLeasesTest, WhatWasHandedOutOftenEnoughIsADeadLetterThoughOthersAreHeld) {
  const std::string dead = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  Create({.max_attempts = 2, .dead_letter = dead});
  const Handle receiver = Open(peer());
  Send(Numbered(3));
  EXPECT_THAT(Hold(peer(), receiver, 3), ElementsAre(1, 2, 3));
  EXPECT_THAT(peer().GiveBack(2), IsOk());
  ExpectIs(Next(peer(), receiver), 2, 1);
  EXPECT_THAT(peer().GiveBack(2), IsOk());
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  ExpectIs(Next(self(), letters), 2, 0);
  AwaitLeasedAlone(2);
}

TEST_P(HeldLeasesTest, WhoHoldsSeveralIsToldThatTheMailboxIsDestroyed) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(2));
  EXPECT_THAT(Hold(peer(), receiver, 2), ElementsAre(1, 2));
  std::thread waiting(
      [&] { EXPECT_THAT(peer().Receive(receiver, 1), HasCode(StatusCode::kUnavailable)); });
  EXPECT_TRUE(Eventually([&] { return peer().Asleep() == 1; }));
  EXPECT_THAT(self().DestroyMailbox(name_), IsOk());
  waiting.join();
}

TEST_P(HeldLeasesTest, OfAMailboxOfAnotherNodeThereIsAMostAndThenAReceiveWaits) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(kMostFarLeases + 1));
  EXPECT_EQ(Hold(peer(), receiver, kMostFarLeases).size(), kMostFarLeases);
  if (across_nodes()) {
    ExpectNothing(peer(), receiver);
    ReceiveResult result;
    std::thread waiting([&] { result = peer().Receive(receiver, 1); });
    EXPECT_TRUE(Eventually([&] { return peer().Asleep() == 1; }));
    EXPECT_THAT(peer().Acknowledge(17), IsOk());
    waiting.join();
    EXPECT_THAT(NumbersOf(result.messages), ElementsAre(kMostFarLeases + 1));
  } else {
    EXPECT_THAT(Hold(peer(), receiver, 1), ElementsAre(kMostFarLeases + 1));
  }
}

TEST_P(HeldLeasesTest, TwoThatHoldSeveralDoEachMessageOnce) {
  constexpr size_t kMessages = 120;
  Create();
  Send(Numbered(kMessages));
  const std::unique_ptr<Party> other = NewSelf();
  std::vector<uint64_t> done[2];
  const auto work = [&](Party& party, Handle receiver, std::vector<uint64_t>* done_here) {
    std::vector<uint64_t> held;
    std::set<uint64_t> given_back;
    while (true) {
      const ReceiveResult result =
          party.Receive(receiver, 1, absl::Now() + absl::Milliseconds(500));
      if (!result.status.ok() && held.empty()) return;
      for (const Received& message : result.messages) held.push_back(message.number);
      if (result.status.ok() && held.size() < 6) continue;
      const auto middle = held.begin() + static_cast<std::ptrdiff_t>(held.size() / 2);
      // Each gives every tenth one back when it has it first.
      if (*middle % 10 == 0 && given_back.insert(*middle).second) {
        EXPECT_THAT(party.GiveBack(*middle), IsOk());
      } else {
        EXPECT_THAT(party.Acknowledge(*middle), IsOk());
        done_here->push_back(*middle);
      }
      held.erase(middle);
    }
  };
  const Handle of_peer = Open(peer()), of_other = Open(*other);
  std::thread there([&] { work(peer(), of_peer, &done[0]); });
  work(*other, of_other, &done[1]);
  there.join();
  std::vector<uint64_t> all;
  for (const std::vector<uint64_t>& each : done) all.insert(all.end(), each.begin(), each.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, NumbersOf(Numbered(kMessages)));
  AwaitLeasedAlone(0);
}

TEST_P(HeldLeasesTest, WhatIsHeldOutlivesTheAgentOfTheMailbox) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(4));
  EXPECT_THAT(Hold(peer(), receiver, 3), ElementsAre(1, 2, 3));
  KillAgent("alpha");
  EXPECT_THAT(peer().Acknowledge(1), IsOk());
  EXPECT_THAT(peer().GiveBack(2), IsOk());
  ExpectTheRest(peer(), receiver);
}

TEST_P(HeldLeasesTest, WhatIsHeldOutlivesTheAgentOfTheReceiver) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(4));
  EXPECT_THAT(Hold(peer(), receiver, 3), ElementsAre(1, 2, 3));
  KillAgent(peer_node());
  EXPECT_THAT(peer().Acknowledge(1), IsOk());
  EXPECT_THAT(peer().GiveBack(2), IsOk());
  ExpectTheRest(peer(), receiver);
}

}  // namespace
}  // namespace mailrail
