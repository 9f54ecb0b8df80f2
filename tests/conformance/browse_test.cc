// Who looks into a mailbox, from whatever node, sees what would be received, and disturbs nobody.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::IsEmpty;
using State = BrowsedMessage::State;

// The mailbox is on peer()'s node; self() looks.
class BrowseTest : public ConformanceTest {
 protected:
  // Creates a mailbox, and opens it to send from peer().
  void Create(const MailboxOptions& options = {}) {
    name_ = NewName() + "@" + peer_node();
    ASSERT_THAT(peer().CreateMailbox(name_, options), IsOk());
    ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name_));
    sender_ = sender;
  }
  void Send(const std::vector<Outgoing>& messages) {
    ASSERT_THAT(peer().Send(sender_, messages), IsOk());
  }
  std::vector<BrowsedMessage> Browse(const BrowseOptions& options = {}) {
    absl::StatusOr<std::vector<BrowsedMessage>> messages =
        self().process().Browse(name_, options, Patience());
    EXPECT_THAT(messages, IsOk());
    return messages.ok() ? *std::move(messages) : std::vector<BrowsedMessage>();
  }
  absl::optional<BrowsedMessage> Peek() {
    absl::StatusOr<absl::optional<BrowsedMessage>> message =
        self().process().Peek(name_, Patience());
    EXPECT_THAT(message, IsOk());
    return message.ok() ? *std::move(message) : absl::nullopt;
  }
  static std::vector<uint64_t> Numbers(const std::vector<BrowsedMessage>& messages) {
    std::vector<uint64_t> numbers;
    for (const BrowsedMessage& message : messages) numbers.push_back(NumberOf(message.body));
    return numbers;
  }

  std::string name_;
  Handle sender_ = 0;
};

MAILRAIL_OVER_TRANSPORTS(BrowseTest);

TEST_P(BrowseTest, APeekShowsWhatTheNextReceiveGetsAndLeavesItThere) {
  Create();
  EXPECT_FALSE(Peek().has_value());
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name_));
  Send({{.number = 1, .bytes = 10},
        {.number = 2,
         .bytes = 30000,
         .priority = 30,
         .headers = {{"kind", "test"}},
         .reply_to = "answers"},
        {.number = 3, .bytes = 300}});
  for (const uint64_t number : {2u, 1u, 3u}) {
    absl::optional<BrowsedMessage> first;
    for (int i = 0; i < 3; ++i) first = Peek();
    ASSERT_TRUE(first.has_value());
    const ReceiveResult result = peer().Receive(receiver, 1);
    ASSERT_THAT(result, IsOk());
    const Received& message = result.messages[0];
    EXPECT_EQ(message.number, number);
    EXPECT_EQ(message.attempts, 0);
    EXPECT_TRUE(IsIntact(first->body));
    EXPECT_EQ(NumberOf(first->body), number);
    EXPECT_EQ(first->body_bytes, message.bytes);
    EXPECT_EQ(first->sender, message.sender);
    EXPECT_EQ(first->priority, message.priority);
    EXPECT_EQ(first->sequence, message.sequence);
    EXPECT_EQ(first->attempts, 0);
    EXPECT_EQ(first->headers, message.headers);
    EXPECT_EQ(first->reply_to, message.reply_to);
    EXPECT_EQ(first->state, State::kWaiting);
  }
  EXPECT_FALSE(Peek().has_value());
}

TEST_P(BrowseTest, TheListIsInTheOrderOfReceive) {
  Create();
  std::vector<Outgoing> messages = Numbered(600);
  for (Outgoing& message : messages) {
    message.priority = static_cast<int>(Random(4));
    message.bytes = 8 + Random(300);
  }
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(of_other, other->ConnectMailbox(name_));
  for (size_t i = 0; i < messages.size(); i += 10) {
    const std::vector<Outgoing> some(messages.begin() + static_cast<std::ptrdiff_t>(i),
                                     messages.begin() + static_cast<std::ptrdiff_t>(i + 10));
    const SendResult sent =
        Random(2) == 0 ? peer().Send(sender_, some) : other->Send(of_other, some);
    ASSERT_THAT(sent, IsOk());
  }
  const std::vector<uint64_t> listed = Numbers(Browse());
  EXPECT_EQ(Numbers(Browse({.limit = 100})),
            std::vector<uint64_t>(listed.begin(), listed.begin() + 100));
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name_));
  const ReceiveResult result = peer().Receive(receiver, messages.size());
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(listed, NumbersOf(result.messages));
  EXPECT_THAT(Browse(), IsEmpty());
}

