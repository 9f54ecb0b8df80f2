// OutgoingLane and ReceiveQueue together, over lanes of both kinds.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/mailbox/test_channel.h"
#include "core/message/prefix.h"

namespace mailrail {
namespace {

TEST(MailboxTest, LanesOfOneMailboxAreOneQueueInTheOrderOfSends) {
  TestChannel channel;
  MailboxQueue receiver(1);
  const auto a = channel.AddCells({&receiver});
  const auto b = channel.AddCells({&receiver});
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(TrySend(i % 3 == 0 ? *a : *b, 0, std::to_string(i)).ok());
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Receive(receiver, channel), std::to_string(i));
  EXPECT_EQ(Receive(receiver, channel), "(nothing)");
}

TEST(MailboxTest, HigherPrioritiesGoFirstAndEqualOnesKeepTheirOrder) {
  TestChannel channel;
  MailboxQueue receiver(1);
  const auto lane = channel.AddCells({&receiver});
  for (const auto& [priority, body] : std::vector<std::pair<int, std::string>>{
           {0, "a"}, {31, "b"}, {7, "c"}, {31, "d"}, {0, "e"}, {7, "f"}}) {
    ASSERT_TRUE(TrySend(*lane, priority, body).ok());
  }
  for (const char* body : {"b", "d", "c", "f", "a", "e"}) {
    EXPECT_EQ(Receive(receiver, channel), body);
  }
}

TEST(MailboxTest, AFullMailboxWaitsOrRejectsAndTakesMoreWhenRoomIsBack) {
  MailboxOptions options;
  options.capacity_messages = 3;
  for (const FullPolicy policy : {FullPolicy::kBlock, FullPolicy::kReject}) {
    options.when_full = policy;
    TestChannel channel(options);
    MailboxQueue receiver(1);
    const auto lane = channel.AddCells({&receiver});
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(TrySend(*lane, 0, "x").ok());
    EXPECT_EQ(TrySend(*lane, 0, "x").code(), policy == FullPolicy::kBlock
                                                 ? absl::StatusCode::kDeadlineExceeded
                                                 : absl::StatusCode::kResourceExhausted);
    // Another priority has room of its own.
    EXPECT_TRUE(TrySend(*lane, 24, "urgent").ok());
    EXPECT_EQ(Receive(receiver, channel), "urgent");
    EXPECT_EQ(Receive(receiver, channel), "x");
    EXPECT_TRUE(TrySend(*lane, 0, "x").ok());
  }
}

TEST(MailboxTest, ABlockedSenderGoesOnWhenAReceiverMakesRoom) {
  MailboxOptions options;
  options.capacity_messages = 1;
  TestChannel channel(options);
  MailboxQueue receiver(1);
  const auto lane = channel.AddCells({&receiver});
  constexpr int kMessages = 500;
  std::thread sender([&] {
    for (int i = 0; i < kMessages; ++i) {
      EXPECT_TRUE(lane->Send(0, {{}, std::to_string(i)}, absl::InfiniteFuture()).ok());
    }
  });
  for (int i = 0; i < kMessages;) {
    const std::string body = Receive(receiver, channel);
    if (body == "(nothing)") continue;
    EXPECT_EQ(body, std::to_string(i++));
  }
  sender.join();
}

TEST(MailboxTest, CompetingReceiversTakeEachMessageOnce) {
  TestChannel channel;
  MailboxQueue first(1), second(2);
  const auto a = channel.AddCells({&first, &second}, 100);
  const auto b = channel.AddCells({&first, &second}, 101);
  constexpr int kMessages = 20000;
  std::vector<std::atomic<int>> seen(2 * kMessages);
  std::atomic<int> taken{0};
  const auto send = [&](OutgoingLane& lane, int begin) {
    for (int i = begin; i < begin + kMessages; ++i) {
      EXPECT_TRUE(lane.Send(i % 2, {{}, std::to_string(i)}, absl::InfiniteFuture()).ok());
    }
  };
  const auto receive = [&](MailboxQueue& queue) {
    while (taken.load() < 2 * kMessages) {
      const std::string body = Receive(queue, channel);
      if (body == "(nothing)") continue;
      ++seen[static_cast<size_t>(std::stoi(body))];
      ++taken;
    }
  };
  std::thread threads[] = {
      std::thread([&] { send(*a, 0); }), std::thread([&] { send(*b, kMessages); }),
      std::thread([&] { receive(first); }), std::thread([&] { receive(second); })};
  for (std::thread& thread : threads) thread.join();
  for (const std::atomic<int>& count : seen) EXPECT_EQ(count.load(), 1);
}

TEST(MailboxTest, OfAnExclusiveMailboxOnlyTheHolderReceives) {
  TestChannel channel;
  MailboxQueue first(1), second(2);
  first.RequireHolder(1);
  second.RequireHolder(2);
  const auto lane = channel.AddCells({&first, &second});
  for (const char* body : {"a", "b"}) ASSERT_TRUE(TrySend(*lane, 0, body).ok());
  for (MailboxQueue* queue : {&first, &second}) {
    EXPECT_EQ(Receive(*queue, channel), "(nothing)");
    EXPECT_FALSE(queue->MayHave(channel.control()));
  }
  channel.control().holder.store(1);
  EXPECT_TRUE(first.MayHave(channel.control()));
  EXPECT_FALSE(second.MayHave(channel.control()));
  EXPECT_EQ(Receive(second, channel), "(nothing)");
  EXPECT_EQ(Receive(first, channel), "a");
  channel.control().holder.store(2);
  EXPECT_EQ(Receive(first, channel), "(nothing)");
  EXPECT_EQ(Receive(second, channel), "b");
  // Who waits for the right keeps up with lanes that join and end.
  channel.AddCells({&first}, 101);
  const uint32_t joined = channel.control().members_version.load();
  EXPECT_EQ(Receive(first, channel), "(nothing)");
  EXPECT_TRUE(first.HasLaneOf(ProcessId("test", 101, joined)));
  first.End(joined, joined + 1);
  channel.control().members_version.store(joined + 1);
  EXPECT_FALSE(first.MayHave(channel.control()));
  EXPECT_FALSE(first.HasLaneOf(ProcessId("test", 101, joined)));
  // It is not told of one that it cannot know, but of the end.
  channel.AddCells({});
  EXPECT_FALSE(first.MayHave(channel.control()));
  channel.Close(CloseReason::kDestroyed);
  EXPECT_TRUE(first.MayHave(channel.control()));
}

// Who loses the right in the midst of a receive has the message, or gives it back.
TEST(MailboxTest, NoMessageIsLostOrDoubledWhenTheExclusiveRightMoves) {
  constexpr int kMessages = 20000;
  TestChannel channel;
  MailboxQueue queues[] = {MailboxQueue(1), MailboxQueue(2)};
  for (uint32_t i = 0; i < 2; ++i) queues[i].RequireHolder(i + 1);
  const auto lane = channel.AddCells({&queues[0], &queues[1]});
  std::vector<std::atomic<int>> seen(kMessages);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      while (taken.load() < kMessages) {
        const std::string body = Receive(queues[i], channel);
        if (body == "(nothing)") continue;
        ++seen[static_cast<size_t>(std::stoi(body))];
        ++taken;
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < kMessages; ++i) {
      EXPECT_TRUE(lane->Send(i % 2, {{}, std::to_string(i)}, absl::InfiniteFuture()).ok());
    }
  });
  for (uint32_t turn = 0; taken.load() < kMessages; ++turn) {
    channel.control().holder.store(turn % 2 + 1);
    std::this_thread::yield();
    channel.control().holder.store(0);
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::atomic<int>& count : seen) EXPECT_EQ(count.load(), 1);
}

