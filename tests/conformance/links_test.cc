// Direct communication: one link per pair of processes, made on first use, for both directions.
#include <future>
#include <memory>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using LinksTest = ConformanceTest;

MAILRAIL_OVER_TRANSPORTS(LinksTest);

TEST_P(LinksTest, TheReceiverMayAnswer) {
  ASSERT_OK_AND_ASSIGN(there, self().Connect(peer().id()));
  ASSERT_THAT(self().Send(there, {{.number = 1}}), IsOk());
  const ReceiveResult question = peer().Receive(Party::kInbox, 1);
  ASSERT_THAT(question, IsOk());
  EXPECT_EQ(question.messages[0].sender, self().id());
  ASSERT_OK_AND_ASSIGN(back, peer().Connect(question.messages[0].sender));
  ASSERT_THAT(peer().Send(back, {{.number = 2}}), IsOk());
  const ReceiveResult answer = self().Receive(Party::kInbox, 1);
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer.messages[0].sender, peer().id());
  EXPECT_EQ(answer.messages[0].number, 2u);
}

TEST_P(LinksTest, MessagesGoToAndFro) {
  ASSERT_OK_AND_ASSIGN(there, self().Connect(peer().id()));
  ASSERT_OK_AND_ASSIGN(back, peer().Connect(self().id()));
  constexpr uint64_t kTurns = 500;
  auto echoed = std::async(std::launch::async,
                           [&, to = back] { return peer().Echo(Party::kInbox, to, kTurns); });
  for (uint64_t turn = 1; turn <= kTurns; ++turn) {
    ASSERT_THAT(self().Send(there, {{.number = turn, .bytes = 8 + Random(100)}}), IsOk());
    const ReceiveResult result = self().Receive(Party::kInbox, 1);
    ASSERT_THAT(result, IsOk());
    ASSERT_EQ(result.messages[0].number, turn);
    ASSERT_TRUE(result.messages[0].intact);
  }
  EXPECT_THAT(echoed.get(), IsOk());
}

// New processes each time, so that both make the link at the same moment.
TEST_P(LinksTest, BothMayConnectAtOnce) {
  for (int round = 0; round < 15; ++round) {
    const std::unique_ptr<LocalParty> one = NewSelf();
    const std::unique_ptr<Party> other = NewPeer();
    auto connecting = std::async(std::launch::async, [&] { return other->Connect(one->id()); });
    const absl::StatusOr<Handle> there = one->Connect(other->id());
    const absl::StatusOr<Handle> back = connecting.get();
    ASSERT_THAT(there, IsOk());
    ASSERT_THAT(back, IsOk());
    const std::vector<Outgoing> messages = Numbered(50);
    auto sending = std::async(std::launch::async, [&] { return other->Send(*back, messages); });
    ASSERT_THAT(one->Send(*there, messages), IsOk());
    ASSERT_THAT(sending.get(), IsOk());
    ExpectDelivered(one->Receive(Party::kInbox, 50).messages, messages);
    ExpectDelivered(other->Receive(Party::kInbox, 50).messages, messages);
  }
}

TEST_P(LinksTest, BothDirectionsFlowAtOnce) {
  ASSERT_OK_AND_ASSIGN(there, self().Connect(peer().id()));
  ASSERT_OK_AND_ASSIGN(back, peer().Connect(self().id()));
  std::vector<Outgoing> messages = Numbered(5000);
  for (Outgoing& message : messages) message.bytes = Random(3000);
  const auto send = [&](Party& party, Handle to) {
    return std::async(std::launch::async, [&, to] { return party.Send(to, messages); });
  };
  auto self_sent = send(self(), there);
  auto peer_sent = send(peer(), back);
  auto peer_received = std::async(std::launch::async,
                                  [&] { return peer().Receive(Party::kInbox, messages.size()); });
  ExpectDelivered(self().Receive(Party::kInbox, messages.size()).messages, messages);
  ExpectDelivered(peer_received.get().messages, messages);
  EXPECT_THAT(self_sent.get(), IsOk());
  EXPECT_THAT(peer_sent.get(), IsOk());
}