TEST_P(BrowseTest, WhatIsLeasedOrDelayedIsMarkedAndWhatWasGivenBackHasItsAttempts) {
  Create({.lease_time = absl::Seconds(100)});
  ASSERT_OK_AND_ASSIGN(leasing, self().OpenLeasing(name_));
  Send(Numbered(4));
  const auto receive = [&] { ASSERT_THAT(self().Receive(leasing, 1), IsOk()); };
  receive();
  ASSERT_THAT(self().GiveBack(1, absl::Seconds(100)), IsOk());
  receive();
  ASSERT_THAT(self().GiveBack(2), IsOk());
  // Between nodes one message is leased at a time, and what is given back may be on its way.
  ASSERT_TRUE(Eventually([&] {
    const std::vector<BrowsedMessage> all = Browse();
    return all.size() == 4 && all[0].state == State::kDelayed && all[1].attempts == 1 &&
           all[1].state == State::kWaiting;
  }));
  receive();
  const std::vector<BrowsedMessage> all = Browse();
  ASSERT_THAT(Numbers(all), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(all[0].attempts, 1);
  EXPECT_GT(all[0].until, absl::Now() + absl::Seconds(50));
  EXPECT_LT(all[0].until, absl::Now() + absl::Seconds(101));
  EXPECT_EQ(all[1].state, State::kLeased);
  EXPECT_EQ(all[1].leased_by, self().id());
  EXPECT_EQ(all[2].state, State::kWaiting);
  EXPECT_EQ(NumberOf(Peek()->body), 3u);
  EXPECT_THAT(self().Acknowledge(2), IsOk());
  EXPECT_TRUE(Eventually([&] { return Numbers(Browse()) == std::vector<uint64_t>{1, 3, 4}; }));
}

TEST_P(BrowseTest, WhatHasExpiredIsNotShown) {
  Create();
  Send({{.number = 1, .time_to_live = absl::Milliseconds(1)},
        {.number = 2, .time_to_live = absl::Hours(1)}});
  ASSERT_TRUE(Eventually([&] { return Numbers(Browse()) == std::vector<uint64_t>{2}; }));
  const absl::Duration left = Peek()->expires - absl::Now();
  EXPECT_GT(left, absl::Minutes(50));
  EXPECT_LT(left, absl::Minutes(61));
}

TEST_P(BrowseTest, ALookWhileOthersSendAndReceiveTearsNothingAndCostsNothing) {
  constexpr size_t kMessages = 3000;
  Create({.capacity_messages = 64});
  std::vector<Outgoing> messages = Numbered(kMessages);
  for (Outgoing& message : messages) message.bytes = 8 + Random(Random(4) == 0 ? 5000 : 200);
  std::thread sending([&] { EXPECT_THAT(peer().Send(sender_, messages), IsOk()); });
  const std::unique_ptr<Party> receiving = NewPeer();
  ASSERT_OK_AND_ASSIGN(receiver, receiving->OpenMailbox(name_));
  ReceiveResult result;
  std::atomic<bool> received = false;
  std::thread receives([&] {
    result = receiving->Receive(receiver, kMessages);
    received = true;
  });
  size_t looks = 0;
  while (!received) {
    uint64_t last = 0;
    for (const BrowsedMessage& message : Browse({.max_body_bytes = kMostBrowsedBytes})) {
      ASSERT_TRUE(IsIntact(message.body));
      const uint64_t number = NumberOf(message.body);
      ASSERT_GT(number, last);
      ASSERT_LE(number, kMessages);
      ASSERT_EQ(message.body_bytes, messages[number - 1].bytes);
      last = number;
    }
    Peek();
    ++looks;
  }
  sending.join();
  receives.join();
  EXPECT_GT(looks, 0u);
  ASSERT_THAT(result, IsOk());
  ExpectDelivered(result.messages, messages);
}

TEST_P(BrowseTest, BodiesAreShownAsFarAsIsAskedFor) {
  Create();
  Send({{.number = 1, .bytes = 100000}});
  EXPECT_EQ(Browse({.max_body_bytes = 0})[0].body, "");
  EXPECT_EQ(Browse({.max_body_bytes = 5000})[0].body.size(), 5000u);
  EXPECT_EQ(Browse()[0].body_bytes, 100000u);
  EXPECT_EQ(Peek()->body, MakeBody(1, 100000).substr(0, kMostBrowsedBytes));
  EXPECT_THAT(self().process().Browse(name_, {.max_body_bytes = kMostBrowsedBytes + 1}),
              HasCode(StatusCode::kInvalidArgument));
}

TEST_P(BrowseTest, AMailboxThatIsNotThereCannotBeLookedInto) {
  const std::string missing = NewName() + "@" + peer_node();
  EXPECT_THAT(self().process().Peek(missing), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(self().process().Browse(missing), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(self().process().Redrive(missing), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(self().process().Peek("no name"), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(self().process().Browse("no name"), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(self().process().Redrive("no name"), HasCode(StatusCode::kInvalidArgument));
}

TEST_P(BrowseTest, AnAgentThatIsStartedAgainAnswersToo) {
  Create();
  Send(Numbered(3));
  KillAgent(peer_node());
  EXPECT_THAT(Numbers(Browse()), ElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace mailrail
