// Broadcast mailboxes whose senders or agents are killed.
#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/conformance/own_cluster.h"

namespace mailrail {
namespace {

using ::testing::ElementsAreArray;

std::vector<uint64_t> FromTo(uint64_t first, uint64_t last) {
  std::vector<uint64_t> numbers;
  for (uint64_t number = first; number <= last; ++number) numbers.push_back(number);
  return numbers;
}

class KilledSenderTest : public ConformanceTest {};
class BroadcastAfterRestartTest : public OwnClusterTest {};

// One of this process cannot be killed in the midst of a send.
INSTANTIATE_TEST_SUITE_P(, KilledSenderTest,
                         testing::Values(Transport::kTwoProcesses, Transport::kTwoNodes),
                         TransportName);
MAILRAIL_OVER_TRANSPORTS(BroadcastAfterRestartTest);

TEST_P(KilledSenderTest, ReceiversDifferByItsLastMessageAtMost) {
  constexpr uint64_t kMany = 1000000;
  constexpr uint32_t kPage = 1;
  const std::string name = NewName();
  ASSERT_THAT(
      self().CreateMailbox(name, {.capacity_messages = 8, .policy = ReceivePolicy::kBroadcast}),
      IsOk());
  std::vector<Handle> readers;
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(reader, self().OpenMailbox(name));
    readers.push_back(reader);
  }
  ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
  std::thread sending(
      [&, to = sender] { peer().Send(to, Numbered(kMany), Patience(), {.ledger = kPage}); });
  // How many it was told of, once it is dead.
  std::atomic<uint64_t> told{UINT64_MAX};
  std::vector<std::vector<uint64_t>> received(readers.size());
  std::vector<std::thread> receiving;
  for (size_t i = 0; i < readers.size(); ++i) {
    receiving.emplace_back([&, i] {
      const absl::Time deadline = Patience();
      while (true) {
        const bool last = received[i].size() >= told || absl::Now() > deadline;
        const ReceiveResult result =
            self().Receive(readers[i], kMany, absl::Now() + absl::Milliseconds(300));
        for (const uint64_t number : NumbersOf(result.messages)) received[i].push_back(number);
        if (last && result.messages.empty()) return;
      }
    });
  }
  EXPECT_TRUE(Eventually([&] { return ledger().Count(kPage) >= 1000; }));
  peer().End();
  sending.join();
  told = ledger().Count(kPage);
  for (std::thread& thread : receiving) thread.join();
  for (const std::vector<uint64_t>& numbers : received) {
    EXPECT_THAT(numbers, ElementsAreArray(FromTo(1, numbers.size())));
    EXPECT_GE(numbers.size(), told);
    // One that it was not told of yet, and one that it was sending.
    EXPECT_LE(numbers.size(), told + 2);
  }
}

// The numbers in the order in which they came first. What comes once more is to be marked.
std::vector<uint64_t> EachOnce(const std::vector<Received>& received) {
  std::vector<uint64_t> numbers;
  std::set<uint64_t> seen;
  for (const Received& message : received) {
    if (seen.insert(message.number).second) {
      numbers.push_back(message.number);
    } else {
      EXPECT_GT(message.attempts, 0) << message.number;
    }
  }
  return numbers;
}

// Receives until it has so many different ones.
std::vector<Received> ReceiveAll(Party& party, Handle reader, size_t count) {
  std::vector<Received> all;
  std::set<uint64_t> seen;
  while (seen.size() < count) {
    const ReceiveResult result = party.Receive(reader, count - seen.size());
    EXPECT_THAT(result, IsOk());
    if (!result.status.ok()) break;
    for (const Received& message : result.messages) {
      all.push_back(message);
      seen.insert(message.number);
    }
  }
  return all;
}

TEST_P(BroadcastAfterRestartTest, AllGetAllWhenTheAgentIsKilledInTheMiddle) {
  constexpr uint64_t kMessages = 2000;
  for (const bool log : {false, true}) {
    const std::string name = log ? "log" : "news";
    ASSERT_THAT(
        self().CreateMailbox(name, {.capacity_messages = 64,
                                    .policy = ReceivePolicy::kBroadcast,
                                    .order = log ? MailboxOrder::kLog : MailboxOrder::kQueue}),
        IsOk());
    std::vector<std::unique_ptr<Party>> parties;
    parties.push_back(NewSelf());
    parties.push_back(NewPeer());
    parties.push_back(NewSelf());
    parties.push_back(NewPeer());
    std::vector<Handle> readers;
    for (const auto& party : parties) {
      ASSERT_OK_AND_ASSIGN(reader, party->OpenMailbox(name));
      readers.push_back(reader);
    }
    std::vector<std::thread> threads;
    std::atomic<int> sending{2};
    for (size_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        const absl::StatusOr<Handle> sender = parties[i]->ConnectMailbox(name);
        EXPECT_THAT(sender, IsOk());
        if (sender.ok()) {
          EXPECT_THAT(parties[i]->Send(*sender, Numbered(kMessages, {}, 1 + i * kMessages)),
                      IsOk());
        }
        --sending;
      });
    }
    std::vector<std::vector<Received>> received(readers.size());
    for (size_t i = 0; i < readers.size(); ++i) {
      threads.emplace_back(
          [&, i] { received[i] = ReceiveAll(*parties[i], readers[i], 2 * kMessages); });
    }
    // At least once, and again and again while they send.
    for (int kills = 0; kills == 0 || (sending > 0 && kills < 5); ++kills) {
      cluster().KillProper("alpha");
    }
    for (std::thread& thread : threads) thread.join();
    const std::vector<uint64_t> first = EachOnce(received[0]);
    for (const std::vector<Received>& messages : received) {
      const std::vector<uint64_t> numbers = EachOnce(messages);
      for (size_t i = 0; i < 2; ++i) {
        std::vector<uint64_t> of_sender = numbers;
        std::erase_if(of_sender, [i](uint64_t number) { return (number > kMessages) != (i == 1); });
        EXPECT_THAT(of_sender, ElementsAreArray(FromTo(1 + i * kMessages, (i + 1) * kMessages)));
      }
      EXPECT_TRUE(!log || numbers == first) << "not in one order";
    }
  }
}

