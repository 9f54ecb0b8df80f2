// Bodies of every size, written in place or copied, in batches, as protobuf, of mailboxes that fix
// their size; and what a received message says of itself.
#include <future>
#include <utility>
#include <vector>

#include "mailrail/protobuf.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/note.pb.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

using MessagesTest = ChannelTest;
using ClaimTest = ChannelTest;
using ProtobufTest = ChannelTest;
using MailboxSizesTest = ConformanceTest;

MAILRAIL_OVER_CHANNELS(MessagesTest);
MAILRAIL_OVER_CHANNELS(ClaimTest);
MAILRAIL_OVER_CHANNELS(ProtobufTest);
MAILRAIL_OVER_TRANSPORTS(MailboxSizesTest);

constexpr auto kInvalidArgument = absl::StatusCode::kInvalidArgument;

TEST_P(MessagesTest, BodiesOfAllSizesArriveWhole) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  std::vector<Outgoing> messages;
  for (size_t bytes = 0; bytes <= 300; ++bytes) {
    messages.push_back({.number = bytes % 251, .bytes = bytes});
  }
  for (size_t power = 512; power <= 4 << 20; power *= 2) {
    for (const size_t bytes : {power - 1, power, power + 1}) {
      messages.push_back({.number = bytes, .bytes = bytes});
    }
  }
  auto sent = std::async(std::launch::async, [&] { return peer().Send(channel.sender, messages); });
  ExpectDelivered(self().Receive(channel.receiver, messages.size()).messages, messages);
  EXPECT_THAT(sent.get(), IsOk());
}

TEST_P(MessagesTest, TheLargestMessageArrivesAndALargerOneIsRefused) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  const std::vector<Outgoing> messages = Numbered(2, {.bytes = kDefaultMaxMessageBytes});
  auto sent = std::async(std::launch::async, [&] { return peer().Send(channel.sender, messages); });
  ExpectDelivered(self().Receive(channel.receiver, messages.size()).messages, messages);
  EXPECT_THAT(sent.get(), IsOk());

  const Outgoing larger = {.number = 3, .bytes = kDefaultMaxMessageBytes + 1};
  for (const party::Way way : {party::SEND, party::BATCH, party::CLAIM}) {
    EXPECT_THAT(peer().Send(channel.sender, {larger}, Patience(), {.way = way}),
                HasCode(kInvalidArgument));
  }
  // Nothing came of it, and the channel is as good as before.
  ASSERT_THAT(peer().Send(channel.sender, {{.number = 4}}), IsOk());
  const ReceiveResult next = self().Receive(channel.receiver, 1);
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next.messages[0].number, 4u);
  EXPECT_EQ(next.messages[0].sequence, 3u);
}

TEST_P(MessagesTest, AMessageTellsItsSenderPriorityAndSequence) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
    for (const int priority : {0, 7, kMaxPriority}) {
      ASSERT_THAT(peer().Send(channel.sender, {{.number = 77, .priority = priority}}), IsOk());
      const absl::StatusOr<Message> message = self().receiver(channel.receiver).Receive(Patience());
      ASSERT_THAT(message, IsOk());
      EXPECT_EQ(message->sender(), peer().id());
      EXPECT_EQ(message->priority(), priority);
      EXPECT_EQ(message->sequence(), sequence);
      EXPECT_FALSE(message->redelivered());
      EXPECT_EQ(message->attempts(), 0);
      EXPECT_EQ(message->body(), MakeBody(77, 8));
    }
  }
}

TEST_P(MessagesTest, EachOfSeveralSendersIsNamedAndCountedForItself) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(from_other, route() == Route::kInbox
                                       ? other->Connect(self().id())
                                       : other->ConnectMailbox(channel.mailbox));
  for (uint64_t number = 1; number <= 5; ++number) {
    ASSERT_THAT(peer().Send(channel.sender, {{.number = number}}), IsOk());
    ASSERT_THAT(other->Send(from_other, {{.number = number}}), IsOk());
  }
  const ReceiveResult result = self().Receive(channel.receiver, 10);
  ExpectDelivered(Of(peer().id(), result.messages), Numbered(5));
  ExpectDelivered(Of(other->id(), result.messages), Numbered(5));
}

TEST_P(MessagesTest, ABatchReturnsWhatIsThereUpToItsLimit) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  ASSERT_THAT(peer().Send(channel.sender, Numbered(30)), IsOk());
  Receiver& receiver = self().receiver(channel.receiver);
  uint64_t next = 1;
  while (next <= 30) {
    const absl::StatusOr<std::vector<Message>> batch = receiver.ReceiveBatch(7, Patience());
    ASSERT_THAT(batch, IsOk());
    ASSERT_GE(batch->size(), 1u);
    ASSERT_LE(batch->size(), 7u);
    for (const Message& message : *batch) EXPECT_EQ(NumberOf(message.body()), next++);
  }
}

