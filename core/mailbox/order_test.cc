// In what order messages of a mailbox are taken (MailboxOptions::order and ::hold_order), over
// lanes of hand-made channels.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/mailbox/test_channel.h"

namespace mailrail {
namespace {

const MailboxOptions kPerSender = {.order = MailboxOrder::kPerSender};
const MailboxOptions kHoldOrder = {.hold_order = true};

// A receiver of a mailbox with these options.
std::unique_ptr<MailboxQueue> NewReceiver(uint32_t number, const MailboxOptions& options) {
  auto receiver = std::make_unique<MailboxQueue>(number);
  receiver->set_order(options.order);
  return receiver;
}
std::unique_ptr<MailboxQueue> NewReceiver(uint32_t number, TestChannel& channel) {
  auto receiver = NewReceiver(number, kHoldOrder);
  receiver->HoldOrder(channel.gate());
  return receiver;
}

// What was given back or sent for later is due now.
void MakeDue(CellReader& reader) {
  std::vector<CellReader::Kept> all;
  reader.ForEachKept([&](const CellReader::Kept& kept) { all.push_back(kept); });
  for (const CellReader::Kept& kept : all) {
    if (kept.state.phase != Phase::kDelayed) continue;
    EXPECT_TRUE(reader.MakeDue(kept));
  }
}

TEST(PerSenderOrderTest, SendersTakeTurnsAndNeedNoStamps) {
  TestChannel channel(kPerSender);
  const auto receiver = NewReceiver(1, kPerSender);
  const auto a = channel.AddCells({receiver.get()});
  const auto b = channel.AddCells({receiver.get()});
  const auto c = channel.AddCells({receiver.get()});
  for (const char* body : {"a1", "a2", "a3", "a4"}) ASSERT_TRUE(TrySend(*a, 0, body).ok());
  for (const char* body : {"b1", "b2"}) ASSERT_TRUE(TrySend(*b, 0, body).ok());
  ASSERT_TRUE(TrySend(*c, 0, "c1").ok());
  EXPECT_EQ(channel.control().stamped.load(), 0u);
  for (const char* body : {"a1", "b1", "c1", "a2", "b2", "a3", "a4"}) {
    EXPECT_EQ(Receive(*receiver, channel), body);
  }
  EXPECT_EQ(Receive(*receiver, channel), "(nothing)");
  // A lane that joins has its turn too, and one that ends leaves the others theirs.
  const auto d = channel.AddCells({receiver.get()}, 104);
  for (const char* body : {"d1", "d2"}) ASSERT_TRUE(TrySend(*d, 0, body).ok());
  ASSERT_TRUE(TrySend(*a, 0, "a5").ok());
  EXPECT_EQ(Receive(*receiver, channel), "d1");
  EXPECT_EQ(Receive(*receiver, channel), "a5");
  EXPECT_EQ(Receive(*receiver, channel), "d2");
}

TEST(PerSenderOrderTest, HigherPrioritiesGoFirstWhoseverTurnItIs) {
  TestChannel channel(kPerSender);
  const auto receiver = NewReceiver(1, kPerSender);
  const auto a = channel.AddCells({receiver.get()});
  const auto b = channel.AddCells({receiver.get()});
  ASSERT_TRUE(TrySend(*a, 1, "a1").ok());
  ASSERT_TRUE(TrySend(*b, 9, "b9").ok());
  ASSERT_TRUE(TrySend(*b, 1, "b1").ok());
  ASSERT_TRUE(TrySend(*a, 9, "a9").ok());
  EXPECT_EQ(Receive(*receiver, channel), "a9");
  EXPECT_EQ(Receive(*receiver, channel), "b9");
  EXPECT_EQ(Receive(*receiver, channel), "a1");
  EXPECT_EQ(Receive(*receiver, channel), "b1");
}

TEST(PerSenderOrderTest, AReturnedMessageGoesBeforeItsSendersOthers) {
  TestChannel channel(kPerSender);
  const auto receiver = NewReceiver(1, kPerSender);
  const auto a = channel.AddCells({receiver.get()});
  const auto b = channel.AddCells({receiver.get()});
  for (const char* body : {"a1", "a2"}) ASSERT_TRUE(TrySend(*a, 0, body).ok());
  for (const char* body : {"b1", "b2"}) ASSERT_TRUE(TrySend(*b, 0, body).ok());
  Lease lease;
  Message message;
  ASSERT_EQ(receiver->TakeLease(channel.control(), &lease, &message), Taken::kMessage);
  EXPECT_EQ(message.body(), "a1");
  EXPECT_EQ(Receive(*receiver, channel), "b1");
  ASSERT_TRUE(receiver->Finish(lease, MailboxQueue::Outcome::kReturned));
  for (const char* body : {"a1", "b2", "a2"}) EXPECT_EQ(Receive(*receiver, channel), body);
}

// Each sender sends at 9 and then at 7, so whoever has received its nth of 7 has its nth of 9.
TEST(PerSenderOrderTest, NoMessageIsReceivedBeforeABetterOneThatWasSentBeforeIt) {
  constexpr int kMessages = 20000;
  TestChannel channel(kPerSender);
  const auto receiver = NewReceiver(1, kPerSender);
  std::vector<std::shared_ptr<OutgoingLane>> lanes;
  for (int i = 0; i < 2; ++i) lanes.push_back(channel.AddCells({receiver.get()}, 100 + i));
  std::vector<std::thread> senders;
  for (const auto& lane : lanes) {
    senders.emplace_back([&lane] {
      for (int i = 0; i < kMessages; ++i) {
        ASSERT_TRUE(lane->Send(9, {{}, "9"}, absl::InfiniteFuture()).ok());
        ASSERT_TRUE(lane->Send(7, {{}, "7"}, absl::InfiniteFuture()).ok());
      }
    });
  }
  int ahead[2] = {0, 0};
  for (int received = 0; received < 4 * kMessages;) {
    Message message;
    if (receiver->Take(channel.control(), nullptr, &message) != Taken::kMessage) continue;
    ++received;
    int& count = ahead[message.sender().pid() - 100];
    count += message.priority() == 9 ? 1 : -1;
    ASSERT_GE(count, 0);
  }
  for (std::thread& sender : senders) sender.join();
}

TEST(HoldOrderTest, NothingOfASenderIsTakenWhileAnEarlierMessageIsLeased) {
  TestChannel channel(kHoldOrder);
  const auto first = NewReceiver(1, channel);
  const auto second = NewReceiver(2, channel);
  const auto a = channel.AddCells({first.get(), second.get()});
  const auto b = channel.AddCells({first.get(), second.get()});
  for (const char* body : {"a1", "a2", "a3"}) ASSERT_TRUE(TrySend(*a, 0, body).ok());
  for (const char* body : {"b1", "b2"}) ASSERT_TRUE(TrySend(*b, 0, body).ok());
  Lease held;
  ASSERT_EQ(TakeLease(*first, channel, &held), "a1");
  for (const char* body : {"b1", "b2", "(nothing)"}) EXPECT_EQ(Receive(*second, channel), body);
  EXPECT_FALSE(second->MayHave(channel.control()));
  // Nor by who has it.
  EXPECT_EQ(Receive(*first, channel), "(nothing)");
  // Another priority is another queue.
  ASSERT_TRUE(TrySend(*a, 3, "a4").ok());
  EXPECT_EQ(Receive(*second, channel), "a4");
  const uint32_t gate = channel.gate()->gate.load();
  ASSERT_TRUE(first->Finish(held, MailboxQueue::Outcome::kReceived));
  EXPECT_NE(channel.gate()->gate.load(), gate) << "nobody was woken";
  EXPECT_TRUE(second->MayHave(channel.control()));
  for (const char* body : {"a2", "a3", "(nothing)"}) EXPECT_EQ(Receive(*second, channel), body);
}

TEST(HoldOrderTest, WhatWasGivenBackGoesFirstAndHoldsUpTheOthersUntilItIsDue) {
  TestChannel channel(kHoldOrder);
  const auto first = NewReceiver(1, channel);
  const auto second = NewReceiver(2, channel);
  const auto lane = channel.AddCells({first.get(), second.get()});
  for (const char* body : {"a1", "a2"}) ASSERT_TRUE(TrySend(*lane, 0, body).ok());
  Lease held;
  ASSERT_EQ(TakeLease(*first, channel, &held), "a1");
  ASSERT_TRUE(first->Finish(held, MailboxQueue::Outcome::kReturned));
  ASSERT_EQ(TakeLease(*second, channel, &held), "a1");
  ASSERT_TRUE(second->FinishLater(held, 0));
  EXPECT_EQ(Receive(*first, channel), "(nothing)");
  MakeDue(held.lane->reader());
  ASSERT_EQ(TakeLease(*first, channel, &held), "a1");
  EXPECT_EQ(Receive(*second, channel), "(nothing)");
  // Its receiver is gone.
  held.lane->reader().ReleaseClaimsOf(1);
  EXPECT_EQ(Receive(*second, channel), "a1");
  EXPECT_EQ(Receive(*second, channel), "a2");
}

TEST(HoldOrderTest, WhatComesBackInAnotherPlaceThanTheFirstWaitsForThatOne) {
  TestChannel channel(kHoldOrder);
  const auto first = NewReceiver(1, channel);
  const auto lane = channel.AddCells({first.get()});
  ASSERT_TRUE(lane->SetExpires());
  ASSERT_TRUE(lane->Send(0, {{}, "later"}, absl::InfinitePast(), {.due_tick = 0}).ok());
  ASSERT_TRUE(TrySend(*lane, 0, "now").ok());
  // One that was sent for later holds up nobody before it was handed out.
  Lease now, later;
  ASSERT_EQ(TakeLease(*first, channel, &now), "now");
  MakeDue(now.lane->reader());
  ASSERT_EQ(TakeLease(*first, channel, &later), "later");
  ASSERT_TRUE(first->Finish(now, MailboxQueue::Outcome::kReturned));
  EXPECT_EQ(Receive(*first, channel), "(nothing)");
  // And then it does, as any other.
  ASSERT_TRUE(first->FinishLater(later, 0));
  EXPECT_EQ(Receive(*first, channel), "(nothing)");
  MakeDue(now.lane->reader());
  EXPECT_EQ(Receive(*first, channel), "later");
  EXPECT_EQ(Receive(*first, channel), "now");
}

TEST(HoldOrderTest, AReceivedMessageHoldsUpNoneWhileItsBodyIsInUse) {
  TestChannel channel(kHoldOrder);
  const auto receiver = NewReceiver(1, channel);
  const auto lane = channel.AddCells({receiver.get()});
  ASSERT_TRUE(TrySend(*lane, 0, std::string(5000, 'x')).ok());
  ASSERT_TRUE(TrySend(*lane, 0, "a2").ok());
  Message view;
  const uint32_t gate = channel.gate()->gate.load();
  ASSERT_EQ(receiver->Take(channel.control(), nullptr, &view), Taken::kMessage);
  EXPECT_NE(channel.gate()->gate.load(), gate) << "who saw it claimed was not woken";
  EXPECT_EQ(Receive(*receiver, channel), "a2");
  EXPECT_EQ(view.body().size(), 5000u);
}

TEST(HoldOrderTest, AMessageThatItsSenderDropsHoldsUpNoneAnyMore) {
  TestChannel channel(
      {.capacity_messages = 2, .when_full = FullPolicy::kDropOldest, .hold_order = true});
  const auto receiver = NewReceiver(1, channel);
  const auto lane = channel.AddCells({receiver.get()});
  for (const char* body : {"a1", "a2"}) ASSERT_TRUE(TrySend(*lane, 0, body).ok());
  Lease held;
  ASSERT_EQ(TakeLease(*receiver, channel, &held), "a1");
  ASSERT_TRUE(receiver->FinishLater(held, 0));
  EXPECT_EQ(Receive(*receiver, channel), "(nothing)");
  const uint32_t gate = channel.gate()->gate.load();
  ASSERT_TRUE(TrySend(*lane, 0, "a3").ok());
  EXPECT_NE(channel.gate()->gate.load(), gate);
  for (const char* body : {"a2", "a3"}) EXPECT_EQ(Receive(*receiver, channel), body);
}

// However many receivers there are, and whatever becomes of what they lease.
TEST(HoldOrderTest, OfEachSenderOneMessageAtATimeIsOut) {
  constexpr int kReceivers = 3, kSenders = 2, kMessages = 3000;
  TestChannel channel(kHoldOrder);
  std::vector<std::unique_ptr<MailboxQueue>> receivers;
  for (uint32_t i = 1; i <= kReceivers; ++i) receivers.push_back(NewReceiver(i, channel));
  std::vector<std::shared_ptr<OutgoingLane>> lanes;
  for (int i = 0; i < kSenders; ++i) {
    lanes.push_back(
        channel.AddCells({receivers[0].get(), receivers[1].get(), receivers[2].get()}, 100 + i));
  }
  std::vector<std::thread> threads;
  for (const auto& lane : lanes) {
    threads.emplace_back([&lane] {
      for (int i = 0; i < kMessages; ++i) {
        // Some of them in a slot, some in the slab.
        const std::string body = std::to_string(i) + std::string(i % 3 == 0 ? 2000 : 0, ' ');
        ASSERT_TRUE(lane->Send(0, {{}, body}, absl::InfiniteFuture()).ok());
      }
    });
  }
  struct {
    std::atomic<int> out{0}, next{0};
  } of[kSenders];
  std::atomic<int> received{0};
  for (const auto& receiver : receivers) {
    threads.emplace_back([&, turn = 0]() mutable {
      while (received < kSenders * kMessages) {
        Lease lease;
        Message message;
        if (receiver->TakeLease(channel.control(), &lease, &message) != Taken::kMessage) continue;
        auto& sender = of[message.sender().pid() - 100];
        EXPECT_EQ(sender.out.fetch_add(1), 0);
        EXPECT_EQ(sender.next.load(), std::stoi(std::string(message.body())));
        const bool returned = ++turn % 5 == 0;
        if (!returned) ++sender.next;
        --sender.out;
        ASSERT_TRUE(receiver->Finish(
            lease, returned ? MailboxQueue::Outcome::kReturned : MailboxQueue::Outcome::kReceived));
        received += !returned;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace mailrail
