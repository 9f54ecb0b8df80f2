// Broadcast mailboxes: each receiver gets each message.
#include <algorithm>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

constexpr StatusCode kNothing = StatusCode::kDeadlineExceeded;
constexpr uint32_t kCapacity = 8;
const MailboxOptions kBroadcast = {.policy = ReceivePolicy::kBroadcast};
const MailboxOptions kLog = {.policy = ReceivePolicy::kBroadcast, .order = MailboxOrder::kLog};

MailboxOptions Small(FullPolicy when_full) {
  return {
      .capacity_messages = kCapacity, .when_full = when_full, .policy = ReceivePolicy::kBroadcast};
}

std::vector<uint64_t> FromTo(uint64_t first, uint64_t last) {
  std::vector<uint64_t> numbers;
  for (uint64_t number = first; number <= last; ++number) numbers.push_back(number);
  return numbers;
}

struct Reader {
  Party* party = nullptr;
  Handle handle = 0;

  ReceiveResult Receive(size_t count) const { return party->Receive(handle, count); }
  // Everything that is there.
  std::vector<uint64_t> Rest() const {
    return NumbersOf(
        party->Receive(handle, SIZE_MAX, absl::Now() + absl::Milliseconds(150)).messages);
  }
};

absl::StatusOr<Reader> Open(Party& party, const std::string& name) {
  const absl::StatusOr<Handle> handle = party.OpenMailbox(name);
  if (!handle.ok()) return handle.status();
  return Reader{&party, *handle};
}

class BroadcastTest : public ConformanceTest {
 protected:
  // Messages of all sizes and priorities.
  std::vector<Outgoing> Mixed(size_t count) {
    std::vector<Outgoing> messages = Numbered(count);
    for (Outgoing& message : messages) {
      message.priority = static_cast<int>(Random(3)) * 12;
      message.bytes = Random(10) == 0 ? 2000 : 8 + Random(150);
    }
    return messages;
  }
};

MAILRAIL_OVER_TRANSPORTS(BroadcastTest);

TEST_P(BroadcastTest, EachReceiverGetsEachMessageOfEachSenderInItsOrder) {
  constexpr size_t kMessages = 300;
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kBroadcast), IsOk());
    // Two of them in one process.
    std::vector<Reader> readers;
    for (Party* party : std::vector<Party*>{&self(), &peer(), &self()}) {
      ASSERT_OK_AND_ASSIGN(reader, Open(*party, name));
      readers.push_back(reader);
    }
    std::map<Party*, std::vector<Outgoing>> sent;
    for (Party* party : std::vector<Party*>{&self(), &peer()}) {
      ASSERT_OK_AND_ASSIGN(sender, party->ConnectMailbox(name));
      sent[party] = Mixed(kMessages);
      ASSERT_THAT(party->Send(sender, sent[party]), IsOk());
    }
    for (const Reader& reader : readers) {
      const ReceiveResult received = reader.Receive(2 * kMessages);
      ASSERT_THAT(received, IsOk());
      for (const auto& [party, messages] : sent) {
        ExpectDelivered(Of(party->id(), received.messages), messages);
      }
      EXPECT_THAT(reader.Rest(), IsEmpty());
    }
  }
}

TEST_P(BroadcastTest, BatchesAndClaimsComeToAllAlike) {
  constexpr size_t kMessages = 50;
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kBroadcast), IsOk());
  ASSERT_OK_AND_ASSIGN(here, Open(self(), name));
  ASSERT_OK_AND_ASSIGN(there, Open(peer(), name));
  for (Party* party : std::vector<Party*>{&self(), &peer()}) {
    ASSERT_OK_AND_ASSIGN(sender, party->ConnectMailbox(name));
    for (const party::Way way : {party::BATCH, party::CLAIM}) {
      const std::vector<Outgoing> messages = Numbered(kMessages, {.bytes = 3000});
      EXPECT_EQ(party->Send(sender, messages, Patience(), {.way = way}).sent, kMessages);
      for (const Reader& reader : {here, there}) {
        const ReceiveResult received = reader.Receive(kMessages);
        ASSERT_THAT(received, IsOk());
        EXPECT_EQ(NumbersOf(received.messages), NumbersOf(messages));
        for (const Received& message : received.messages) EXPECT_TRUE(message.intact);
      }
    }
  }
}

