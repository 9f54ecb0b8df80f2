// Promise 6: every queue has a capacity, and a policy for when it is full; a slow receiver slows
// nobody else, and is never disconnected. And of promise 2: bulk does not take what urgent traffic
// needs.
#include <chrono>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using BoundedTest = ChannelTest;
using MailboxBoundsTest = ConformanceTest;

MAILRAIL_OVER_CHANNELS(BoundedTest);
MAILRAIL_OVER_TRANSPORTS(MailboxBoundsTest);

// More than any queue of these tests holds.
constexpr size_t kTooMany = 100000;

// How long a sender waits for room before it takes a queue for full. Between nodes room may come
// back in the meantime, so only so many can be told from what the queue holds.
absl::Time Soon() { return absl::Now() + absl::Milliseconds(200); }

TEST_P(BoundedTest, AFullQueueTakesNoMoreUntilThereIsRoom) {
  ASSERT_OK_AND_ASSIGN(channel, Open({.max_message_bytes = 1000, .capacity_messages = 64}));
  const std::vector<Outgoing> messages = Numbered(kTooMany);
  const SendResult full = peer().Send(channel.sender, messages, Soon());
  EXPECT_THAT(full, HasCode(absl::StatusCode::kDeadlineExceeded));
  EXPECT_GE(full.sent, 64u);
  EXPECT_LT(full.sent, kTooMany);

  // One that waits goes on as soon as there is room.
  auto waiting = std::async(std::launch::async,
                            [&] { return peer().Send(channel.sender, {messages[full.sent]}); });
  const ReceiveResult result = self().Receive(channel.receiver, full.sent + 1);
  EXPECT_THAT(waiting.get(), IsOk());
  ExpectDelivered(result.messages,
                  {messages.begin(), messages.begin() + static_cast<long>(full.sent) + 1});
  EXPECT_THAT(self().Receive(channel.receiver, 1, Soon()),
              HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST_P(BoundedTest, TheRoomForBodiesIsBounded) {
  constexpr size_t kBytes = 100000;
  ASSERT_OK_AND_ASSIGN(channel, Open({.max_message_bytes = kBytes}));
  const std::vector<Outgoing> messages = Numbered(20000, {.bytes = kBytes});
  const SendResult full = peer().Send(channel.sender, messages, Soon());
  EXPECT_THAT(full, HasCode(absl::StatusCode::kDeadlineExceeded));
  EXPECT_GE(full.sent, 2u);
  ExpectDelivered(self().Receive(channel.receiver, full.sent).messages,
                  {messages.begin(), messages.begin() + static_cast<long>(full.sent)});
}

TEST_P(BoundedTest, ASenderMayBeFarAheadOfASlowReceiverForEver) {
  ASSERT_OK_AND_ASSIGN(channel, Open({.max_message_bytes = 10000, .capacity_messages = 16}));
  constexpr size_t kMessages = 1000;
  std::vector<Outgoing> messages = Numbered(kMessages);
  for (Outgoing& message : messages) message.bytes = Random(10000);
  auto sent = std::async(std::launch::async, [&] { return peer().Send(channel.sender, messages); });
  std::vector<Received> received;
  while (received.size() < kMessages) {
    // Whenever the receiver comes back it takes one, and is nowhere near.
    const ReceiveResult result = self().Receive(channel.receiver, 1);
    ASSERT_THAT(result, IsOk());
    received.push_back(result.messages.front());
    if (received.size() % 50 == 0) absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_THAT(sent.get(), IsOk());
  ExpectDelivered(received, messages);
}

TEST_P(BoundedTest, AFullQueueHoldsUpNoOther) {
  const MailboxOptions options = {.max_message_bytes = 50000, .capacity_messages = 64};
  const std::unique_ptr<Party> slow = NewPeer();
  ASSERT_OK_AND_ASSIGN(full, Open(self(), *slow, options));
  ASSERT_OK_AND_ASSIGN(quick, Open(self(), peer(), options));
  const std::vector<Outgoing> messages = Numbered(20000, {.bytes = 50000});
  const SendResult stuck = self().Send(full.sender, messages, Soon());
  ASSERT_THAT(stuck, HasCode(absl::StatusCode::kDeadlineExceeded));

  // Several times what a queue holds goes by.
  std::vector<Outgoing> others = Numbered(1000);
  for (Outgoing& message : others) message.bytes = Random(50000);
  auto received =
      std::async(std::launch::async, [&] { return peer().Receive(quick.receiver, others.size()); });
  EXPECT_THAT(self().Send(quick.sender, others), IsOk());
  ExpectDelivered(received.get().messages, others);

  // And the slow one still gets all of its own.
  ExpectDelivered(slow->Receive(full.receiver, stuck.sent).messages,
                  {messages.begin(), messages.begin() + static_cast<long>(stuck.sent)});
}

TEST_P(BoundedTest, ASenderThatIsFullHoldsUpNoOtherSender) {
  ASSERT_OK_AND_ASSIGN(channel, Open({.max_message_bytes = 1000, .capacity_messages = 16}));
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(from_other, route() == Route::kInbox
                                       ? other->Connect(self().id())
                                       : other->ConnectMailbox(channel.mailbox));
  const std::vector<Outgoing> bulk = Numbered(kTooMany);
  const SendResult stuck = peer().Send(channel.sender, bulk, Soon());
  ASSERT_THAT(stuck, HasCode(absl::StatusCode::kDeadlineExceeded));
  const std::vector<Outgoing> messages = Numbered(16);
  ASSERT_THAT(other->Send(from_other, messages, absl::InfinitePast()), IsOk());
  const ReceiveResult result = self().Receive(channel.receiver, stuck.sent + messages.size());
  ExpectDelivered(Of(other->id(), result.messages), messages);
  ExpectDelivered(Of(peer().id(), result.messages),
                  {bulk.begin(), bulk.begin() + static_cast<long>(stuck.sent)});
}

// The number of messages at each priority is bounded by itself.
TEST_P(BoundedTest, ManyBulkMessagesLeaveRoomForUrgentOnes) {
  ASSERT_OK_AND_ASSIGN(channel, Open({.max_message_bytes = 1000, .capacity_messages = 16}));
  size_t sent = 0;
  for (int priority = 0; priority < kUrgentPriority; priority += 5) {
    const SendResult bulk =
        peer().Send(channel.sender, Numbered(kTooMany, {.priority = priority}), Soon());
    ASSERT_THAT(bulk, HasCode(absl::StatusCode::kDeadlineExceeded));
    sent += bulk.sent;
  }
  for (int priority = kUrgentPriority; priority <= kMaxPriority; ++priority) {
    const SendResult urgent =
        peer().Send(channel.sender, Numbered(16, {.priority = priority}), absl::InfinitePast());
    EXPECT_THAT(urgent, IsOk()) << "priority " << priority;
    sent += urgent.sent;
  }
  EXPECT_THAT(self().Receive(channel.receiver, sent), IsOk());
}

// Of the room for bodies a part is kept.
TEST_P(BoundedTest, LargeBulkMessagesLeaveRoomForUrgentOnes) {
  ASSERT_OK_AND_ASSIGN(channel, Open({.max_message_bytes = 100000}));
  const SendResult bulk = peer().Send(channel.sender, Numbered(20000, {.bytes = 100000}), Soon());
  ASSERT_THAT(bulk, HasCode(absl::StatusCode::kDeadlineExceeded));
  const SendResult urgent =
      peer().Send(channel.sender, Numbered(2, {.bytes = 100000, .priority = kUrgentPriority}),
                  absl::InfinitePast());
  EXPECT_THAT(urgent, IsOk());
  EXPECT_THAT(self().Receive(channel.receiver, bulk.sent + urgent.sent), IsOk());
}

TEST_P(BoundedTest, HeldMessagesTakeOnlyTheirSendersRoom) {
  constexpr size_t kBytes = 1 << 20;
  ASSERT_OK_AND_ASSIGN(channel, Open({.max_message_bytes = kBytes}));
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(from_other, route() == Route::kInbox
                                       ? other->Connect(self().id())
                                       : other->ConnectMailbox(channel.mailbox));
  Receiver& receiver = self().receiver(channel.receiver);
  std::vector<Message> held;
  ASSERT_THAT(peer().Send(channel.sender, Numbered(2, {.bytes = kBytes})), IsOk());
  for (int i = 0; i < 2; ++i) {
    absl::StatusOr<Message> message = receiver.Receive(Patience());
    ASSERT_THAT(message, IsOk());
    held.push_back(*std::move(message));
  }
  const std::vector<Outgoing> messages = Numbered(50, {.bytes = kBytes});
  auto sent =
      std::async(std::launch::async, [&, to = from_other] { return other->Send(to, messages); });
  ExpectDelivered(self().Receive(channel.receiver, messages.size()).messages, messages);
  EXPECT_THAT(sent.get(), IsOk());
  // And their room comes back.
  held.clear();
  auto again = std::async(std::launch::async, [&] {
    return peer().Send(channel.sender, Numbered(50, {.bytes = kBytes}));
  });
  EXPECT_THAT(self().Receive(channel.receiver, 50), IsOk());
  EXPECT_THAT(again.get(), IsOk());
}

TEST_P(MailboxBoundsTest, AMailboxHoldsItsCapacityOfEachSenderAtEachPriority) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name, {.max_message_bytes = 100, .capacity_messages = 20}),
              IsOk());
  // Both senders are on its home node, so that none waits elsewhere.
  const std::unique_ptr<Party> second = NewPeer();
  for (Party* sender : {&peer(), second.get()}) {
    ASSERT_OK_AND_ASSIGN(handle, sender->ConnectMailbox(name));
    for (const int priority : {0, 9, kMaxPriority}) {
      const SendResult full =
          sender->Send(handle, Numbered(100, {.priority = priority}), absl::InfinitePast());
      EXPECT_THAT(full, HasCode(absl::StatusCode::kDeadlineExceeded));
      EXPECT_EQ(full.sent, 20u) << "priority " << priority;
    }
  }
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  EXPECT_THAT(self().Receive(receiver, 2 * 3 * 20), IsOk());
  EXPECT_THAT(self().Receive(receiver, 1, Soon()), HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST_P(MailboxBoundsTest, AMailboxMayRejectWhenItIsFull) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, {.max_message_bytes = 100,
                                          .capacity_messages = 20,
                                          .when_full = FullPolicy::kReject}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(handle, peer().ConnectMailbox(name));
  const std::vector<Outgoing> messages = Numbered(kTooMany);
  const SendResult full = peer().Send(handle, messages, absl::InfiniteFuture());
  EXPECT_THAT(full, HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_GE(full.sent, 20u);
  if (!across_nodes()) {
    EXPECT_EQ(full.sent, 20u);
  }
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ExpectDelivered(self().Receive(receiver, full.sent).messages,
                  {messages.begin(), messages.begin() + static_cast<long>(full.sent)});
  // It takes more when there is room again.
  EXPECT_TRUE(Eventually([&] { return peer().Send(handle, {{.number = 1}}).status.ok(); }));
  EXPECT_THAT(self().Receive(receiver, 1), IsOk());
}

// Small bodies, bodies in the slab, and bodies written in place.
TEST_P(BoundedTest, AReceiveMakesRoomForASenderThatWaitsWhateverItSends) {
  for (const size_t bytes : {size_t{20}, size_t{3000}, size_t{100000}}) {
    for (const bool claims : {false, true}) {
      const std::unique_ptr<LocalParty> sender = NewSelf();
      ASSERT_OK_AND_ASSIGN(
          channel, Open(*sender, peer(), {.max_message_bytes = 100000, .capacity_messages = 16}));
      Sender& to = sender->sender(channel.sender);
      const std::string body(bytes, 'x');
      const auto send = [&](absl::Time deadline, int priority) -> absl::Status {
        if (!claims) return to.Send(body, {.priority = priority}, deadline);
        absl::StatusOr<ClaimedMessage> claim = to.Claim(bytes, {.priority = priority}, deadline);
        if (!claim.ok()) return claim.status();
        body.copy(claim->body().data(), bytes);
        return claim->Commit(deadline);
      };
      size_t sent = 0;
      absl::Status full;
      while ((full = send(Soon(), 0)).ok()) ++sent;
      EXPECT_THAT(full, HasCode(absl::StatusCode::kDeadlineExceeded));
      EXPECT_THAT(send(absl::InfinitePast(), 0), HasCode(absl::StatusCode::kDeadlineExceeded));
      // What is urgent has its own.
      EXPECT_THAT(send(absl::InfinitePast(), kUrgentPriority), IsOk());
      ++sent;
      auto waiting = std::async(std::launch::async, [&] { return send(Patience(), 0); });
      // Room for bodies comes back with the body; between nodes, when enough is on its way.
      size_t received = 0;
      while (waiting.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready) {
        ASSERT_LT(received, sent);
        ASSERT_THAT(peer().Receive(channel.receiver, 1), IsOk());
        ++received;
      }
      EXPECT_THAT(waiting.get(), IsOk());
      EXPECT_THAT(peer().Receive(channel.receiver, sent + 1 - received), IsOk());
    }
  }
}

TEST_P(MailboxBoundsTest, AFullMailboxThatRejectsRefusesClaimsAndLargeBodiesUntilThereIsRoom) {
  for (const size_t bytes : {size_t{20}, size_t{100000}}) {
    const std::string name = NewName();
    ASSERT_THAT(self().CreateMailbox(name, {.max_message_bytes = 100000,
                                            .capacity_messages = 16,
                                            .when_full = FullPolicy::kReject}),
                IsOk());
    const std::unique_ptr<LocalParty> sender = NewSelf();
    ASSERT_OK_AND_ASSIGN(handle, sender->ConnectMailbox(name));
    Sender& to = sender->sender(handle);
    const auto claim = [&]() -> absl::Status {
      absl::StatusOr<ClaimedMessage> claimed = to.Claim(bytes, {}, absl::InfiniteFuture());
      return claimed.ok() ? claimed->Commit(absl::InfiniteFuture()) : claimed.status();
    };
    size_t sent = 0;
    absl::Status full;
    while ((full = claim()).ok()) ++sent;
    EXPECT_EQ(sent, 16u);
    EXPECT_THAT(full, HasCode(absl::StatusCode::kResourceExhausted));
    EXPECT_THAT(to.Send(std::string(bytes, 'x'), {}, absl::InfiniteFuture()),
                HasCode(absl::StatusCode::kResourceExhausted));
    // What is urgent has its own room, and one receive makes room for one.
    EXPECT_THAT(to.Send(std::string(bytes, 'x'), {.priority = kUrgentPriority}), IsOk());
    ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name));
    ASSERT_THAT(peer().Receive(receiver, 2), IsOk());
    EXPECT_TRUE(Eventually([&] { return claim().ok(); }));
    EXPECT_THAT(peer().Receive(receiver, 16), IsOk());
  }
}

