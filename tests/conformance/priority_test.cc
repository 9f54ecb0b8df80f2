// Promise 2: no receive returns a message while a better one, whose send had returned before the
// receive was called, is left to be taken; equal priorities never overtake; urgent traffic is not
// held up by bulk.
#include <algorithm>
#include <array>
#include <future>
#include <memory>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

using PriorityTest = ChannelTest;

MAILRAIL_OVER_CHANNELS(PriorityTest);

TEST_P(PriorityTest, TheUrgentMessageThatIsSentLastIsReceivedFirst) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  std::vector<Outgoing> messages = Numbered(200);
  messages.push_back({.number = 999, .priority = kMaxPriority});
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    EXPECT_THAT(peer().Send(channel.sender, messages), IsOk());
    absl::SleepFor(travel);
    const ReceiveResult result = self().Receive(channel.receiver, messages.size());
    EXPECT_THAT(result, IsOk());
    return !result.messages.empty() && result.messages.front().number == 999;
  }));
}

TEST_P(PriorityTest, WaitingMessagesAreReceivedBestFirst) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  std::vector<Outgoing> messages;
  for (int i = 0; i < 5; ++i) {
    for (int priority = 0; priority < kPriorityCount; ++priority) {
      messages.push_back({.bytes = Random(300), .priority = priority});
    }
  }
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    std::shuffle(messages.begin(), messages.end(), generator());
    EXPECT_THAT(peer().Send(channel.sender, messages), IsOk());
    absl::SleepFor(travel);
    const ReceiveResult result = self().Receive(channel.receiver, messages.size());
    EXPECT_THAT(result, IsOk());
    return result.messages.size() == messages.size() &&
           std::is_sorted(result.messages.begin(), result.messages.end(),
                          [](const Received& a, const Received& b) {
                            return a.priority > b.priority ||
                                   (a.priority == b.priority && a.sequence < b.sequence);
                          });
  }));
}

TEST_P(PriorityTest, ABatchIsReceivedBestFirst) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  std::vector<Outgoing> messages = Numbered(64);
  for (Outgoing& message : messages) message.priority = static_cast<int>(message.number % 32);
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    EXPECT_THAT(peer().Send(channel.sender, messages), IsOk());
    absl::SleepFor(travel);
    const ReceiveResult result =
        self().Receive(channel.receiver, messages.size(), Patience(), {.batch = messages.size()});
    EXPECT_THAT(result, IsOk());
    return result.messages.size() == messages.size() &&
           std::is_sorted(
               result.messages.begin(), result.messages.end(),
               [](const Received& a, const Received& b) { return a.priority > b.priority; });
  }));
}

TEST_P(PriorityTest, TheBestOfSeveralSendersIsReceivedFirst) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  std::vector<std::unique_ptr<Party>> senders;
  std::vector<Handle> handles;
  for (int i = 0; i < 4; ++i) {
    senders.push_back(NewPeer());
    ASSERT_OK_AND_ASSIGN(handle, route() == Route::kInbox
                                     ? senders.back()->Connect(self().id())
                                     : senders.back()->ConnectMailbox(channel.mailbox));
    handles.push_back(handle);
  }
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    constexpr size_t kMessages = 64;
    for (size_t i = 0; i < kMessages; ++i) {
      const size_t sender = Random(senders.size());
      const int priority = static_cast<int>(Random(kPriorityCount));
      EXPECT_THAT(senders[sender]->Send(handles[sender], {{.priority = priority}}), IsOk());
    }
    absl::SleepFor(travel);
    const ReceiveResult result = self().Receive(channel.receiver, kMessages);
    EXPECT_THAT(result, IsOk());
    return result.messages.size() == kMessages &&
           std::is_sorted(
               result.messages.begin(), result.messages.end(),
               [](const Received& a, const Received& b) { return a.priority > b.priority; });
  }));
}