TEST_P(BroadcastAfterRestartTest, WhoHasOpenedItIsKnownAndWhoIsGoneIsNot) {
  ASSERT_THAT(
      self().CreateMailbox("news", {.capacity_messages = 8, .policy = ReceivePolicy::kBroadcast}),
      IsOk());
  const std::unique_ptr<Party> stays = NewPeer();
  const std::unique_ptr<Party> dies = NewSelf();
  ASSERT_OK_AND_ASSIGN(reader, stays->OpenMailbox("news"));
  ASSERT_THAT(dies->OpenMailbox("news"), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox("news"));
  ASSERT_THAT(self().Send(sender, Numbered(8)), IsOk());
  EndWithoutAgent(dies.get());
  EXPECT_THAT(NumbersOf(stays->Receive(reader, 8).messages), ElementsAreArray(FromTo(1, 8)));
  // One that joins now is known to senders of before, and the dead one has no more to say.
  ASSERT_OK_AND_ASSIGN(late, self().OpenMailbox("news"));
  ASSERT_THAT(self().Send(sender, Numbered(8, {}, 9)), IsOk());
  EXPECT_THAT(NumbersOf(stays->Receive(reader, 8).messages), ElementsAreArray(FromTo(9, 16)));
  const ReceiveResult received = self().Receive(late, 8);
  EXPECT_THAT(received, IsOk());
  EXPECT_THAT(NumbersOf(received.messages), ElementsAreArray(FromTo(9, 16)));
}

}  // namespace
}  // namespace mailrail
