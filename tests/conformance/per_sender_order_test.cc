// A mailbox that promises the order of each sender alone (MailboxOrder::kPerSender).
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using PerSenderOrderTest = ConformanceTest;
MAILRAIL_OVER_TRANSPORTS(PerSenderOrderTest);

const MailboxOptions kPerSender = {.order = MailboxOrder::kPerSender};

struct Side {
  std::unique_ptr<Party> party;
  Handle handle = 0;
};

TEST_P(PerSenderOrderTest, EachSenderKeepsItsOrderAtEachPriority) {
  constexpr size_t kEach = 1000;
  // At home on either side.
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kPerSender), IsOk());
    ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
    std::vector<Side> sides(4);
    std::vector<std::vector<Outgoing>> messages(sides.size());
    for (size_t i = 0; i < sides.size(); ++i) {
      sides[i].party = i % 2 == 0 ? NewPeer() : NewSelf();
      ASSERT_OK_AND_ASSIGN(handle, sides[i].party->ConnectMailbox(name));
      sides[i].handle = handle;
      messages[i] = Numbered(kEach);
      for (Outgoing& message : messages[i]) {
        message.bytes = 8 + Random(500);
        message.priority = Random(4) == 0 ? 5 : 0;
      }
    }
    std::vector<std::thread> threads;
    for (size_t i = 0; i < sides.size(); ++i) {
      threads.emplace_back(
          [&, i] { EXPECT_THAT(sides[i].party->Send(sides[i].handle, messages[i]), IsOk()); });
    }
    const ReceiveResult result = self().Receive(receiver, sides.size() * kEach);
    for (std::thread& thread : threads) thread.join();
    ASSERT_THAT(result, IsOk());
    for (size_t i = 0; i < sides.size(); ++i) {
      ExpectDelivered(Of(sides[i].party->id(), result.messages), messages[i]);
    }
  }
}

// All that the others have sent waits when the last one sends, and its messages are not the last.
TEST_P(PerSenderOrderTest, NoSenderWaitsForAllThatTheOthersHaveSentBefore) {
  constexpr size_t kEach = 100;
  constexpr size_t kOthers = 3;
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name, kPerSender), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  std::vector<Side> sides(kOthers + 1);
  for (Side& side : sides) {
    side.party = NewPeer();
    ASSERT_OK_AND_ASSIGN(handle, side.party->ConnectMailbox(name));
    side.handle = handle;
    ASSERT_THAT(side.party->Send(handle, Numbered(kEach)), IsOk());
  }
  const ReceiveResult result = self().Receive(receiver, sides.size() * kEach);
  ASSERT_THAT(result, IsOk());
  // Whenever one of them has got n messages through, each has nearly as many.
  std::map<uint64_t, size_t> counts;
  for (const Received& message : result.messages) {
    ++counts[message.sender.incarnation()];
    size_t least = counts.size() < sides.size() ? 0 : kEach;
    for (const auto& [sender, count] : counts) least = std::min(least, count);
    EXPECT_LE(counts[message.sender.incarnation()], least + 2);
  }
}

}  // namespace
}  // namespace mailrail
