// Promise 7: who watches a process is told of its end, with the reason, in the inbox and after
// every message from it.
#include <memory>
#include <thread>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using DeathTest = ConformanceTest;

MAILRAIL_OVER_TRANSPORTS(DeathTest);

TEST_P(DeathTest, TheEndIsToldAfterTheLastMessage) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, other->Connect(self().id()));
  std::vector<Outgoing> messages = Numbered(500);
  for (Outgoing& message : messages) {
    message.bytes = Random(5000);
    message.priority = static_cast<int>(Random(kPriorityCount));
  }
  ASSERT_THAT(other->Send(sender, messages), IsOk());
  other->End();

  std::vector<Received> received = self().Receive(Party::kInbox, messages.size() + 1).messages;
  ASSERT_EQ(received.size(), messages.size() + 1);
  EXPECT_EQ(received.back().sender, other->id());
  EXPECT_EQ(received.back().bytes, 0u);
  EXPECT_EQ(received.back().end,
            peer_has_own_process() ? EndReason::kKilled : EndReason::kDetached);
  received.pop_back();
  for (const Received& message : received) ASSERT_EQ(message.end, EndReason::kNone);
  ExpectDelivered(received, messages);
}

TEST_P(DeathTest, AnExitIsToldApartFromAKill) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  other->Exit();
  const ReceiveResult told = self().Receive(Party::kInbox, 1);
  ASSERT_THAT(told, IsOk());
  EXPECT_EQ(told.messages[0].end,
            peer_has_own_process() ? EndReason::kExited : EndReason::kDetached);
}

TEST_P(DeathTest, AReceiverThatSleepsIsWokenByTheEnd) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  ReceiveResult told;
  std::thread receiving([&] { told = self().Receive(Party::kInbox, 1); });
  EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
  other->End();
  receiving.join();
  ASSERT_THAT(told, IsOk());
  EXPECT_NE(told.messages[0].end, EndReason::kNone);
}

TEST_P(DeathTest, TheEndIsToldOnceThoughItIsWatchedTwice) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  other->End();
  EXPECT_THAT(self().Receive(Party::kInbox, 1), IsOk());
  EXPECT_THAT(self().Receive(Party::kInbox, 1, absl::Now() + absl::Milliseconds(100)),
              HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST_P(DeathTest, AFailedWatchLeavesAnEarlierOne) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  other->End();
  EXPECT_TRUE(
      Eventually([&] { return self().Watch(other->id()).code() == absl::StatusCode::kNotFound; }));
  const ReceiveResult told = self().Receive(Party::kInbox, 1);
  ASSERT_THAT(told, IsOk());
  EXPECT_EQ(told.messages[0].sender, other->id());
}

TEST_P(DeathTest, WhoDoesNotWatchIsNotTold) {
  const std::unique_ptr<Party> watched = NewPeer();
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(self().Watch(watched->id()), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, other->Connect(self().id()));
  ASSERT_THAT(other->Send(sender, Numbered(1)), IsOk());
  other->End();
  watched->End();
  const ReceiveResult received = self().Receive(Party::kInbox, 2);
  ASSERT_THAT(received, IsOk());
  EXPECT_THAT(self().Receive(Party::kInbox, 1, absl::Now() + absl::Milliseconds(100)),
              HasCode(absl::StatusCode::kDeadlineExceeded));
  for (const Received& message : received.messages) {
    EXPECT_EQ(message.end == EndReason::kNone, message.sender == other->id());
  }
}

TEST_P(DeathTest, EachWatcherIsTold) {
  const std::unique_ptr<Party> other = NewPeer();
  const std::unique_ptr<LocalParty> second = NewSelf();
  const std::unique_ptr<Party> neighbour = NewPeer();
  for (Party* watcher : std::vector<Party*>{&self(), second.get(), neighbour.get()}) {
    ASSERT_THAT(watcher->Watch(other->id()), IsOk());
  }
  other->End();
  for (Party* watcher : std::vector<Party*>{&self(), second.get(), neighbour.get()}) {
    const ReceiveResult told = watcher->Receive(Party::kInbox, 1);
    ASSERT_THAT(told, IsOk());
    EXPECT_EQ(told.messages[0].sender, other->id());
    EXPECT_NE(told.messages[0].end, EndReason::kNone);
  }
}

TEST_P(DeathTest, ReceiveFromReturnsTheEndLast) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, other->Connect(self().id()));
  ASSERT_THAT(other->Send(sender, Numbered(3)), IsOk());
  other->End();
  const ReceiveResult received =
      self().Receive(Party::kInbox, 5, Patience(), {.from = other->id()});
  EXPECT_THAT(received, HasCode(absl::StatusCode::kUnavailable));
  ASSERT_EQ(received.messages.size(), 4u);
  EXPECT_NE(received.messages[3].end, EndReason::kNone);
}

TEST_P(DeathTest, AProcessThatDoesNotLiveCannotBeWatched) {
  const std::unique_ptr<Party> other = NewPeer();
  other->End();
  EXPECT_TRUE(
      Eventually([&] { return self().Watch(other->id()).code() == absl::StatusCode::kNotFound; }));
}

}  // namespace
}  // namespace mailrail