TEST_P(LinksTest, AProcessMaySendToItself) {
  ASSERT_OK_AND_ASSIGN(handle, peer().Connect(peer().id()));
  std::vector<Outgoing> messages = Numbered(100);
  for (Outgoing& message : messages) message.bytes = Random(3000);
  ASSERT_THAT(peer().Send(handle, messages), IsOk());
  ExpectDelivered(peer().Receive(Party::kInbox, messages.size()).messages, messages);
}

TEST_P(LinksTest, ReceiveFromLeavesTheOthersMessages) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(from_peer, peer().Connect(self().id()));
  ASSERT_OK_AND_ASSIGN(from_other, other->Connect(self().id()));
  const std::vector<Outgoing> ten = Numbered(10);
  ASSERT_THAT(other->Send(from_other, Numbered(10, {.priority = kMaxPriority})), IsOk());
  ASSERT_THAT(peer().Send(from_peer, ten), IsOk());
  ExpectDelivered(self().Receive(Party::kInbox, 10, Patience(), {.from = peer().id()}).messages,
                  ten);
  EXPECT_THAT(self().Receive(Party::kInbox, 1, absl::Now(), {.from = peer().id()}),
              HasCode(absl::StatusCode::kDeadlineExceeded));
  ExpectDelivered(self().Receive(Party::kInbox, 10).messages,
                  Numbered(10, {.priority = kMaxPriority}));
}

TEST_P(LinksTest, ReceiveFromGivesTheBestOfOneSenderFirst) {
  ASSERT_OK_AND_ASSIGN(handle, peer().Connect(self().id()));
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    EXPECT_THAT(peer().Send(handle, {{.priority = 1}, {.priority = 30}, {.priority = 9}}), IsOk());
    absl::SleepFor(travel);
    const ReceiveResult result =
        self().Receive(Party::kInbox, 3, Patience(), {.from = peer().id()});
    EXPECT_THAT(result, IsOk());
    return result.messages.size() == 3 && result.messages[0].priority == 30 &&
           result.messages[1].priority == 9;
  }));
}

TEST_P(LinksTest, ReceiveFromWaitsForItsSenderWhileOthersSend) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(from_peer, peer().Connect(self().id()));
  ASSERT_OK_AND_ASSIGN(from_other, other->Connect(self().id()));
  auto waiting = std::async(std::launch::async, [&] {
    return self().Receive(Party::kInbox, 1, Patience(), {.from = peer().id()});
  });
  ASSERT_THAT(other->Send(from_other, Numbered(100)), IsOk());
  ASSERT_THAT(peer().Send(from_peer, {{.number = 5}}), IsOk());
  const ReceiveResult result = waiting.get();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result.messages[0].sender, peer().id());
  EXPECT_THAT(self().Receive(Party::kInbox, 100), IsOk());
}

TEST_P(LinksTest, AProcessMayHaveManyLinks) {
  constexpr uint64_t kParties = 12;
  std::vector<std::unique_ptr<Party>> parties;
  for (uint64_t i = 0; i < kParties; ++i) {
    parties.push_back(NewPeer());
    ASSERT_OK_AND_ASSIGN(to_self, parties[i]->Connect(self().id()));
    ASSERT_OK_AND_ASSIGN(to_party, self().Connect(parties[i]->id()));
    ASSERT_THAT(parties[i]->Send(to_self, {{.number = i}}), IsOk());
    ASSERT_THAT(self().Send(to_party, {{.number = i}}), IsOk());
  }
  for (uint64_t i = 0; i < kParties; ++i) {
    const ReceiveResult here =
        self().Receive(Party::kInbox, 1, Patience(), {.from = parties[i]->id()});
    ASSERT_THAT(here, IsOk());
    EXPECT_EQ(here.messages[0].number, i);
    const ReceiveResult there = parties[i]->Receive(Party::kInbox, 1);
    ASSERT_THAT(there, IsOk());
    EXPECT_EQ(there.messages[0].number, i);
  }
}

TEST_P(LinksTest, ALinkSurvivesItsHandles) {
  std::vector<Outgoing> messages;
  for (uint64_t round = 1; round <= 20; ++round) {
    ASSERT_OK_AND_ASSIGN(handle, peer().Connect(self().id()));
    messages.push_back({.number = round});
    ASSERT_THAT(peer().Send(handle, {messages.back()}), IsOk());
    peer().Close(handle);
  }
  ExpectDelivered(self().Receive(Party::kInbox, messages.size()).messages, messages);
}

}  // namespace
}  // namespace mailrail