TEST(MailboxTest, AReceiverThatDoesNotKnowOfALaneSaysThatItIsBehind) {
  TestChannel channel;
  MailboxQueue receiver(1);
  const auto lane = channel.AddCells({});
  ASSERT_TRUE(TrySend(*lane, 0, "x").ok());
  EXPECT_EQ(Receive(receiver, channel), "(behind)");
  receiver.Reach(channel.control().members_version.load());
  EXPECT_EQ(Receive(receiver, channel), "(nothing)");
}

TEST(MailboxTest, ALeaseIsHandedOutAgainWhenItIsGivenBackAndNotWhenItIsReceived) {
  TestChannel channel;
  MailboxQueue first(1), second(2);
  const auto lane = channel.AddCells({&first, &second});
  ASSERT_TRUE(TrySend(*lane, 0, "one").ok());
  ASSERT_TRUE(TrySend(*lane, 0, "two").ok());
  Lease lease;
  ASSERT_EQ(first.TakeLease(channel.control(), &lease), Taken::kMessage);
  EXPECT_EQ(first.HeldLeases().size(), 1u);
  EXPECT_TRUE(first.Finish(lease, MailboxQueue::Outcome::kReturned));
  Message message;
  ASSERT_EQ(second.Take(channel.control(), nullptr, &message), Taken::kMessage);
  EXPECT_EQ(message.body(), "one");
  EXPECT_TRUE(message.redelivered());
  ASSERT_EQ(first.TakeLease(channel.control(), &lease), Taken::kMessage);
  EXPECT_TRUE(first.Finish(lease, MailboxQueue::Outcome::kReceived));
  EXPECT_FALSE(first.Finish(lease, MailboxQueue::Outcome::kReceived));
  EXPECT_EQ(Receive(second, channel), "(nothing)");
}

