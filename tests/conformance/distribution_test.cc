// Which of the competing receivers of a mailbox gets a message (MailboxOptions::distribution).
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/own_cluster.h"

namespace mailrail {
namespace {

using DistributionTest = ConformanceTest;
using DistributionAfterRestartTest = OwnClusterTest;
MAILRAIL_OVER_TRANSPORTS(DistributionTest);
MAILRAIL_OVER_TRANSPORTS(DistributionAfterRestartTest);

const MailboxOptions kRoundRobin = {.distribution = Distribution::kRoundRobin};
const MailboxOptions kSticky = {.distribution = Distribution::kStickyByKey};

absl::Time Soon() { return absl::Now() + absl::Milliseconds(120); }

// A party that receives from the mailbox.
struct Reader {
  std::unique_ptr<Party> party;
  Handle handle = 0;

  // All that is there for it, in its order.
  std::vector<Received> TakeAll() {
    std::vector<Received> all;
    while (true) {
      const ReceiveResult result = party->Receive(handle, 1, Soon());
      if (!result.status.ok()) return all;
      all.push_back(result.messages[0]);
    }
  }
};

absl::StatusOr<Reader> Open(std::unique_ptr<Party> party, const std::string& name,
                            bool leases = false) {
  const absl::StatusOr<Handle> handle =
      leases ? party->OpenLeasing(name) : party->OpenMailbox(name);
  if (!handle.ok()) return handle.status();
  return Reader{std::move(party), *handle};
}

// What each of them gets, in its order, of so many messages: some may still be on their way.
std::vector<std::vector<Received>> TakeAll(const std::vector<Reader*>& readers, size_t count) {
  std::vector<std::vector<Received>> taken(readers.size());
  size_t received = 0;
  EXPECT_TRUE(Eventually([&] {
    for (size_t i = 0; i < readers.size(); ++i) {
      for (Received& message : readers[i]->TakeAll()) {
        taken[i].push_back(std::move(message));
        ++received;
      }
    }
    return received >= count;
  }));
  EXPECT_EQ(received, count);
  return taken;
}
std::vector<Reader*> Pointers(std::vector<Reader>& readers) {
  std::vector<Reader*> pointers;
  for (Reader& reader : readers) pointers.push_back(&reader);
  return pointers;
}

// `each` messages of each of these keys, in turns.
std::vector<Outgoing> WithKeys(int keys, int each) {
  std::vector<Outgoing> messages = Numbered(static_cast<size_t>(keys * each));
  for (size_t i = 0; i < messages.size(); ++i) {
    messages[i].key = absl::StrCat("key", i % static_cast<size_t>(keys));
  }
  return messages;
}

using Messages = std::map<std::string, std::vector<uint64_t>>;

// The numbers of the messages of each key, in their order.
Messages ByKey(const std::vector<Received>& messages) {
  Messages numbers;
  for (const Received& message : messages) numbers[message.key].push_back(message.number);
  return numbers;
}

TEST_P(DistributionTest, ReceiversThatTakeTurnsGetEquallyMany) {
  constexpr size_t kEach = 40;
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kRoundRobin), IsOk());
    std::vector<Reader> readers;
    for (int i = 0; i < 4; ++i) {
      ASSERT_OK_AND_ASSIGN(reader, Open(i % 2 == 0 ? NewPeer() : NewSelf(), name));
      readers.push_back(std::move(reader));
    }
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    ASSERT_THAT(self().Send(sender, Numbered(kEach * readers.size())), IsOk());
    std::set<uint64_t> received;
    for (Reader& reader : readers) {
      // Each gets its share, though none of the others receives.
      const ReceiveResult share = reader.party->Receive(reader.handle, kEach);
      ASSERT_THAT(share, IsOk());
      for (size_t i = 1; i < kEach; ++i) {
        EXPECT_EQ(share.messages[i].number, share.messages[i - 1].number + readers.size());
      }
      for (const Received& message : share.messages) received.insert(message.number);
      EXPECT_THAT(reader.party->Receive(reader.handle, 1, Soon()),
                  HasCode(absl::StatusCode::kDeadlineExceeded));
    }
    EXPECT_EQ(received.size(), kEach * readers.size());
  }
}