TEST_P(BroadcastTest, AReceiverThatJoinsLaterGetsWhatIsSentFromThenOn) {
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kBroadcast), IsOk());
    ASSERT_OK_AND_ASSIGN(first, Open(self(), name));
    std::map<Party*, Handle> senders;
    for (Party* party : std::vector<Party*>{&self(), &peer()}) {
      ASSERT_OK_AND_ASSIGN(sender, party->ConnectMailbox(name));
      senders[party] = sender;
      ASSERT_THAT(party->Send(sender, Numbered(3)), IsOk());
    }
    // All that was sent so far is there.
    ASSERT_THAT(first.Receive(6), IsOk());
    ASSERT_OK_AND_ASSIGN(second, Open(peer(), name));
    ASSERT_OK_AND_ASSIGN(third, Open(self(), name));
    for (const auto& [party, sender] : senders) {
      ASSERT_THAT(party->Send(sender, Numbered(3, {}, 4)), IsOk());
    }
    for (const Reader& reader : {first, second, third}) {
      const ReceiveResult received = reader.Receive(6);
      ASSERT_THAT(received, IsOk());
      for (const auto& [party, sender] : senders) {
        EXPECT_THAT(NumbersOf(Of(party->id(), received.messages)), ElementsAre(4, 5, 6));
      }
      EXPECT_THAT(reader.Rest(), IsEmpty());
    }
  }
}

TEST_P(BroadcastTest, WhatIsSentWhileNobodyReceivesIsForNobody) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kBroadcast), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_THAT(self().Send(sender, Numbered(100, {.bytes = 500})), IsOk());
  const absl::StatusOr<MailboxState> state = self().process().StatMailbox(name);
  ASSERT_THAT(state, IsOk());
  EXPECT_EQ(state->waiting, 0u);
  EXPECT_EQ(state->options.policy, ReceivePolicy::kBroadcast);
  ASSERT_OK_AND_ASSIGN(reader, Open(peer(), name));
  EXPECT_THAT(reader.Rest(), IsEmpty());
  ASSERT_THAT(self().Send(sender, Numbered(2, {}, 101)), IsOk());
  EXPECT_THAT(NumbersOf(reader.Receive(2).messages), ElementsAre(101, 102));
}

TEST_P(BroadcastTest, OneThatClosesOrDiesHoldsNobodyUp) {
  constexpr uint64_t kMessages = 5 * kCapacity;
  for (const bool dies : {false, true}) {
    for (Party* home : std::vector<Party*>{&self(), &peer()}) {
      const std::string name = NewName();
      ASSERT_THAT(home->CreateMailbox(name, Small(FullPolicy::kBlock)), IsOk());
      ASSERT_OK_AND_ASSIGN(stays, Open(self(), name));
      const std::unique_ptr<Party> goes = NewPeer();
      ASSERT_OK_AND_ASSIGN(leaving, Open(*goes, name));
      ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
      SendResult sent;
      std::thread sending([&, to = sender] { sent = self().Send(to, Numbered(kMessages)); });
      // Both have received some, and then the one that goes holds the sender up.
      ReceiveResult received = stays.Receive(kCapacity);
      EXPECT_THAT(received, IsOk());
      EXPECT_THAT(NumbersOf(leaving.Receive(2).messages), ElementsAre(1, 2));
      dies ? goes->End() : goes->Close(leaving.handle);
      const ReceiveResult rest = stays.Receive(kMessages - kCapacity);
      sending.join();
      EXPECT_THAT(sent, IsOk());
      ASSERT_THAT(rest, IsOk());
      for (const Received& message : rest.messages) received.messages.push_back(message);
      EXPECT_THAT(NumbersOf(received.messages), ElementsAreArray(FromTo(1, kMessages)));
    }
  }
}