TEST(MailboxTest, WhatIsSentToAClosedMailboxIsTakenBackUnlessItWasReceived) {
  TestChannel channel;
  MailboxQueue receiver(1);
  const auto lane = channel.AddCells({&receiver});
  ASSERT_TRUE(TrySend(*lane, 0, "before").ok());
  channel.Close(CloseReason::kDestroyed);
  EXPECT_EQ(TrySend(*lane, 0, "after").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Receive(receiver, channel), "before");
  EXPECT_EQ(Receive(receiver, channel), "(nothing)");
}

TEST(MailboxTest, ABlockedSenderReturnsWhenTheDestinationCloses) {
  MailboxOptions options;
  options.capacity_messages = 1;
  TestChannel channel(options);
  const auto lane = channel.AddCells({});
  ASSERT_TRUE(TrySend(*lane, 0, "x").ok());
  std::thread sender([&] {
    EXPECT_EQ(lane->Send(0, {{}, "y"}, absl::InfiniteFuture()).code(),
              absl::StatusCode::kUnavailable);
  });
  channel.Close(CloseReason::kDestroyed);
  sender.join();
}

TEST(MailboxTest, MessagesThatBreakTheMailboxesRulesAreRefused) {
  MailboxOptions options;
  options.max_message_bytes = 8;
  options.fixed_size = true;
  TestChannel channel(options);
  const auto lane = channel.AddCells({});
  EXPECT_TRUE(TrySend(*lane, 0, "12345678").ok());
  for (const char* body : {"", "1234567", "123456789"}) {
    EXPECT_EQ(TrySend(*lane, 0, body).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(TrySend(*lane, 32, "12345678").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(TrySend(*lane, -1, "12345678").code(), absl::StatusCode::kInvalidArgument);
}

TEST(MailboxTest, AReceiverThatHasReadAheadIsNotBehind) {
  TestChannel channel;
  MailboxQueue receiver(1);
  // The agent tells of lanes before it changes the version.
  receiver.Reach(channel.control().members_version.load() + 5);
  const auto lane = channel.AddCells({&receiver});
  ASSERT_TRUE(TrySend(*lane, 0, "x").ok());
  EXPECT_EQ(Receive(receiver, channel), "x");
  EXPECT_EQ(Receive(receiver, channel), "(nothing)");
  EXPECT_FALSE(receiver.MayHave(channel.control()));
}

TEST(MailboxTest, AMessageThatWasGivenBackUnseenIsMarkedOnlyWhenTheNextHasGoneBefore) {
  TestChannel channel;
  MailboxQueue first(1), second(2);
  const auto lane = channel.AddCells({&first, &second});
  for (const char* body : {"one", "two"}) ASSERT_TRUE(TrySend(*lane, 0, body).ok());
  Lease lease;
  Message message;
  for (const bool overtaken : {false, true}) {
    ASSERT_EQ(first.TakeLease(channel.control(), &lease), Taken::kMessage);
    if (overtaken) {
      EXPECT_EQ(Receive(second, channel), "two");
    }
    ASSERT_TRUE(first.Finish(lease, MailboxQueue::Outcome::kWithdrawn));
    if (!overtaken) {
      Lease again;
      ASSERT_EQ(second.TakeLease(channel.control(), &again), Taken::kMessage);
      EXPECT_EQ(again.attempts, 0u);
      ASSERT_TRUE(second.Finish(again, MailboxQueue::Outcome::kWithdrawn));
    }
  }
  ASSERT_EQ(second.Take(channel.control(), nullptr, &message), Taken::kMessage);
  EXPECT_EQ(message.body(), "one");
  EXPECT_TRUE(message.redelivered());
}

TEST(MailboxTest, OnlyTheAgentMayNameAnotherSender) {
  const ProcessId other("other", 42, 7);
  const std::string prefix = EncodePrefix({.sender = other});
  for (const bool by_agent : {false, true}) {
    for (const bool to_inbox : {false, true}) {
      TestChannel channel;
      MailboxQueue mailbox(1);
      InboxQueue inbox;
      const auto lane = to_inbox ? channel.AddRing(&inbox, ProcessId("test", 1, 1), by_agent)
                                 : channel.AddCells({&mailbox}, 100, by_agent);
      ReceiveQueue& queue = to_inbox ? static_cast<ReceiveQueue&>(inbox) : mailbox;
      ASSERT_TRUE(lane->Send(0, {prefix, "x"}, absl::InfinitePast()).ok());
      Message message;
      const Taken taken = queue.Take(channel.control(), nullptr, &message);
      EXPECT_EQ(taken, by_agent ? Taken::kMessage : Taken::kCorrupt);
      if (by_agent) {
        EXPECT_EQ(message.sender(), other);
      }
    }
  }
}

TEST(MailboxTest, ABodyThatTheMailboxDoesNotTakeClosesItsLane) {
  for (const bool by_agent : {false, true}) {
    TestChannel channel;
    MailboxQueue receiver(1);
    receiver.set_limits({.max_message_bytes = 4, .fixed_size = true});
    const auto good = channel.AddCells({&receiver});
    const auto bad = channel.AddCells({&receiver}, 101, by_agent);
    Prefix numbered;
    numbered.sequence = by_agent ? 9 : 0;
    const std::string prefix = EncodePrefix(numbered);
    ASSERT_TRUE(bad->Send(0, {prefix, "12345"}, absl::InfinitePast()).ok());
    ASSERT_TRUE(TrySend(*good, 0, "1234").ok());
    EXPECT_EQ(Receive(receiver, channel), "(corrupt)");
    EXPECT_EQ(Receive(receiver, channel), "1234");
    EXPECT_EQ(Receive(receiver, channel), "(nothing)");
  }
}

TEST(InboxTest, OneSendersMessagesAreReceivedWhileTheOthersStay) {
  TestChannel channel;
  InboxQueue inbox;
  const ProcessId alice("test", 1, 1), bob("test", 2, 2);
  const auto from_alice = channel.AddRing(&inbox, alice);
  const auto from_bob = channel.AddRing(&inbox, bob);
  ASSERT_TRUE(TrySend(*from_alice, 31, "a").ok());
  ASSERT_TRUE(TrySend(*from_bob, 0, "b").ok());
  Message message;
  ASSERT_EQ(inbox.Take(channel.control(), &bob, &message), Taken::kMessage);
  EXPECT_EQ(message.body(), "b");
  EXPECT_EQ(message.sender(), bob);
  EXPECT_EQ(inbox.Take(channel.control(), &bob, &message), Taken::kNothing);
  EXPECT_EQ(Receive(inbox, channel), "a");
}

TEST(InboxTest, NothingComesOfALaneThatIsMuteWhateverIsWrittenThere) {
  TestChannel channel;
  InboxQueue inbox;
  const ProcessId mute("test", 1, 1), other("test", 2, 2);
  const auto from_other = channel.AddRing(&inbox, other);
  const auto from_mute = channel.AddRing(&inbox, mute, /*by_agent=*/false, /*mute=*/true);
  ASSERT_TRUE(TrySend(*from_mute, 31, "a").ok());
  ASSERT_TRUE(TrySend(*from_other, 0, "b").ok());
  EXPECT_EQ(Receive(inbox, channel), "b");
  EXPECT_EQ(Receive(inbox, channel), "(nothing)");
  EXPECT_FALSE(inbox.MayHave(channel.control()));
  EXPECT_TRUE(inbox.HasLaneOf(mute));
  channel.Unmute(&inbox, mute);
  EXPECT_EQ(Receive(inbox, channel), "a");
  ASSERT_TRUE(TrySend(*from_mute, 0, "c").ok());
  EXPECT_EQ(Receive(inbox, channel), "c");
  EXPECT_EQ(Receive(inbox, channel), "(nothing)");
}

TEST(InboxTest, TheEndOfALaneThatIsMuteWaitsForNothingThatIsWrittenThere) {
  TestChannel channel;
  InboxQueue inbox;
  const ProcessId mute("test", 1, 1);
  inbox.Watch({Ended::Kind::kProcess, mute.ToString()});
  const auto lane = channel.AddRing(&inbox, mute, /*by_agent=*/false, /*mute=*/true);
  ASSERT_TRUE(TrySend(*lane, 0, "a").ok());
  const uint32_t version = channel.control().members_version.load() + 1;
  inbox.EndOf({Ended::Kind::kProcess, mute.ToString()}, mute, version, EndReason::kKilled);
  channel.control().members_version.store(version);
  Message message;
  ASSERT_EQ(inbox.Take(channel.control(), nullptr, &message), Taken::kMessage);
  EXPECT_EQ(message.end(), EndReason::kKilled);
  EXPECT_FALSE(inbox.HasLaneOf(mute));
}

TEST(InboxTest, LargeBodiesAreShownInPlaceAndTheirRoomComesBackInAnyOrder) {
  MailboxOptions options;
  options.max_message_bytes = 1 << 20;
  TestChannel channel(options);
  InboxQueue inbox;
  const auto lane = channel.AddRing(&inbox, ProcessId("test", 1, 1));
  std::vector<Message> held;
  const std::string body(1 << 20, 'x');
  while (TrySend(*lane, 0, body).ok()) {
    Message message;
    ASSERT_EQ(inbox.Take(channel.control(), nullptr, &message), Taken::kMessage);
    held.push_back(std::move(message));
  }
  ASSERT_GE(held.size(), 2u);
  held.erase(held.begin() + 1);
  EXPECT_TRUE(TrySend(*lane, 0, body).ok());
  for (const Message& message : held) EXPECT_EQ(message.body(), body);
}

TEST(InboxTest, ALaneThatEndsIsReceivedToItsEnd) {
  TestChannel channel;
  InboxQueue inbox;
  const ProcessId sender("test", 1, 1);
  const auto lane = channel.AddRing(&inbox, sender);
  ASSERT_TRUE(TrySend(*lane, 0, "last").ok());
  const uint32_t version = channel.control().members_version.load() + 1;
  inbox.End(1, version);
  channel.control().members_version.store(version);
  EXPECT_EQ(Receive(inbox, channel), "last");
  EXPECT_FALSE(inbox.HasLaneOf(sender));
  EXPECT_EQ(Receive(inbox, channel), "(nothing)");
}

TEST(InboxTest, AnEndedLaneIsLetGoOfByAReceiverOfAnotherSendersToo) {
  TestChannel channel;
  InboxQueue inbox;
  const ProcessId other("test", 2, 2);
  const auto lane = channel.AddRing(&inbox, ProcessId("test", 1, 1));
  const std::weak_ptr<IncomingLane> incoming = channel.last_incoming;
  const auto other_lane = channel.AddRing(&inbox, other);
  ASSERT_TRUE(TrySend(*lane, 0, "last").ok());
  const uint32_t version = channel.control().members_version.load() + 1;
  inbox.End(1, version);
  channel.control().members_version.store(version);
  Message message;
  EXPECT_EQ(inbox.Take(channel.control(), &other, &message), Taken::kNothing);
  EXPECT_EQ(Receive(inbox, channel), "last");
  EXPECT_FALSE(incoming.expired());
  EXPECT_EQ(inbox.Take(channel.control(), &other, &message), Taken::kNothing);
  EXPECT_TRUE(incoming.expired());
}

TEST(InboxTest, AnEndThatIsWatchedIsToldBesideTheOthersMessages) {
  TestChannel channel;
  InboxQueue inbox;
  const ProcessId ended("test", 1, 1);
  inbox.Watch({Ended::Kind::kProcess, ended.ToString()});
  const auto lane = channel.AddRing(&inbox, ended);
  const auto other = channel.AddRing(&inbox, ProcessId("test", 2, 2));
  ASSERT_TRUE(TrySend(*other, 0, "first").ok());
  ASSERT_TRUE(TrySend(*other, 0, "second").ok());
  const uint32_t version = channel.control().members_version.load() + 1;
  inbox.End(1, version, EndReason::kKilled);
  channel.control().members_version.store(version);
  Message message;
  ASSERT_EQ(inbox.Take(channel.control(), nullptr, &message), Taken::kMessage);
  EXPECT_EQ(message.end(), EndReason::kKilled);
  EXPECT_EQ(message.sender(), ended);
  EXPECT_EQ(Receive(inbox, channel), "first");
  EXPECT_EQ(Receive(inbox, channel), "second");
  EXPECT_EQ(Receive(inbox, channel), "(nothing)");
}

TEST(InboxTest, AnEndOfWhichTheAgentTellsComesBehindTheLane) {
  TestChannel channel;
  InboxQueue inbox;
  const ProcessId ended("test", 1, 1);
  const Ended what = {Ended::Kind::kProcess, ended.ToString()};
  inbox.Watch(what);
  const auto lane = channel.AddRing(&inbox, ended);
  ASSERT_TRUE(TrySend(*lane, 0, "last").ok());
  const uint32_t version = channel.control().members_version.load() + 1;
  inbox.EndOf(what, ended, version, EndReason::kExited);
  // That the lane has ended is told too, without a reason, and is the same end.
  inbox.End(1, version);
  channel.control().members_version.store(version);
  EXPECT_EQ(Receive(inbox, channel), "last");
  Message message;
  ASSERT_EQ(inbox.Take(channel.control(), nullptr, &message), Taken::kMessage);
  EXPECT_EQ(message.end(), EndReason::kExited);
  EXPECT_EQ(message.ended().kind, Ended::Kind::kProcess);
  EXPECT_EQ(message.ended().name, "1.1@test");
  EXPECT_EQ(inbox.Take(channel.control(), nullptr, &message), Taken::kNothing);
}

TEST(InboxTest, TheEndOfAMailboxHasItsNameAndNoSender) {
  TestChannel channel;
  InboxQueue inbox;
  const Ended what = {Ended::Kind::kMailbox, std::string(60, 'm') + "@" + std::string(60, 'n')};
  inbox.Watch(what);
  const uint32_t version = channel.control().members_version.load() + 1;
  inbox.EndOf(what, ProcessId(), version, EndReason::kDestroyed);
  channel.control().members_version.store(version);
  Message message;
  ASSERT_EQ(inbox.Take(channel.control(), nullptr, &message), Taken::kMessage);
  const Message moved = std::move(message);
  EXPECT_EQ(moved.end(), EndReason::kDestroyed);
  EXPECT_EQ(moved.ended().kind, what.kind);
  EXPECT_EQ(moved.ended().name, what.name);
  EXPECT_EQ(moved.sender(), ProcessId());
  EXPECT_EQ(moved.body(), "");
}

TEST(InboxTest, AWatchThatIsTakenBackHidesAnEndThatWasNotReceived) {
  TestChannel channel;
  InboxQueue inbox;
  const Ended what = {Ended::Kind::kMailbox, "orders@alpha"};
  const Ended other = {Ended::Kind::kMailbox, "orders2@alpha"};
  for (const Ended& each : {what, other}) inbox.Watch(each);
  const uint32_t version = channel.control().members_version.load() + 1;
  for (const Ended& each : {what, other}) {
    inbox.EndOf(each, ProcessId(), version, EndReason::kDestroyed);
  }
  channel.control().members_version.store(version);
  EXPECT_TRUE(inbox.Unwatch({Ended::Kind::kMailbox, "orders"}));
  EXPECT_FALSE(inbox.Unwatch({Ended::Kind::kMailbox, "orders"}));
  Message message;
  ASSERT_EQ(inbox.Take(channel.control(), nullptr, &message), Taken::kMessage);
  EXPECT_EQ(message.ended().name, other.name);
  EXPECT_EQ(inbox.Take(channel.control(), nullptr, &message), Taken::kNothing);
}

TEST(InboxTest, ABrokenLaneIsClosedByNameAndTheOthersGoOn) {
  TestChannel channel;
  InboxQueue inbox;
  const auto good = channel.AddRing(&inbox, ProcessId("test", 1, 1));
  const auto bad = channel.AddRing(&inbox, ProcessId("test", 2, 2));
  ASSERT_TRUE(TrySend(*bad, 0, "x").ok());
  ASSERT_TRUE(TrySend(*good, 0, "y").ok());
  // A length beyond what a record may have.
  const Mapping memory = channel.MapLastRing();
  const RingGeometry geometry = RingGeometry::For(MailboxOptions().max_message_bytes);
  reinterpret_cast<RecordHead*>(memory.data() + geometry.ring_offset(0))
      ->head.store(PackHead(RecordKind::kInline, false, 100000, 1));
  EXPECT_EQ(Receive(inbox, channel), "y");
  EXPECT_EQ(Receive(inbox, channel), "(corrupt)");
  EXPECT_NE(std::string(inbox.error().message()).find("2.2@test"), std::string::npos);
  EXPECT_EQ(TrySend(*bad, 0, "z").code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(TrySend(*good, 0, "z").ok());
}

TEST(InboxTest, SendersOfOnePriorityTakeTurns) {
  TestChannel channel;
  InboxQueue inbox;
  const auto a = channel.AddRing(&inbox, ProcessId("test", 1, 1));
  const auto b = channel.AddRing(&inbox, ProcessId("test", 2, 2));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(TrySend(*a, 5, "a").ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(TrySend(*b, 5, "b").ok());
  std::string received;
  for (int i = 0; i < 6; ++i) received += Receive(inbox, channel);
  EXPECT_EQ(received, "ababab");
}

}  // namespace
}  // namespace mailrail
