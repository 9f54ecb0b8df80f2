// Promise 1: messages from one process to one destination at one priority are delivered in the
// order of their sends; a mailbox is one queue for the senders of its home node. And promise 4:
// none twice.
#include <future>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using OrderTest = ChannelTest;
using QueueOrderTest = ConformanceTest;

MAILRAIL_OVER_CHANNELS(OrderTest);
MAILRAIL_OVER_TRANSPORTS(QueueOrderTest);

// Sizes around those that the library may treat apart, most of them small; now and then a large
// one.
size_t MixedSize(std::mt19937& random) {
  static constexpr size_t kSizes[] = {0,    1,    7,    8,    40,   47,    48,    49,   63,   64,
                                      65,   96,   97,   112,  128,  200,   500,   1000, 1024, 1500,
                                      2048, 4095, 4096, 4097, 8192, 16384, 30000, 65536};
  if (random() % 400 == 0) return (size_t{1} << 20) + random() % (size_t{3} << 20);
  return kSizes[random() % std::size(kSizes)];
}

TEST_P(OrderTest, MessagesArriveInTheOrderOfTheirSends) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  const std::vector<Outgoing> messages = Numbered(10000);
  auto received = std::async(std::launch::async,
                             [&] { return self().Receive(channel.receiver, messages.size()); });
  EXPECT_THAT(peer().Send(channel.sender, messages), IsOk());
  ExpectDelivered(received.get().messages, messages);
}

TEST_P(OrderTest, MessagesOfAllSizesAndPrioritiesKeepTheirOrder) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  std::vector<Outgoing> messages = Numbered(2000);
  for (Outgoing& message : messages) {
    message.bytes = MixedSize(generator());
    message.priority = static_cast<int>(Random(kPriorityCount));
  }
  auto received = std::async(std::launch::async,
                             [&] { return self().Receive(channel.receiver, messages.size()); });
  EXPECT_THAT(peer().Send(channel.sender, messages), IsOk());
  ExpectDelivered(received.get().messages, messages);
}

TEST_P(OrderTest, MessagesThatWaitKeepTheirOrder) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  std::vector<Outgoing> messages = Numbered(500);
  for (Outgoing& message : messages) message.bytes = Random(1000);
  ASSERT_THAT(peer().Send(channel.sender, messages), IsOk());
  ExpectDelivered(self().Receive(channel.receiver, messages.size()).messages, messages);
}

TEST_P(OrderTest, TheReceiverMayBeOnTheOtherSide) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  std::vector<Outgoing> messages = Numbered(2000);
  for (Outgoing& message : messages) message.bytes = MixedSize(generator());
  auto received = std::async(std::launch::async,
                             [&] { return peer().Receive(channel.receiver, messages.size()); });
  EXPECT_THAT(self().Send(channel.sender, messages), IsOk());
  ExpectDelivered(received.get().messages, messages);
}

TEST_P(OrderTest, AllWaysOfSendingAndReceivingKeepOneOrder) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  std::vector<Outgoing> sent;
  std::vector<Received> received;
  for (int round = 0; round < 40; ++round) {
    std::vector<Outgoing> messages = Numbered(25, {}, sent.size() + 1);
    for (Outgoing& message : messages) message.bytes = Random(5000);
    const auto way = static_cast<party::Way>(round % party::Way_ARRAYSIZE);
    ASSERT_THAT(peer().Send(channel.sender, messages, Patience(), {.way = way}), IsOk());
    sent.insert(sent.end(), messages.begin(), messages.end());

    const size_t batch = round % 3 == 0 ? 0 : Random(40) + 1;
    const ReceiveResult result =
        self().Receive(channel.receiver, messages.size(), Patience(), {.batch = batch});
    ASSERT_THAT(result, IsOk());
    received.insert(received.end(), result.messages.begin(), result.messages.end());
  }
  ExpectDelivered(received, sent);
}

TEST_P(OrderTest, TwoHandlesOfOneProcessShareOneOrder) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  ASSERT_OK_AND_ASSIGN(second, route() == Route::kInbox ? peer().Connect(self().id())
                                                        : peer().ConnectMailbox(channel.mailbox));
  const std::vector<Outgoing> messages = Numbered(400);
  for (const Outgoing& message : messages) {
    const Handle handle = Random(2) == 0 ? channel.sender : second;
    ASSERT_THAT(peer().Send(handle, {message}), IsOk());
  }
  ExpectDelivered(self().Receive(channel.receiver, messages.size()).messages, messages);
}