TEST_P(DistributionTest, AllMessagesOfAKeyGoToOneReceiverInTheirOrderWhoeverSendsThem) {
  constexpr int kKeys = 40;
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kSticky), IsOk());
  std::vector<Reader> readers;
  for (int i = 0; i < 4; ++i) {
    ASSERT_OK_AND_ASSIGN(reader, Open(i % 2 == 0 ? NewPeer() : NewSelf(), name));
    readers.push_back(std::move(reader));
  }
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(other, peer().ConnectMailbox(name));
  const std::vector<Outgoing> messages = WithKeys(kKeys, 4);
  ASSERT_THAT(self().Send(sender, messages), IsOk());
  ASSERT_THAT(peer().Send(other, messages), IsOk());
  const std::vector<std::vector<Received>> taken = TakeAll(Pointers(readers), 2 * messages.size());
  std::map<std::string, size_t> reader_of;
  for (size_t i = 0; i < readers.size(); ++i) {
    EXPECT_FALSE(taken[i].empty()) << "no key at all for one of four";
    for (const Received& message : taken[i]) {
      EXPECT_EQ(reader_of.emplace(message.key, i).first->second, i) << message.key;
    }
    for (Party* from : std::vector<Party*>{&self(), &peer()}) {
      for (const auto& [key, numbers] : ByKey(Of(from->id(), taken[i]))) {
        EXPECT_EQ(numbers.size(), 4u) << key;
        EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end())) << key;
      }
    }
  }
  EXPECT_EQ(reader_of.size(), static_cast<size_t>(kKeys));
}

TEST_P(DistributionTest, AReceiverThatJoinsTakesSomeKeysOverAndLeavesTheOthersWhereTheyAre) {
  constexpr int kKeys = 40;
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kSticky), IsOk());
    ASSERT_OK_AND_ASSIGN(first, Open(NewPeer(), name));
    ASSERT_OK_AND_ASSIGN(second, Open(NewSelf(), name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    // All are there when the third joins, but those that the first has received before.
    ASSERT_THAT(self().Send(sender, WithKeys(kKeys, 3)), IsOk());
    const ReceiveResult before = first.party->Receive(first.handle, 1);
    ASSERT_THAT(before, IsOk());
    ASSERT_OK_AND_ASSIGN(third, Open(NewPeer(), name));
    std::vector<Messages> messages;
    for (const std::vector<Received>& taken : TakeAll({&first, &second, &third}, 3 * kKeys - 1)) {
      messages.push_back(ByKey(taken));
      EXPECT_FALSE(messages.back().empty());
    }
    size_t keys = 0;
    for (const Messages& each : messages) {
      for (const auto& [key, numbers] : each) {
        const bool begun = key == before.messages[0].key;
        EXPECT_EQ(numbers.size(), begun ? 2u : 3u) << key;
        EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end())) << key;
        ++keys;
      }
    }
    EXPECT_EQ(keys, static_cast<size_t>(kKeys));
    // And back.
    third.party->Close(third.handle);
    ASSERT_THAT(self().Send(sender, WithKeys(kKeys, 1)), IsOk());
    const auto rest = TakeAll({&first, &second}, kKeys);
    const Messages of_first = ByKey(rest[0]);
    for (const auto& [key, numbers] : messages[0]) EXPECT_TRUE(of_first.contains(key)) << key;
    const Messages of_second = ByKey(rest[1]);
    for (const auto& [key, numbers] : messages[1]) EXPECT_TRUE(of_second.contains(key)) << key;
  }
}

