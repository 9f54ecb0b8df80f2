// Receipts: what a sender that asks learns of the end of its message.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using Outcome = Receipt::Outcome;
using ::testing::ElementsAre;

// Long enough for what does not come.
constexpr absl::Duration kAWhile = absl::Milliseconds(200);

// A mailbox of self()'s node, to which `from` sends.
class ReceiptTest : public ConformanceTest {
 protected:
  void Create(const MailboxOptions& options = {}) {
    name_ = NewName();
    ASSERT_THAT(self().CreateMailbox(name_, options), IsOk());
  }
  std::string full_name() const { return name_ + "@alpha"; }
  Handle Connect(Party& party) {
    const absl::StatusOr<Handle> handle = party.ConnectMailbox(full_name());
    EXPECT_THAT(handle, IsOk());
    return handle.value_or(0);
  }
  Handle Open(Party& party) {
    const absl::StatusOr<Handle> handle = party.OpenMailbox(full_name());
    EXPECT_THAT(handle, IsOk());
    return handle.value_or(0);
  }
  Handle Lease(Party& party) {
    const absl::StatusOr<Handle> handle = party.OpenLeasing(full_name());
    EXPECT_THAT(handle, IsOk());
    return handle.value_or(0);
  }
  // Sends messages that ask for the receipts 101, 102, ...
  static void Send(Party& party, Handle sender, size_t count, const Outgoing& like = {}) {
    std::vector<Outgoing> messages = Numbered(count, like);
    for (Outgoing& message : messages) message.receipt = 100 + message.number;
    ASSERT_THAT(party.Send(sender, messages), IsOk());
  }
  static void ExpectReceipt(Party& party, Handle sender, uint64_t number, Outcome outcome,
                            const ProcessId& receiver = ProcessId()) {
    const absl::StatusOr<Receipt> receipt = party.NextReceipt(sender);
    ASSERT_THAT(receipt, IsOk());
    EXPECT_EQ(receipt->receipt, number);
    EXPECT_EQ(receipt->outcome, outcome);
    EXPECT_EQ(receipt->receiver, receiver);
  }

  std::string name_;
};

MAILRAIL_OVER_TRANSPORTS(ReceiptTest);

