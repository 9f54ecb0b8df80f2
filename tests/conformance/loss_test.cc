// Promise 3: a Send that returned OK put the message where neither the sender's death nor the
// agent's can take it. And promise 4: what comes, comes once.
#include <future>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

using LossTest = ChannelTest;
using MailboxLossTest = ConformanceTest;

MAILRAIL_OVER_CHANNELS(LossTest);
MAILRAIL_OVER_TRANSPORTS(MailboxLossTest);

TEST_P(LossTest, WhatASenderWasToldOkForArrivesAfterItsDeath) {
  for (int round = 0; round < 5; ++round) {
    const std::unique_ptr<Party> sender = NewPeer();
    ASSERT_OK_AND_ASSIGN(channel, Open(*sender, self()));
    std::vector<Outgoing> messages = Numbered(200);
    for (Outgoing& message : messages) {
      message.bytes = Random(1000);
      message.priority = static_cast<int>(Random(kPriorityCount));
    }
    messages.push_back({.number = 201, .bytes = 300000});
    ASSERT_THAT(sender->Send(channel.sender, messages), IsOk());
    sender->End();
    ExpectDelivered(self().Receive(channel.receiver, messages.size()).messages, messages);
    if (route() != Route::kInbox) continue;
    EXPECT_THAT(self().Receive(channel.receiver, 1, Patience(), {.from = sender->id()}),
                HasCode(absl::StatusCode::kUnavailable));
  }
}

TEST_P(LossTest, ASenderThatIsKilledInAFloodLosesNothingItWasToldOkFor) {
  constexpr uint32_t kPage = 1;
  constexpr size_t kBeforeDeath = 500;
  const std::unique_ptr<Party> sender = NewPeer();
  ASSERT_OK_AND_ASSIGN(channel, Open(*sender, self()));
  // Who dies in this process can only do so between two calls.
  const size_t count = peer_has_own_process() ? 200000 : kBeforeDeath;
  std::thread flood([&] {
    sender->Send(channel.sender, Numbered(count, {.bytes = 100}), Patience(), {.ledger = kPage});
  });
  std::vector<Received> received;
  const auto receive = [&](size_t how_many) {
    const ReceiveResult result = self().Receive(channel.receiver, how_many);
    EXPECT_THAT(result, IsOk());
    received.insert(received.end(), result.messages.begin(), result.messages.end());
  };
  receive(kBeforeDeath);
  if (!peer_has_own_process()) flood.join();
  sender->End();
  if (peer_has_own_process()) flood.join();

  const size_t told = ledger().Count(kPage);
  ASSERT_GE(told + 1, received.size());
  receive(told - std::min(told, received.size()));
  // The last Send may have returned, and its sender have died before it noted that.
  const ReceiveResult last =
      self().Receive(channel.receiver, 1, absl::Now() + absl::Milliseconds(200));
  received.insert(received.end(), last.messages.begin(), last.messages.end());
  EXPECT_LE(received.size(), told + 1);
  ExpectDelivered(received, Numbered(received.size(), {.bytes = 100}));
}

TEST_P(LossTest, ALateReceiverGetsEverything) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  const std::vector<Outgoing> messages = Numbered(100);
  ASSERT_THAT(peer().Send(channel.sender, messages), IsOk());
  // The sender has let go of the channel before anything is received.
  peer().Close(channel.sender);
  ExpectDelivered(self().Receive(channel.receiver, messages.size()).messages, messages);
}

TEST_P(LossTest, AHeldMessageOutlivesItsSenderItsReceiverAndItsProcess) {
  const std::unique_ptr<Party> sender = NewPeer();
  std::unique_ptr<LocalParty> receiver = NewSelf();
  ASSERT_OK_AND_ASSIGN(channel, Open(*sender, *receiver));
  constexpr size_t kBytes = 3000000;
  ASSERT_THAT(sender->Send(channel.sender, {{.number = 1, .bytes = kBytes}, {.number = 2}}),
              IsOk());
  absl::StatusOr<Message> large = receiver->receiver(channel.receiver).Receive(Patience());
  absl::StatusOr<Message> small = receiver->receiver(channel.receiver).Receive(Patience());
  ASSERT_THAT(large, IsOk());
  ASSERT_THAT(small, IsOk());
  sender->End();
  receiver->End();
  const Message moved = *std::move(large);
  EXPECT_EQ(moved.body().size(), kBytes);
  EXPECT_EQ(moved.body(), MakeBody(1, kBytes));
  EXPECT_EQ(small->body(), MakeBody(2, 8));
}

TEST_P(MailboxLossTest, AMailboxOutlivesItsCreatorAndItsSenders) {
  const std::string name = NewName();
  const std::unique_ptr<Party> creator = NewPeer();
  ASSERT_THAT(creator->CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(handle, creator->ConnectMailbox(name));
  const std::vector<Outgoing> messages = Numbered(300);
  ASSERT_THAT(creator->Send(handle, messages), IsOk());
  creator->End();
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ExpectDelivered(self().Receive(receiver, messages.size()).messages, messages);
}

TEST_P(MailboxLossTest, AReceiverThatLeavesLeavesTheRestToTheNext) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(handle, self().ConnectMailbox(name));
  const std::vector<Outgoing> messages = Numbered(300);
  ASSERT_THAT(self().Send(handle, messages), IsOk());
  std::vector<Received> received;
  for (int turn = 0; turn < 3; ++turn) {
    const std::unique_ptr<Party> reader = NewPeer();
    ASSERT_OK_AND_ASSIGN(receiver, reader->OpenMailbox(name));
    const ReceiveResult result = reader->Receive(receiver, 100);
    ASSERT_THAT(result, IsOk());
    received.insert(received.end(), result.messages.begin(), result.messages.end());
    // Half of the time it does not die but goes.
    if (turn % 2 == 0) reader->Close(receiver);
    reader->End();
  }
  ExpectDelivered(received, messages);
}

// Each of a stream of short-lived senders: what each was told OK for is in the mailbox.
TEST_P(MailboxLossTest, ManyShortLivedSendersLoseNothing) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  const size_t senders = peer_has_own_process() ? 30 : 100;
  for (size_t i = 1; i <= senders; ++i) {
    const std::unique_ptr<Party> sender = NewPeer();
    ASSERT_OK_AND_ASSIGN(handle, sender->ConnectMailbox(name));
    ASSERT_THAT(sender->Send(handle, {{.number = i}}), IsOk());
    sender->End();
  }
  const ReceiveResult result = self().Receive(receiver, senders);
  ASSERT_THAT(result, IsOk());
  std::vector<uint64_t> expected(senders);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_THAT(NumbersOf(result.messages), testing::UnorderedElementsAreArray(expected));
}

}  // namespace
}  // namespace mailrail