TEST_P(MessagesTest, AMovedMessageKeepsItsBody) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  for (const size_t bytes : {size_t{0}, size_t{10}, size_t{500}, size_t{100000}}) {
    ASSERT_THAT(peer().Send(channel.sender, {{.number = 9, .bytes = bytes}}), IsOk());
    absl::StatusOr<Message> message = self().receiver(channel.receiver).Receive(Patience());
    ASSERT_THAT(message, IsOk());
    Message moved = *std::move(message);
    Message assigned;
    assigned = std::move(moved);
    EXPECT_EQ(assigned.body(), MakeBody(9, bytes));
    EXPECT_EQ(assigned.sender(), peer().id());
  }
}

// The sender is in this process, so that its claims can be seen.
TEST_P(ClaimTest, AClaimHasItsSizeAndSendsWhatIsWritten) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  Sender& sender = self().sender(channel.sender);
  std::vector<Outgoing> messages;
  for (const size_t bytes : {0, 1, 48, 64, 1000, 70000, 5000000}) {
    const Outgoing message = {.number = bytes % 200, .bytes = bytes, .priority = 3};
    absl::StatusOr<ClaimedMessage> claim = sender.Claim(bytes, {.priority = 3}, Patience());
    ASSERT_THAT(claim, IsOk());
    ASSERT_EQ(claim->body().size(), bytes);
    FillBody(message.number, claim->body());
    ASSERT_THAT(claim->Commit(Patience()), IsOk());
    messages.push_back(message);
  }
  ExpectDelivered(peer().Receive(channel.receiver, messages.size()).messages, messages);
}

TEST_P(ClaimTest, ATruncatedClaimSendsLess) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  std::vector<Outgoing> messages;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{60}, size_t{5000}, size_t{299999}}) {
    absl::StatusOr<ClaimedMessage> claim =
        self().sender(channel.sender).Claim(300000, {}, Patience());
    ASSERT_THAT(claim, IsOk());
    claim->Truncate(bytes);
    ASSERT_EQ(claim->body().size(), bytes);
    messages.push_back({.number = bytes % 200, .bytes = bytes});
    FillBody(messages.back().number, claim->body());
    ASSERT_THAT(claim->Commit(Patience()), IsOk());
  }
  ExpectDelivered(peer().Receive(channel.receiver, messages.size()).messages, messages);
}

TEST_P(ClaimTest, AnAbandonedClaimSendsNothingAndGivesItsRoomBack) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  Sender& sender = self().sender(channel.sender);
  for (const size_t bytes : {size_t{30}, size_t{3000}, size_t{20} << 20}) {
    // Many times the room that there is.
    for (int i = 0; i < 200; ++i) {
      const absl::StatusOr<ClaimedMessage> claim = sender.Claim(bytes, {}, absl::InfinitePast());
      ASSERT_THAT(claim, IsOk());
    }
  }
  ASSERT_THAT(sender.Send(MakeBody(1, 8)), IsOk());
  ExpectDelivered(peer().Receive(channel.receiver, 1).messages, Numbered(1));
}

TEST_P(ClaimTest, AnOpenClaimTakesItsPlaceWhenItIsCommitted) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  Sender& sender = self().sender(channel.sender);
  std::vector<ClaimedMessage> claims;
  const std::vector<size_t> sizes = {20, 20000, 0, 400000};
  for (const size_t bytes : sizes) {
    absl::StatusOr<ClaimedMessage> claim = sender.Claim(bytes, {}, Patience());
    ASSERT_THAT(claim, IsOk());
    FillBody(bytes, claim->body());
    claims.push_back(*std::move(claim));
  }
  // Sent later than they were claimed, and before they are committed.
  std::vector<Outgoing> messages = {{.number = 1}};
  ASSERT_THAT(sender.Send(MakeBody(1, 8), {}, Patience()), IsOk());
  EXPECT_THAT(peer().Receive(channel.receiver, 1), IsOk());
  for (const size_t i : {3, 0, 2, 1}) {
    ASSERT_THAT(claims[i].Commit(Patience()), IsOk());
    messages.push_back({.number = sizes[i], .bytes = sizes[i]});
  }
  const ReceiveResult result = peer().Receive(channel.receiver, 4);
  ASSERT_THAT(result, IsOk());
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(result.messages[i].intact);
    EXPECT_EQ(result.messages[i].bytes, messages[i + 1].bytes);
    EXPECT_EQ(result.messages[i].sequence, i + 2);
  }
}