TEST_P(ReceiptTest, ASenderLearnsWhoHasReceivedItsMessage) {
  Create();
  const Handle sender = Connect(peer());
  Send(peer(), sender, 1);
  EXPECT_THAT(peer().NextReceipt(sender, absl::Now() + kAWhile),
              HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(self().Receive(Open(self()), 1), IsOk());
  ExpectReceipt(peer(), sender, 101, Outcome::kReceived, self().id());
  EXPECT_THAT(peer().NextReceipt(sender), HasCode(StatusCode::kNotFound));
}

TEST_P(ReceiptTest, AReceiverOfAnotherNodeIsNamedToo) {
  Create();
  const Handle sender = Connect(self());
  Send(self(), sender, 2, {.bytes = 100000});
  ASSERT_THAT(peer().Receive(Open(peer()), 2), IsOk());
  ExpectReceipt(self(), sender, 101, Outcome::kReceived, peer().id());
  ExpectReceipt(self(), sender, 102, Outcome::kReceived, peer().id());
}

TEST_P(ReceiptTest, OfSeveralReceiversEachIsNamedForWhatItHasReceived) {
  constexpr size_t kMessages = 40;
  Create();
  const std::unique_ptr<Party> other = NewPeer();
  std::vector<Party*> receivers = {&self(), other.get()};
  std::vector<Handle> handles = {Open(self()), Open(*other)};
  const Handle sender = Connect(peer());
  Send(peer(), sender, kMessages);
  std::map<uint64_t, ProcessId> received_by;
  for (size_t i = 0; received_by.size() < kMessages; ++i) {
    const size_t turn = i % receivers.size();
    const ReceiveResult result =
        receivers[turn]->Receive(handles[turn], 1, absl::Now() + absl::Milliseconds(50));
    for (const Received& message : result.messages) {
      received_by[100 + message.number] = receivers[turn]->id();
    }
  }
  for (size_t i = 0; i < kMessages; ++i) {
    const absl::StatusOr<Receipt> receipt = peer().NextReceipt(sender);
    ASSERT_THAT(receipt, IsOk());
    EXPECT_EQ(receipt->outcome, Outcome::kReceived);
    EXPECT_EQ(receipt->receiver, received_by[receipt->receipt]) << receipt->receipt;
    received_by.erase(receipt->receipt);
  }
  EXPECT_TRUE(received_by.empty());
}

TEST_P(ReceiptTest, ALeasedMessageHasItsReceiptWhenItIsAcknowledged) {
  Create();
  const Handle sender = Connect(peer());
  Send(peer(), sender, 1);
  ASSERT_THAT(self().Receive(Lease(self()), 1), IsOk());
  EXPECT_THAT(peer().NextReceipt(sender, absl::Now() + kAWhile),
              HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_THAT(self().Acknowledge(1), IsOk());
  ExpectReceipt(peer(), sender, 101, Outcome::kReceived, self().id());
}

TEST_P(ReceiptTest, WhatWasGivenBackHasTheReceiptOfWhoReceivedItThen) {
  Create();
  const Handle sender = Connect(self());
  Send(self(), sender, 1);
  ASSERT_THAT(self().Receive(Lease(self()), 1), IsOk());
  ASSERT_THAT(self().GiveBack(1), IsOk());
  ASSERT_THAT(peer().Receive(Open(peer()), 1), IsOk());
  ExpectReceipt(self(), sender, 101, Outcome::kReceived, peer().id());
}

TEST_P(ReceiptTest, AMessageThatExpiresSaysSoAndWhereItWent) {
  const std::string dead = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  Create({.dead_letter = dead});
  const Handle sender = Connect(peer());
  Send(peer(), sender, 1, {.time_to_live = absl::Milliseconds(50)});
  ASSERT_OK_AND_ASSIGN(receipt, peer().NextReceipt(sender));
  EXPECT_EQ(receipt.receipt, 101u);
  EXPECT_EQ(receipt.outcome, Outcome::kExpired);
  EXPECT_EQ(receipt.dead_letter_mailbox, dead);
  // It is there by then.
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  EXPECT_THAT(self().Receive(letters, 1, absl::InfinitePast()), IsOk());
}

TEST_P(ReceiptTest, AMessageThatWasHandedOutOftenEnoughSaysSo) {
  Create({.max_attempts = 2});
  const Handle sender = Connect(peer());
  Send(peer(), sender, 1);
  const Handle receiver = Lease(self());
  for (int attempt = 0; attempt < 2; ++attempt) {
    ASSERT_THAT(self().Receive(receiver, 1), IsOk());
    ASSERT_THAT(self().GiveBack(1), IsOk());
  }
  ExpectReceipt(peer(), sender, 101, Outcome::kAttempts);
}

TEST_P(ReceiptTest, WhatAFullMailboxDropsSaysSo) {
  for (const FullPolicy policy : {FullPolicy::kDropOldest, FullPolicy::kDropNewest}) {
    Create({.capacity_messages = 4, .when_full = policy});
    const Handle sender = Connect(peer());
    Send(peer(), sender, 6);
    const uint64_t first = policy == FullPolicy::kDropOldest ? 101 : 105;
    ExpectReceipt(peer(), sender, first, Outcome::kDropped);
    ExpectReceipt(peer(), sender, first + 1, Outcome::kDropped);
    EXPECT_THAT(self().Receive(Open(self()), 4), IsOk());
    for (int i = 0; i < 4; ++i) {
      const absl::StatusOr<Receipt> receipt = peer().NextReceipt(sender);
      ASSERT_THAT(receipt, IsOk());
      EXPECT_EQ(receipt->outcome, Outcome::kReceived);
    }
    EXPECT_THAT(peer().NextReceipt(sender), HasCode(StatusCode::kNotFound));
  }
}

TEST_P(ReceiptTest, WhatIsDestroyedWithItsMailboxSaysSo) {
  Create();
  const Handle sender = Connect(peer());
  Send(peer(), sender, 2);
  // All of it is there.
  ASSERT_THAT(self().Receive(Open(self()), 1), IsOk());
  ExpectReceipt(peer(), sender, 101, Outcome::kReceived, self().id());
  ASSERT_THAT(self().DestroyMailbox(name_), IsOk());
  ExpectReceipt(peer(), sender, 102, Outcome::kPurged);
  EXPECT_THAT(peer().NextReceipt(sender), HasCode(StatusCode::kNotFound));
}

TEST_P(ReceiptTest, EachHandleHasTheReceiptsOfItsOwnMessages) {
  Create();
  const Handle first = Connect(peer());
  const Handle second = Connect(peer());
  Send(peer(), first, 1);
  ASSERT_THAT(peer().Send(second, {{.number = 2, .receipt = 7}}), IsOk());
  ASSERT_THAT(self().Receive(Open(self()), 2), IsOk());
  ExpectReceipt(peer(), second, 7, Outcome::kReceived, self().id());
  ExpectReceipt(peer(), first, 101, Outcome::kReceived, self().id());
}

TEST_P(ReceiptTest, EachMessageOfABatchHasOne) {
  Create();
  const Handle sender = Connect(peer());
  std::vector<Outgoing> messages = Numbered(20);
  for (Outgoing& message : messages) message.receipt = 5;
  ASSERT_THAT(peer().Send(sender, messages, Patience(), {.way = party::BATCH}), IsOk());
  ASSERT_THAT(self().Receive(Open(self()), 20), IsOk());
  for (int i = 0; i < 20; ++i) {
    ExpectReceipt(peer(), sender, 5, Outcome::kReceived, self().id());
  }
  EXPECT_THAT(peer().NextReceipt(sender), HasCode(StatusCode::kNotFound));
}

TEST_P(ReceiptTest, SoHasWhatIsWrittenInPlace) {
  Create();
  const Handle sender = Connect(peer());
  const Outgoing message{.number = 1, .bytes = 100000, .receipt = 9};
  ASSERT_THAT(peer().Send(sender, {message}, Patience(), {.way = party::CLAIM}), IsOk());
  ASSERT_THAT(self().Receive(Open(self()), 1), IsOk());
  ExpectReceipt(peer(), sender, 9, Outcome::kReceived, self().id());
}

TEST_P(ReceiptTest, MoreThanAMailboxHoldsMayWaitForReceipts) {
  constexpr size_t kMessages = 500;
  Create({.capacity_messages = 8});
  const Handle sender = Connect(peer());
  const Handle receiver = Open(self());
  for (size_t sent = 0; sent < kMessages; sent += 4) {
    Send(peer(), sender, 4);
    ASSERT_THAT(self().Receive(receiver, 4), IsOk());
  }
  for (size_t i = 0; i < kMessages; ++i) {
    const absl::StatusOr<Receipt> receipt = peer().NextReceipt(sender);
    ASSERT_THAT(receipt, IsOk());
    EXPECT_EQ(receipt->outcome, Outcome::kReceived);
  }
}

TEST_P(ReceiptTest, ThereIsNoneForAProcess) {
  ASSERT_OK_AND_ASSIGN(sender, peer().Connect(self().id()));
  EXPECT_THAT(peer().Send(sender, {{.number = 1, .receipt = 1}}),
              HasCode(StatusCode::kInvalidArgument));
}

TEST_P(ReceiptTest, AMessageThatWasNotSentHasNone) {
  Create({.capacity_messages = 1, .when_full = FullPolicy::kReject});
  const Handle sender = Connect(self());
  Send(self(), sender, 1);
  EXPECT_THAT(self().Send(sender, {{.number = 2, .receipt = 2}}),
              HasCode(StatusCode::kResourceExhausted));
  ASSERT_THAT(self().Receive(Open(self()), 1), IsOk());
  ExpectReceipt(self(), sender, 101, Outcome::kReceived, self().id());
  EXPECT_THAT(self().NextReceipt(sender), HasCode(StatusCode::kNotFound));
}

TEST_P(ReceiptTest, ADeadReceiversNameIsKnownStill) {
  Create();
  const Handle sender = Connect(self());
  Send(self(), sender, 1);
  const std::unique_ptr<Party> dying = NewSelf();
  const ProcessId name = dying->id();
  ASSERT_THAT(dying->Receive(Open(*dying), 1), IsOk());
  dying->End();
  ExpectReceipt(self(), sender, 101, Outcome::kReceived, name);
}

TEST_P(ReceiptTest, AgentsMayBeKilledBeforeItIsReceived) {
  Create();
  const Handle sender = Connect(peer());
  Send(peer(), sender, 2, {.bytes = 50});
  const Handle receiver = Open(self());
  ASSERT_THAT(self().Receive(receiver, 1), IsOk());
  ExpectReceipt(peer(), sender, 101, Outcome::kReceived, self().id());
  KillAgent("alpha");
  if (across_nodes()) KillAgent("beta");
  ASSERT_THAT(self().Receive(receiver, 1), IsOk());
  ExpectReceipt(peer(), sender, 102, Outcome::kReceived, self().id());
}

TEST_P(ReceiptTest, AgentsMayBeKilledBeforeItIsTold) {
  Create();
  const Handle sender = Connect(peer());
  Send(peer(), sender, 3, {.bytes = 5000});
  ASSERT_THAT(self().Receive(Open(self()), 3), IsOk());
  KillAgent("alpha");
  if (across_nodes()) KillAgent("beta");
  for (int i = 0; i < 3; ++i) {
    const absl::StatusOr<Receipt> receipt = peer().NextReceipt(sender);
    ASSERT_THAT(receipt, IsOk());
    EXPECT_EQ(receipt->outcome, Outcome::kReceived);
    EXPECT_EQ(receipt->receiver, self().id());
  }
}

}  // namespace
}  // namespace mailrail