// Bulk that has used up all its room and window, and stays where it is.
TEST_P(PriorityTest, AnUrgentMessageOvertakesBulkThatIsStuck) {
  ASSERT_OK_AND_ASSIGN(channel, Open({.max_message_bytes = 100000, .capacity_messages = 50}));
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    const SendResult bulk = peer().Send(channel.sender, Numbered(100000, {.bytes = 60000}),
                                        absl::Now() + absl::Milliseconds(300));
    EXPECT_THAT(bulk, HasCode(absl::StatusCode::kDeadlineExceeded));
    EXPECT_THAT(peer().Send(channel.sender, {{.number = 7, .priority = kUrgentPriority}},
                            absl::InfinitePast()),
                IsOk());
    absl::SleepFor(travel);
    const ReceiveResult result = self().Receive(channel.receiver, bulk.sent + 1);
    EXPECT_THAT(result, IsOk());
    return !result.messages.empty() && result.messages.front().priority == kUrgentPriority;
  }));
}

// What two senders send, and how far each has come: the ledger counts what their sends returned
// for, so what a receive finds counted must be there or be received already.
class Offers {
 public:
  Offers(const Ledger& ledger, uint32_t page, std::vector<Outgoing> messages)
      : ledger_(ledger), page_(page), messages_(std::move(messages)) {}

  const std::vector<Outgoing>& messages() const { return messages_; }

  // Takes note of what has been sent by now.
  void Look() {
    for (const size_t sent = ledger_.Count(page_); seen_ < sent; ++seen_) {
      ++waiting_[static_cast<size_t>(messages_[seen_].priority)];
    }
  }

  // The best priority that must be there; -1: none.
  int Best() const {
    for (int priority = kMaxPriority; priority >= 0; --priority) {
      if (waiting_[static_cast<size_t>(priority)] > 0) return priority;
    }
    return -1;
  }

  void Take(int priority) { --waiting_[static_cast<size_t>(priority)]; }

 private:
  const Ledger& ledger_;
  const uint32_t page_;
  const std::vector<Outgoing> messages_;
  size_t seen_ = 0;
  // Below zero: received before it was seen to be sent.
  std::array<int, kPriorityCount> waiting_{};
};

TEST_P(PriorityTest, NoReceiveOverlooksABetterMessageThatWasSentBefore) {
  constexpr size_t kEach = 20000;
  ASSERT_OK_AND_ASSIGN(channel, Open());
  const std::unique_ptr<Party> second = NewPeer();
  ASSERT_OK_AND_ASSIGN(from_second, route() == Route::kInbox
                                        ? second->Connect(self().id())
                                        : second->ConnectMailbox(channel.mailbox));
  std::vector<Offers> offers;
  for (uint32_t page = 1; page <= 2; ++page) {
    std::vector<Outgoing> messages = Numbered(kEach);
    for (Outgoing& message : messages) message.priority = static_cast<int>(Random(4) * 8);
    offers.emplace_back(ledger(), page, std::move(messages));
  }
  auto first_sent = std::async(std::launch::async, [&] {
    return peer().Send(channel.sender, offers[0].messages(), Patience(), {.ledger = 1});
  });
  auto second_sent = std::async(std::launch::async, [&, to = from_second] {
    return second->Send(to, offers[1].messages(), Patience(), {.ledger = 2});
  });
  Receiver& receiver = self().receiver(channel.receiver);
  for (size_t i = 0; i < 2 * kEach; ++i) {
    for (Offers& offer : offers) offer.Look();
    const absl::StatusOr<Message> message = receiver.Receive(Patience());
    ASSERT_THAT(message, IsOk());
    // Across nodes a message may be on its way when its send has returned.
    if (!across_nodes()) {
      ASSERT_GE(message->priority(), std::max(offers[0].Best(), offers[1].Best()))
          << "message " << i;
    }
    offers[message->sender() == second->id()].Take(message->priority());
  }
  EXPECT_THAT(first_sent.get(), IsOk());
  EXPECT_THAT(second_sent.get(), IsOk());
}

}  // namespace
}  // namespace mailrail