TEST_P(OrderTest, ThreadsWithHandlesOfTheirOwnKeepTheirOrders) {
  constexpr size_t kThreads = 4;
  constexpr size_t kEach = 2000;
  constexpr uint64_t kThreadUnit = 1000000;
  ASSERT_OK_AND_ASSIGN(channel, Open());
  std::vector<Handle> handles = {channel.sender};
  while (handles.size() < kThreads) {
    ASSERT_OK_AND_ASSIGN(handle, route() == Route::kInbox ? peer().Connect(self().id())
                                                          : peer().ConnectMailbox(channel.mailbox));
    handles.push_back(handle);
  }
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      EXPECT_THAT(peer().Send(handles[i], Numbered(kEach, {}, i * kThreadUnit)), IsOk());
    });
  }
  const ReceiveResult result = self().Receive(channel.receiver, kThreads * kEach);
  for (std::thread& thread : threads) thread.join();
  ASSERT_THAT(result, IsOk());
  std::vector<size_t> next(kThreads);
  uint64_t sequence = 0;
  for (const Received& message : result.messages) {
    const size_t thread = message.number / kThreadUnit;
    ASSERT_LT(thread, kThreads);
    ASSERT_EQ(message.number % kThreadUnit, next[thread]++);
    ASSERT_EQ(message.sequence, ++sequence);
  }
}

TEST_P(OrderTest, SeveralSendersEachKeepTheirOrder) {
  constexpr size_t kEach = 1500;
  ASSERT_OK_AND_ASSIGN(channel, Open());
  struct Side {
    std::unique_ptr<Party> party;
    Handle handle = 0;
    std::vector<Outgoing> messages = Numbered(kEach);
  };
  std::vector<Side> sides(4);
  for (size_t i = 0; i < sides.size(); ++i) {
    sides[i].party = i % 2 == 0 ? NewPeer() : NewSelf();
    Party& party = *sides[i].party;
    ASSERT_OK_AND_ASSIGN(handle, route() == Route::kInbox ? party.Connect(self().id())
                                                          : party.ConnectMailbox(channel.mailbox));
    sides[i].handle = handle;
    for (Outgoing& message : sides[i].messages) message.bytes = Random(2000);
  }
  std::vector<std::thread> threads;
  for (const Side& side : sides) {
    threads.emplace_back(
        [&] { EXPECT_THAT(side.party->Send(side.handle, side.messages), IsOk()); });
  }
  const ReceiveResult result = self().Receive(channel.receiver, sides.size() * kEach);
  for (std::thread& thread : threads) thread.join();
  ASSERT_THAT(result, IsOk());
  for (const Side& side : sides) {
    ExpectDelivered(Of(side.party->id(), result.messages), side.messages);
  }
}

// The senders are on the mailbox's home node, the receiver may be elsewhere. Each send is called
// after the one before had returned, whoever made it.
TEST_P(QueueOrderTest, AMailboxIsOneQueueForTheSendersOfItsHomeNode) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  std::vector<std::unique_ptr<Party>> senders;
  std::vector<Handle> handles;
  for (int i = 0; i < 3; ++i) {
    senders.push_back(NewPeer());
    ASSERT_OK_AND_ASSIGN(handle, senders.back()->ConnectMailbox(name));
    handles.push_back(handle);
  }
  const std::vector<Outgoing> messages = Numbered(600);
  for (const Outgoing& message : messages) {
    const size_t i = Random(senders.size());
    ASSERT_THAT(senders[i]->Send(handles[i], {message}), IsOk());
  }
  const ReceiveResult result = self().Receive(receiver, messages.size());
  EXPECT_THAT(result, IsOk());
  EXPECT_EQ(NumbersOf(result.messages), NumbersOf(messages));
}

// The same while others send and the receiver is not behind.
TEST_P(QueueOrderTest, AMailboxIsOneQueueAmidOtherTraffic) {
  constexpr size_t kTurns = 1000;
  constexpr size_t kOthers = 5000;
  constexpr uint64_t kOther = 1000000;
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  const std::unique_ptr<Party> second = NewPeer();
  const std::unique_ptr<Party> third = NewPeer();
  ASSERT_OK_AND_ASSIGN(from_peer, peer().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(from_second, second->ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(from_third, third->ConnectMailbox(name));
  auto received = std::async(
      std::launch::async, [&, from = receiver] { return self().Receive(from, kTurns + kOthers); });
  std::thread other([&, to = from_third] {
    EXPECT_THAT(third->Send(to, Numbered(kOthers, {}, kOther)), IsOk());
  });
  for (size_t turn = 1; turn <= kTurns; ++turn) {
    EXPECT_THAT(turn % 2 == 0 ? peer().Send(from_peer, {{.number = turn}})
                              : second->Send(from_second, {{.number = turn}}),
                IsOk());
  }
  other.join();
  const ReceiveResult result = received.get();
  ASSERT_THAT(result, IsOk());
  uint64_t last = 0;
  for (const Received& message : result.messages) {
    if (message.number >= kOther) continue;
    ASSERT_EQ(message.number, last + 1);
    last = message.number;
  }
  EXPECT_EQ(last, kTurns);
}

}  // namespace
}  // namespace mailrail
