// What becomes of messages to a full mailbox, by its policy.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;

constexpr uint32_t kCapacity = 8;
constexpr size_t kSent = 50;

// A mailbox of self(), to which peer() sends.
class FullMailboxTest : public ConformanceTest {
 protected:
  void Create(MailboxOptions options) {
    name_ = NewName();
    options.capacity_messages = kCapacity;
    ASSERT_THAT(self().CreateMailbox(name_, options), IsOk());
    const auto sender = peer().ConnectMailbox(name_);
    ASSERT_THAT(sender, IsOk());
    sender_ = *sender;
    const auto receiver = self().OpenMailbox(name_);
    ASSERT_THAT(receiver, IsOk());
    receiver_ = *receiver;
  }
  // Receives until the message with this number has come.
  std::vector<uint64_t> ReceiveUpTo(uint64_t last) {
    std::vector<uint64_t> numbers;
    while (numbers.empty() || numbers.back() != last) {
      const ReceiveResult result = self().Receive(receiver_, 1);
      EXPECT_THAT(result, IsOk());
      if (!result.status.ok()) break;
      EXPECT_TRUE(result.messages[0].intact);
      numbers.push_back(result.messages[0].number);
    }
    return numbers;
  }

  std::string name_;
  Handle sender_ = 0;
  Handle receiver_ = 0;
};

MAILRAIL_OVER_TRANSPORTS(FullMailboxTest);

TEST_P(FullMailboxTest, TheOldestOnesAreDroppedAndTheNewestStay) {
  Create({.when_full = FullPolicy::kDropOldest});
  ASSERT_THAT(peer().Send(sender_, Numbered(kSent, {.bytes = 200})), IsOk());
  // All were accepted; between nodes those may go that are on their way when there is room again.
  const std::vector<uint64_t> numbers = ReceiveUpTo(kSent);
  EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  if (!across_nodes()) {
    EXPECT_THAT(numbers, ElementsAre(43, 44, 45, 46, 47, 48, 49, 50));
  }
}

TEST_P(FullMailboxTest, OfEachPriorityItsOwn) {
  Create({.when_full = FullPolicy::kDropOldest});
  ASSERT_THAT(peer().Send(sender_, Numbered(2, {.priority = 9})), IsOk());
  ASSERT_THAT(peer().Send(sender_, Numbered(kSent, {}, 3)), IsOk());
  const std::vector<uint64_t> numbers = ReceiveUpTo(kSent + 2);
  EXPECT_EQ(std::count(numbers.begin(), numbers.end(), 1), 1);
  EXPECT_EQ(std::count(numbers.begin(), numbers.end(), 2), 1);
}

TEST_P(FullMailboxTest, WhatHadToMakeRoomIsADeadLetter) {
  const std::string dead = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  Create({.when_full = FullPolicy::kDropOldest, .dead_letter = dead});
  ASSERT_THAT(peer().Send(sender_, Numbered(kSent, {.bytes = 200, .priority = 3})), IsOk());
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  const ReceiveResult result = self().Receive(letters, kSent - kCapacity);
  ASSERT_THAT(result, IsOk());
  for (size_t i = 0; i < result.messages.size(); ++i) {
    EXPECT_EQ(result.messages[i].number, i + 1);
    EXPECT_TRUE(result.messages[i].intact);
    EXPECT_EQ(result.messages[i].sender, peer().id());
    EXPECT_EQ(result.messages[i].dead_letter_reason, DeadLetterReason::kDropped);
    EXPECT_EQ(result.messages[i].dead_letter_mailbox, name_);
  }
  EXPECT_THAT(ReceiveUpTo(kSent), ElementsAre(43, 44, 45, 46, 47, 48, 49, 50));
}

TEST_P(FullMailboxTest, TheNewestOnesAreDroppedAndThatIsOk) {
  Create({.when_full = FullPolicy::kDropNewest});
  ASSERT_THAT(peer().Send(sender_, Numbered(kSent)), IsOk());
  const ReceiveResult first = self().Receive(receiver_, kCapacity);
  ASSERT_THAT(first, IsOk());
  EXPECT_THAT(NumbersOf(first.messages), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  // There is room again.
  EXPECT_TRUE(Eventually([&] {
    EXPECT_THAT(peer().Send(sender_, {{.number = 100}}), IsOk());
    const ReceiveResult next = self().Receive(receiver_, 1, absl::Now() + absl::Milliseconds(500));
    return next.status.ok() && next.messages[0].number == 100;
  }));
}

TEST_P(FullMailboxTest, BatchesAreDroppedAlike) {
  Create({.when_full = FullPolicy::kDropNewest});
  EXPECT_EQ(peer().Send(sender_, Numbered(kSent), Patience(), {.way = party::BATCH}).sent, kSent);
  EXPECT_THAT(NumbersOf(self().Receive(receiver_, kCapacity).messages),
              ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
}

TEST_P(FullMailboxTest, WhatWasDroppedUnsentIsRememberedThoughTheAgentDies) {
  Create({.when_full = FullPolicy::kDropNewest});
  ASSERT_THAT(peer().Send(sender_, Numbered(kSent, {.receipt = 1})), IsOk());
  for (size_t i = kCapacity; i < kSent; ++i) {
    ASSERT_OK_AND_ASSIGN(receipt, peer().NextReceipt(sender_));
    EXPECT_EQ(receipt.outcome, Receipt::Outcome::kDropped);
  }
  KillAgent("alpha");
  EXPECT_THAT(self().Receive(receiver_, kCapacity), IsOk());
  ASSERT_THAT(peer().Send(sender_, {{.number = 61}}), IsOk());
  EXPECT_THAT(NumbersOf(self().Receive(receiver_, 1).messages), ElementsAre(61));
}

TEST_P(FullMailboxTest, WhatReceiversHoldIsNotDropped) {
  Create({.when_full = FullPolicy::kDropOldest});
  ASSERT_OK_AND_ASSIGN(leasing, self().OpenLeasing(name_));
  ASSERT_THAT(peer().Send(sender_, Numbered(1)), IsOk());
  ASSERT_THAT(self().Receive(leasing, 1), IsOk());
  ASSERT_THAT(peer().Send(sender_, Numbered(kSent, {}, 2)), IsOk());
  EXPECT_EQ(ReceiveUpTo(kSent + 1).back(), kSent + 1);
  EXPECT_THAT(self().Acknowledge(1), IsOk());
}

TEST_P(FullMailboxTest, WhatIsDroppedUnsentCannotBeADeadLetter) {
  const std::string dead = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  EXPECT_THAT(
      self().CreateMailbox(NewName(), {.when_full = FullPolicy::kDropNewest, .dead_letter = dead}),
      HasCode(StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace mailrail