// Of two receivers one receives nothing, here or on the other side.
TEST_P(BroadcastTest, WhenSendersWaitASlowReceiverHoldsThemUpAndAllGetTheSame) {
  for (const FullPolicy policy : {FullPolicy::kBlock, FullPolicy::kReject}) {
    for (Party* slow_party : std::vector<Party*>{&self(), &peer()}) {
      const std::string name = NewName();
      ASSERT_THAT(self().CreateMailbox(name, Small(policy)), IsOk());
      ASSERT_OK_AND_ASSIGN(fast, Open(self(), name));
      ASSERT_OK_AND_ASSIGN(slow, Open(*slow_party, name));
      ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
      for (const size_t bytes : {size_t{8}, size_t{3000}}) {
        const uint64_t first = bytes == 8 ? 1 : 100;
        // Of what a receiver elsewhere has received its node soon tells.
        for (uint64_t number = first; number < first + kCapacity; ++number) {
          ASSERT_TRUE(Eventually([&] {
            return self().Send(sender, {{.number = number, .bytes = bytes}}).status.ok();
          }));
        }
        EXPECT_THAT(fast.Receive(kCapacity), IsOk());
        const SendResult more = self().Send(
            sender, {{.number = 99, .bytes = bytes}},
            policy == FullPolicy::kBlock ? absl::Now() + absl::Milliseconds(120) : Patience());
        EXPECT_EQ(more.sent, 0u);
        EXPECT_THAT(more, HasCode(policy == FullPolicy::kBlock ? kNothing
                                                               : StatusCode::kResourceExhausted));
        // Nobody got it.
        EXPECT_THAT(fast.Rest(), IsEmpty());
        // Urgent ones have room of their own.
        EXPECT_THAT(self().Send(sender, {{.number = 98, .bytes = bytes, .priority = 30}}), IsOk());
        std::vector<uint64_t> expected = FromTo(first, first + kCapacity - 1);
        expected.insert(expected.begin(), 98);
        EXPECT_THAT(NumbersOf(slow.Receive(kCapacity + 1).messages), ElementsAreArray(expected));
        EXPECT_THAT(NumbersOf(fast.Receive(1).messages), ElementsAre(98));
      }
    }
  }
}