TEST_P(DistributionTest, TheKeysOfAReceiverThatIsKilledGoToTheOthersWithWhatItHeld) {
  constexpr int kKeys = 30;
  for (const bool hold_order : {false, true}) {
    const std::string name = NewName();
    MailboxOptions options = kSticky;
    options.hold_order = hold_order;
    ASSERT_THAT(self().CreateMailbox(name, options), IsOk());
    ASSERT_OK_AND_ASSIGN(killed, Open(NewPeer(), name, /*leases=*/true));
    ASSERT_OK_AND_ASSIGN(lives, Open(NewPeer(), name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    ASSERT_THAT(self().Send(sender, WithKeys(kKeys, 2)), IsOk());
    const ReceiveResult held = killed.party->Receive(killed.handle, 1);
    ASSERT_THAT(held, IsOk());
    std::vector<Received> before = lives.TakeAll();
    EXPECT_LT(before.size(), 2u * kKeys - 1) << "it got what is not its own";
    killed.party->End();
    const ReceiveResult after = lives.party->Receive(lives.handle, 2u * kKeys - before.size());
    ASSERT_THAT(after, IsOk());
    std::vector<Received> all = std::move(before);
    all.insert(all.end(), after.messages.begin(), after.messages.end());
    const Messages of_key = ByKey(all);
    EXPECT_EQ(of_key.size(), static_cast<size_t>(kKeys));
    for (const auto& [key, numbers] : of_key) {
      ASSERT_EQ(numbers.size(), 2u) << key;
      EXPECT_LT(numbers[0], numbers[1]) << key;
    }
    for (const Received& message : after.messages) {
      EXPECT_EQ(message.attempts, message.number == held.messages[0].number ? 1 : 0);
    }
  }
}

TEST_P(DistributionTest, AMessageWithoutAKeyWaitsForNobodyInParticular) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kSticky), IsOk());
  ASSERT_OK_AND_ASSIGN(first, Open(NewPeer(), name));
  ASSERT_OK_AND_ASSIGN(second, Open(NewSelf(), name));
  ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
  for (uint64_t number = 1; number <= 6; ++number) {
    Reader& reader = number % 2 == 0 ? first : second;
    ASSERT_THAT(peer().Send(sender, {{.number = number}}), IsOk());
    const ReceiveResult result = reader.party->Receive(reader.handle, 1);
    ASSERT_THAT(NumbersOf(result.messages), testing::ElementsAre(number));
    EXPECT_EQ(result.messages[0].key, "");
  }
}

TEST_P(DistributionTest, AKeyIsToldToTheReceiverWhateverTheMailboxDoesWithIt) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(to_mailbox, peer().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(to_process, peer().Connect(self().id()));
  const std::string key(3000, 'k');
  ASSERT_THAT(peer().Send(to_mailbox, {{.number = 1, .key = key}}), IsOk());
  ASSERT_THAT(peer().Send(to_process, {{.number = 2, .bytes = 9000, .key = "order 7"}}), IsOk());
  const ReceiveResult of_mailbox = self().Receive(receiver, 1);
  ASSERT_THAT(of_mailbox, IsOk());
  EXPECT_EQ(of_mailbox.messages[0].key, key);
  const ReceiveResult of_inbox = self().Receive(Party::kInbox, 1);
  ASSERT_THAT(of_inbox, IsOk());
  EXPECT_EQ(of_inbox.messages[0].key, "order 7");
  // It counts as headers do.
  EXPECT_THAT(peer().Send(to_mailbox, {{.key = std::string(kMaxHeaderBytes + 1, 'k')}}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_P(DistributionTest, OptionsThatContradictEachOtherAreRefused) {
  for (const MailboxOptions& options : std::vector<MailboxOptions>{
           {.hold_order = true, .distribution = Distribution::kRoundRobin},
           {.policy = ReceivePolicy::kExclusive, .distribution = Distribution::kStickyByKey},
           {.policy = ReceivePolicy::kLink, .distribution = Distribution::kRoundRobin},
           {.distribution = static_cast<Distribution>(3)},
           {.order = static_cast<MailboxOrder>(2)},
           {.cutoff = absl::Milliseconds(9)}}) {
    EXPECT_THAT(self().CreateMailbox(NewName(), options),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
}

TEST_P(DistributionAfterRestartTest, KeysStayWhereTheyWere) {
  constexpr int kKeys = 30;
  ASSERT_THAT(self().CreateMailbox("sticky", kSticky), IsOk());
  std::vector<Reader> readers;
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(reader, Open(i == 1 ? NewSelf() : NewPeer(), "sticky"));
    readers.push_back(std::move(reader));
  }
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox("sticky"));
  std::vector<Messages> before;
  for (int round = 0; round < 2; ++round) {
    std::vector<Messages> now;
    ASSERT_THAT(self().Send(sender, WithKeys(kKeys, 1)), IsOk());
    for (const std::vector<Received>& taken : TakeAll(Pointers(readers), kKeys)) {
      now.push_back(ByKey(taken));
    }
    if (round == 0) {
      before = now;
      cluster().KillProper("alpha");
    } else {
      EXPECT_EQ(now, before);
    }
  }
}

}  // namespace
}  // namespace mailrail
