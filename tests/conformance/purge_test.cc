// Process::PurgeMailbox: what waits in a mailbox is dropped, and counted.
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using Outcome = Receipt::Outcome;

// Mailboxes of both sides; either side purges.
class PurgeTest : public ConformanceTest {
 protected:
  // A mailbox of `owner`, in full.
  std::string Create(Party& owner, const MailboxOptions& options = {}) {
    const std::string name = NewName();
    EXPECT_THAT(owner.CreateMailbox(name, options), IsOk());
    return name + "@" + owner.id().node();
  }
  // Sends messages, and waits until all are in the mailbox.
  Handle Fill(Party& party, const std::string& name, const std::vector<Outgoing>& messages) {
    const absl::StatusOr<Handle> handle = party.ConnectMailbox(name);
    EXPECT_THAT(handle, IsOk());
    if (!handle.ok()) return 0;
    const uint64_t before = InIt(name);
    EXPECT_THAT(party.Send(*handle, messages), IsOk());
    EXPECT_TRUE(Eventually([&] { return InIt(name) == before + messages.size(); }));
    return *handle;
  }
  uint64_t InIt(const std::string& name) {
    const absl::StatusOr<MailboxState> state = self().process().StatMailbox(name);
    EXPECT_THAT(state, IsOk());
    return state.ok() ? state->waiting + state->leased + state->delayed : 0;
  }
  static void ExpectPurged(Party& party, const std::string& name, uint64_t count) {
    const absl::StatusOr<uint64_t> purged = party.PurgeMailbox(name);
    ASSERT_THAT(purged, IsOk());
    EXPECT_EQ(*purged, count);
  }
  std::vector<Party*> both() { return {&self(), &peer()}; }
};

MAILRAIL_OVER_TRANSPORTS(PurgeTest);

TEST_P(PurgeTest, WhatWaitsIsDroppedAndCountedWhereverTheMailboxIs) {
  for (Party* owner : both()) {
    for (Party* purger : both()) {
      const std::string name = Create(*owner);
      std::vector<Outgoing> messages = Numbered(40);
      for (Outgoing& message : messages) {
        message.priority = static_cast<int>(Random(kPriorityCount));
        message.bytes = 8 + Random(3000);
      }
      const Handle near = Fill(self(), name, messages);
      Fill(peer(), name, Numbered(10));
      ExpectPurged(*purger, name, 50);
      EXPECT_EQ(InIt(name), 0u);
      ExpectPurged(*purger, name, 0);
      // It goes on.
      ASSERT_THAT(self().Send(near, Numbered(1, {}, 77)), IsOk());
      ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name));
      const ReceiveResult next = peer().Receive(receiver, 1);
      ASSERT_THAT(next, IsOk());
      EXPECT_EQ(next.messages[0].number, 77u);
    }
  }
}

TEST_P(PurgeTest, WhatIsLeasedStaysItsHolders) {
  for (Party* owner : both()) {
    const std::string name = Create(*owner);
    ASSERT_OK_AND_ASSIGN(receiver, peer().OpenLeasing(name));
    Fill(self(), name, Numbered(10));
    ASSERT_THAT(peer().Receive(receiver, 2), IsOk());
    ExpectPurged(self(), name, 8);
    EXPECT_EQ(InIt(name), 2u);
    ASSERT_THAT(peer().Acknowledge(1), IsOk());
    ASSERT_THAT(peer().GiveBack(2), IsOk());
    const ReceiveResult again = peer().Receive(receiver, 1);
    ASSERT_THAT(again, IsOk());
    EXPECT_EQ(again.messages[0].number, 2u);
    ASSERT_THAT(peer().Acknowledge(2), IsOk());
    EXPECT_TRUE(Eventually([&] { return InIt(name) == 0; }));
  }
}