// There and back again.
TEST_P(ProtobufTest, AMessageIsParsedAsItWasSent) {
  ASSERT_OK_AND_ASSIGN(there, Open(self(), peer()));
  ASSERT_OK_AND_ASSIGN(back, Open(peer(), self()));
  Note note;
  note.set_subject("hello");
  for (const size_t replies : {0, 1, 50, 20000}) {
    while (note.replies_size() < static_cast<int>(replies)) {
      note.add_replies()->set_subject("the answer");
    }
    auto echoed =
        std::async(std::launch::async, [&] { return peer().Echo(there.receiver, back.sender, 1); });
    EXPECT_THAT(SendProto(self().sender(there.sender), note, {.priority = 5}, Patience()), IsOk());
    EXPECT_THAT(echoed.get(), IsOk());
    const absl::StatusOr<Message> received = self().receiver(back.receiver).Receive(Patience());
    ASSERT_THAT(received, IsOk());
    EXPECT_EQ(received->priority(), 5);
    Note parsed;
    EXPECT_THAT(ParseProto(*received, &parsed), IsOk());
    EXPECT_EQ(parsed.SerializeAsString(), note.SerializeAsString());
  }
}

TEST_P(ProtobufTest, ABodyThatIsNoSuchMessageIsRefused) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  ASSERT_THAT(peer().Send(channel.sender, {{.number = ~uint64_t{0}, .bytes = 100}}), IsOk());
  const absl::StatusOr<Message> received = self().receiver(channel.receiver).Receive(Patience());
  ASSERT_THAT(received, IsOk());
  Note note;
  EXPECT_THAT(ParseProto(*received, &note), HasCode(absl::StatusCode::kDataLoss));
}

TEST_P(ProtobufTest, AMessageThatLacksARequiredFieldIsRefused) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  Note note;
  note.set_text("without its subject");
  EXPECT_THAT(SendProto(self().sender(channel.sender), note), HasCode(kInvalidArgument));
}

TEST_P(MailboxSizesTest, AMailboxMayFixItsSize) {
  for (const size_t fixed : {size_t{0}, size_t{1}, size_t{64}, size_t{1000}, size_t{200000}}) {
    const std::string name = NewName();
    ASSERT_THAT(self().CreateMailbox(name, {.max_message_bytes = fixed, .fixed_size = true}),
                IsOk());
    ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
    ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
    std::vector<size_t> wrong = {fixed + 1, 2 * fixed + 100};
    if (fixed > 0) wrong.push_back(fixed - 1);
    if (fixed > 1) wrong.push_back(0);
    for (const size_t bytes : wrong) {
      for (const party::Way way : {party::SEND, party::BATCH, party::CLAIM}) {
        EXPECT_THAT(peer().Send(sender, {{.bytes = bytes}}, Patience(), {.way = way}),
                    HasCode(kInvalidArgument))
            << bytes << " bytes, the size is " << fixed;
      }
    }
    const std::vector<Outgoing> messages = Numbered(10, {.bytes = fixed});
    EXPECT_THAT(peer().Send(sender, messages), IsOk());
    ExpectDelivered(self().Receive(receiver, messages.size()).messages, messages);
  }
}

TEST_P(MailboxSizesTest, AClaimOfAFixedSizeCannotBeTruncated) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name, {.max_message_bytes = 100, .fixed_size = true}), IsOk());
  ASSERT_OK_AND_ASSIGN(handle, self().ConnectMailbox(name));
  absl::StatusOr<ClaimedMessage> claim = self().sender(handle).Claim(100, {}, Patience());
  ASSERT_THAT(claim, IsOk());
  claim->Truncate(99);
  EXPECT_THAT(claim->Commit(Patience()), HasCode(kInvalidArgument));
}

TEST_P(MailboxSizesTest, AMailboxMayHaveASmallerOrALargerMaximum) {
  for (const size_t maximum : {size_t{0}, size_t{100}, size_t{70000}, kLargestMaxMessageBytes}) {
    const std::string name = NewName();
    ASSERT_THAT(self().CreateMailbox(name, {.max_message_bytes = maximum}), IsOk());
    ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
    ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
    const std::vector<Outgoing> messages = {{.number = 1, .bytes = maximum},
                                            {.number = 2, .bytes = maximum / 2}};
    auto sent =
        std::async(std::launch::async, [&, to = sender] { return peer().Send(to, messages); });
    ExpectDelivered(self().Receive(receiver, 2).messages, messages);
    EXPECT_THAT(sent.get(), IsOk());
    EXPECT_THAT(peer().Send(sender, {{.bytes = maximum + 1}}), HasCode(kInvalidArgument));
    ASSERT_OK_AND_ASSIGN(own, self().ConnectMailbox(name));
    EXPECT_EQ(self().sender(own).max_message_bytes(), maximum);
    ASSERT_THAT(self().DestroyMailbox(name), IsOk());
  }
}

}  // namespace
}  // namespace mailrail