TEST_P(MailboxBoundsTest, ABatchIsSentAsFarAsThereIsRoom) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, {.max_message_bytes = 100, .capacity_messages = 16}),
              IsOk());
  const std::unique_ptr<LocalParty> sender = NewSelf();
  ASSERT_OK_AND_ASSIGN(handle, sender->ConnectMailbox(name));
  const std::vector<absl::string_view> bodies(20, "body");
  const absl::StatusOr<size_t> sent =
      sender->sender(handle).SendBatch(bodies, {}, absl::InfinitePast());
  ASSERT_THAT(sent, IsOk());
  EXPECT_EQ(*sent, 16u);
  EXPECT_THAT(sender->sender(handle).SendBatch(bodies, {}, absl::InfinitePast()),
              HasCode(absl::StatusCode::kDeadlineExceeded));
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name));
  EXPECT_THAT(peer().Receive(receiver, 16), IsOk());
  EXPECT_THAT(peer().Receive(receiver, 1, Soon()), HasCode(absl::StatusCode::kDeadlineExceeded));
}

// How much shared memory this program has mapped.
size_t MappedFiles() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    count += line.find("/memfd:") != std::string::npos;
  }
  return count;
}

TEST_P(MailboxBoundsTest, MailboxesThatComeAndGoLeaveNoMemoryMapped) {
  Process& process = self().process();
  size_t after_three = 0;
  for (int i = 0; i < 20; ++i) {
    const std::string name = NewName();
    ASSERT_THAT(process.CreateMailbox(name), IsOk());
    {
      absl::StatusOr<Sender> sender = process.ConnectMailbox(name);
      ASSERT_THAT(sender, IsOk());
      ASSERT_THAT(sender->Send("x"), IsOk());
      absl::StatusOr<Receiver> receiver = process.OpenMailbox(name);
      ASSERT_THAT(receiver, IsOk());
      ASSERT_THAT(receiver->Receive(Patience()), IsOk());
    }
    ASSERT_THAT(process.DestroyMailbox(name), IsOk());
    if (i == 2) after_three = MappedFiles();
  }
  EXPECT_EQ(MappedFiles(), after_three);
}

}  // namespace
}  // namespace mailrail