TEST_P(PurgeTest, WhatIsForLaterOrWasGivenBackIsDroppedToo) {
  for (Party* owner : both()) {
    const std::string name = Create(*owner);
    Fill(peer(), name, Numbered(5, {.delay = absl::Hours(1)}));
    {
      ASSERT_OK_AND_ASSIGN(receiver, self().OpenLeasing(name));
      Fill(peer(), name, Numbered(2));
      ASSERT_THAT(self().Receive(receiver, 2), IsOk());
      ASSERT_THAT(self().GiveBack(1), IsOk());
      ASSERT_THAT(self().GiveBack(2, absl::Hours(1)), IsOk());
      self().Close(receiver);
    }
    EXPECT_TRUE(Eventually([&] { return self().process().StatMailbox(name)->leased == 0; }));
    ExpectPurged(peer(), name, 7);
    EXPECT_EQ(InIt(name), 0u);
  }
}

TEST_P(PurgeTest, TheReceiptsOfWhatIsDroppedSaySo) {
  for (Party* owner : both()) {
    const std::string name = Create(*owner);
    std::vector<Outgoing> messages = Numbered(3);
    for (Outgoing& message : messages) message.receipt = 100 + message.number;
    const Handle sender = Fill(peer(), name, messages);
    ExpectPurged(self(), name, 3);
    for (uint64_t number = 101; number <= 103; ++number) {
      ASSERT_OK_AND_ASSIGN(receipt, peer().NextReceipt(sender));
      EXPECT_EQ(receipt.receipt, number);
      EXPECT_EQ(receipt.outcome, Outcome::kPurged);
    }
  }
}

// What is sent meanwhile goes before it, and is more than the purge is for.
TEST_P(PurgeTest, WhatWasSentBeforeIsDroppedThoughSendersSendOn) {
  for (Party* owner : both()) {
    const std::string name = Create(*owner);
    constexpr uint64_t kFirst = 1000000;
    Fill(peer(), name, Numbered(60, {}, kFirst));
    ASSERT_OK_AND_ASSIGN(more, peer().ConnectMailbox(name));
    std::atomic<bool> stop = false;
    auto sending = std::async(std::launch::async, [&] {
      const std::vector<Outgoing> some = Numbered(20, {.priority = kMaxPriority});
      while (!stop) {
        // Full now and then.
        const SendResult sent = peer().Send(more, some, absl::Now() + absl::Milliseconds(1));
        if (!sent.status.ok() && sent.status.code() != StatusCode::kDeadlineExceeded) {
          return sent.status;
        }
      }
      return absl::OkStatus();
    });
    EXPECT_TRUE(Eventually([&] { return InIt(name) > 60; }));
    ASSERT_OK_AND_ASSIGN(purged, self().PurgeMailbox(name));
    EXPECT_GE(purged, 60u);
    stop = true;
    EXPECT_THAT(sending.get(), IsOk());
    ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
    while (true) {
      const ReceiveResult left = self().Receive(receiver, 1, absl::Now() + absl::Milliseconds(200));
      if (!left.status.ok()) break;
      ASSERT_LT(left.messages[0].number, kFirst);
    }
  }
}

TEST_P(PurgeTest, OfABroadcastEachReceiversCopyCounts) {
  for (Party* owner : both()) {
    const std::string name = Create(*owner, {.policy = ReceivePolicy::kBroadcast});
    ASSERT_OK_AND_ASSIGN(near, self().OpenMailbox(name));
    ASSERT_OK_AND_ASSIGN(far, peer().OpenMailbox(name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    ASSERT_THAT(self().Send(sender, Numbered(5)), IsOk());
    EXPECT_TRUE(Eventually([&] { return InIt(name) == 10; }));
    ExpectPurged(peer(), name, 10);
    ASSERT_THAT(self().Send(sender, Numbered(1, {}, 6)), IsOk());
    for (const auto& [party, receiver] :
         std::vector<std::pair<Party*, Handle>>{{&self(), near}, {&peer(), far}}) {
      const ReceiveResult next = party->Receive(receiver, 1);
      ASSERT_THAT(next, IsOk());
      EXPECT_EQ(next.messages[0].number, 6u);
    }
  }
}

TEST_P(PurgeTest, AnUnknownMailboxIsNotFound) {
  EXPECT_THAT(self().PurgeMailbox(NewName()), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(peer().PurgeMailbox(NewName() + "@alpha"), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(self().PurgeMailbox("no name"), HasCode(StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace mailrail