TEST_P(BroadcastTest, WhereTheOldestAreDroppedASlowReceiverHasTheLatest) {
  constexpr uint64_t kMessages = 50;
  for (Party* slow_party : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(self().CreateMailbox(name, Small(FullPolicy::kDropOldest)), IsOk());
    ASSERT_OK_AND_ASSIGN(fast, Open(self(), name));
    ASSERT_OK_AND_ASSIGN(slow, Open(*slow_party, name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    for (uint64_t number = 1; number <= kMessages; ++number) {
      ASSERT_THAT(self().Send(sender, {{.number = number, .bytes = 200}}), IsOk());
      ASSERT_THAT(NumbersOf(fast.Receive(1).messages), ElementsAre(number));
    }
    EXPECT_THAT(NumbersOf(slow.Receive(kCapacity).messages),
                ElementsAreArray(FromTo(kMessages - kCapacity + 1, kMessages)));
  }
}

TEST_P(BroadcastTest, WhereTheNewestAreDroppedASlowReceiverHasTheFirst) {
  constexpr uint64_t kMessages = 50;
  for (Party* slow_party : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(self().CreateMailbox(name, Small(FullPolicy::kDropNewest)), IsOk());
    ASSERT_OK_AND_ASSIGN(fast, Open(self(), name));
    ASSERT_OK_AND_ASSIGN(slow, Open(*slow_party, name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    for (uint64_t number = 1; number <= kMessages; ++number) {
      ASSERT_THAT(self().Send(sender, {{.number = number}}), IsOk());
      ASSERT_THAT(NumbersOf(fast.Receive(1).messages), ElementsAre(number));
    }
    EXPECT_THAT(slow.Rest(), ElementsAreArray(FromTo(1, kCapacity)));
  }
}

TEST_P(BroadcastTest, WhatAReceiverGivesBackComesToItAgainAndToNoOther) {
  const std::string dead = NewName();
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  ASSERT_THAT(
      self().CreateMailbox(
          name, {.max_attempts = 2, .dead_letter = dead, .policy = ReceivePolicy::kBroadcast}),
      IsOk());
  ASSERT_OK_AND_ASSIGN(other, Open(self(), name));
  ASSERT_OK_AND_ASSIGN(leasing, peer().OpenLeasing(name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_THAT(self().Send(sender, Numbered(2)), IsOk());
  for (int attempts = 0; attempts < 2; ++attempts) {
    const ReceiveResult received = peer().Receive(leasing, 1);
    ASSERT_THAT(received, IsOk());
    EXPECT_EQ(received.messages[0].number, 1u);
    EXPECT_EQ(received.messages[0].attempts, attempts);
    EXPECT_THAT(peer().GiveBack(1), IsOk());
  }
  EXPECT_THAT(NumbersOf(peer().Receive(leasing, 1).messages), ElementsAre(2));
  EXPECT_THAT(peer().Acknowledge(2), IsOk());
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  const ReceiveResult letter = self().Receive(letters, 1);
  ASSERT_THAT(letter, IsOk());
  EXPECT_EQ(letter.messages[0].number, 1u);
  EXPECT_EQ(letter.messages[0].dead_letter_mailbox, name);
  EXPECT_EQ(letter.messages[0].sender, self().id());
  const ReceiveResult received = other.Receive(2);
  EXPECT_THAT(NumbersOf(received.messages), ElementsAre(1, 2));
  for (const Received& message : received.messages) EXPECT_EQ(message.attempts, 0);
  EXPECT_THAT(other.Rest(), IsEmpty());
}

TEST_P(BroadcastTest, DelayTimeToLiveHeadersAndCallsAreAsOfAnyMailbox) {
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kBroadcast), IsOk());
    ASSERT_OK_AND_ASSIGN(here, Open(self(), name));
    ASSERT_OK_AND_ASSIGN(there, Open(peer(), name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    ASSERT_THAT(
        self().Send(sender, {{.number = 1, .delay = absl::Milliseconds(300)},
                             {.number = 2, .time_to_live = absl::Milliseconds(1)},
                             {.number = 3, .headers = {{"kind", "news"}}, .reply_to = "desk"}}),
        IsOk());
    // What is tested is that time passes: the second has lived for longer than it may.
    absl::SleepFor(absl::Milliseconds(5));
    for (const Reader& reader : {here, there}) {
      // One whose time is up is received by nobody; between nodes it may come before.
      std::map<uint64_t, Received> received;
      while (!received.contains(1) || !received.contains(3)) {
        const ReceiveResult next = reader.Receive(1);
        ASSERT_THAT(next, IsOk());
        const bool first = received.emplace(next.messages[0].number, next.messages[0]).second;
        EXPECT_TRUE(first);
      }
      EXPECT_TRUE(across_nodes() || received.size() == 2);
      EXPECT_THAT(received[3].headers, ElementsAre(Header{"kind", "news"}));
      EXPECT_EQ(received[3].reply_to, "desk");
    }
    std::thread answering([&] { EXPECT_THAT(peer().Answer(there.handle, 1), IsOk()); });
    const absl::StatusOr<Received> answer = self().Call(sender, {.number = 7});
    answering.join();
    ASSERT_THAT(answer, IsOk());
    EXPECT_EQ(answer->number, 7u);
    EXPECT_EQ(answer->sender, peer().id());
    EXPECT_THAT(NumbersOf(here.Receive(1).messages), ElementsAre(7));
  }
}

TEST_P(BroadcastTest, ACallThatNobodyReceivesFailsAtOnce) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kBroadcast), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  EXPECT_THAT(self().Call(sender, {.number = 1}), HasCode(StatusCode::kUnavailable));
  ASSERT_OK_AND_ASSIGN(reader, peer().OpenMailbox(name));
  peer().Close(reader);
  EXPECT_TRUE(Eventually([&] {
    return absl::IsUnavailable(
        self().Call(sender, {.number = 1}, absl::Now() + absl::Milliseconds(100)).status());
  }));
}

TEST_P(BroadcastTest, AllAreToldThatItIsDestroyed) {
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kBroadcast), IsOk());
    ASSERT_OK_AND_ASSIGN(here, Open(self(), name));
    ASSERT_OK_AND_ASSIGN(there, Open(peer(), name));
    ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
    ReceiveResult told;
    std::thread waiting([&] { told = self().Receive(here.handle, 1); });
    EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
    ASSERT_THAT(peer().DestroyMailbox(name), IsOk());
    waiting.join();
    EXPECT_THAT(told, HasCode(StatusCode::kUnavailable));
    EXPECT_THAT(there.Receive(1), HasCode(StatusCode::kUnavailable));
    EXPECT_TRUE(Eventually(
        [&] { return absl::IsUnavailable(self().Send(sender, {{.number = 1}}).status); }));
    EXPECT_THAT(self().OpenMailbox(name), HasCode(StatusCode::kNotFound));
  }
}

TEST_P(BroadcastTest, OptionsThatMakeNoSenseAreRefused) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kBroadcast), IsOk());
  ASSERT_THAT(self().CreateMailbox(NewName(), {.dead_letter = name}),
              HasCode(StatusCode::kInvalidArgument));
  ASSERT_THAT(self().CreateMailbox(NewName(), {.order = MailboxOrder::kLog}),
              HasCode(StatusCode::kInvalidArgument));
}

// Several senders and receivers at once: the receivers' sequences are compared.
TEST_P(BroadcastTest, WithALogAllReceiversGetAllMessagesInOneOrder) {
  constexpr size_t kMessages = 400;
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    MailboxOptions options = kLog;
    // They wait for room, too.
    options.capacity_messages = 64;
    ASSERT_THAT(home->CreateMailbox(name, options), IsOk());
    std::vector<std::unique_ptr<Party>> parties;
    std::vector<Reader> readers;
    for (int i = 0; i < 2; ++i) {
      parties.push_back(NewSelf());
      parties.push_back(NewPeer());
    }
    for (const auto& party : parties) {
      ASSERT_OK_AND_ASSIGN(reader, Open(*party, name));
      readers.push_back(reader);
    }
    std::vector<std::thread> threads;
    for (size_t i = 0; i < parties.size(); ++i) {
      threads.emplace_back([&, i] {
        const absl::StatusOr<Handle> sender = parties[i]->ConnectMailbox(name);
        ASSERT_THAT(sender, IsOk());
        EXPECT_THAT(parties[i]->Send(*sender, Numbered(kMessages, {}, 1000 * i)), IsOk());
      });
    }
    std::vector<ReceiveResult> received(readers.size());
    for (size_t i = 0; i < readers.size(); ++i) {
      threads.emplace_back([&, i] { received[i] = readers[i].Receive(4 * kMessages); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const ReceiveResult& result : received) {
      ASSERT_THAT(result, IsOk());
      EXPECT_TRUE(NumbersOf(result.messages) == NumbersOf(received[0].messages));
    }
    for (size_t i = 0; i < parties.size(); ++i) {
      EXPECT_THAT(NumbersOf(Of(parties[i]->id(), received[0].messages)),
                  ElementsAreArray(FromTo(1000 * i, 1000 * i + kMessages - 1)));
    }
  }
}

}  // namespace
}  // namespace mailrail
