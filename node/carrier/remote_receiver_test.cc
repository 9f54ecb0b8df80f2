// A mailbox on one node (alpha), a receiver on another (beta).
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/carrier/remote_receiver_testing.h"

namespace mailrail {
namespace {

TEST_F(RemoteReceiverTest, ReceivesWhatTheMailboxHas) {
  Send(3, "hello");
  const Message message = ReceiveRemotely();
  EXPECT_EQ(message.body(), "hello");
  EXPECT_EQ(message.priority(), 3);
  EXPECT_EQ(message.sender(), ProcessId("alpha", 42, 3));
  EXPECT_FALSE(message.redelivered());
}

TEST_F(RemoteReceiverTest, WaitsForWhatIsSentLater) {
  std::thread later([&] { Send(31, "later"); });
  EXPECT_EQ(ReceiveRemotely().body(), "later");
  later.join();
}

TEST_F(RemoteReceiverTest, ReceivesEachOfManyOnceAndInOrder) {
  constexpr uint64_t kMessages = 2000;
  std::thread flood([&] {
    for (uint64_t i = 0; i < kMessages; ++i) Send(0, Pattern(i, i * 7919 % 3000));
  });
  for (uint64_t i = 0; i < kMessages; ++i) {
    ASSERT_TRUE(ReceiveRemotely().body() == Pattern(i, i * 7919 % 3000)) << i;
  }
  flood.join();
}

TEST_F(RemoteReceiverTest, CompetesWithALocalReceiver) {
  constexpr int kMessages = 2000;
  std::thread flood([&] {
    for (int i = 0; i < kMessages; ++i) Send(0, absl::StrCat(i));
    // One for each receiver, to end it.
    Send(0, "end");
    Send(0, "end");
  });
  std::vector<int> seen(kMessages, 0);
  std::vector<std::string> locally;
  std::thread other([&] {
    for (std::string body; body != "end";) {
      body = std::string(local.Receive().body());
      locally.push_back(body);
    }
  });
  for (std::string body; body != "end";) {
    body = std::string(ReceiveRemotely().body());
    if (body != "end") ++seen[static_cast<size_t>(std::stoi(body))];
  }
  flood.join();
  other.join();
  for (const std::string& body : locally) {
    if (body != "end") ++seen[static_cast<size_t>(std::stoi(body))];
  }
  for (int i = 0; i < kMessages; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], 1) << i;
}

TEST_F(RemoteReceiverTest, AWithdrawnWantLeavesTheMessageToOthers) {
  Want(true);
  Want(false);
  Send(0, "for whoever comes");
  EXPECT_EQ(local.Receive().body(), "for whoever comes");
}

TEST_F(RemoteReceiverTest, ADeliveryThatIsNotWantedAnyMoreGoesBack) {
  Want(true);
  Send(0, "delivered");
  AwaitDelivered();
  Want(false);
  const Message message = local.Receive();
  EXPECT_EQ(message.body(), "delivered");
  EXPECT_EQ(message.attempts(), 0);  // nobody has seen it
  EXPECT_FALSE(receiver.TryReceive().has_value());
}

TEST_F(RemoteReceiverTest, ADeliveryGoesBackWhenTheReceiverIsGone) {
  Want(true);
  Send(0, "delivered");
  AwaitDelivered();
  beta.carrier().RemoveProxy("alpha", kKey);
  const Message message = local.Receive();
  EXPECT_EQ(message.body(), "delivered");
  EXPECT_FALSE(message.redelivered());
  alpha.events().Await("gone beta 5");
}

TEST_F(RemoteReceiverTest, WhatAGoneReceiverHadTakenDoesNotComeAgain) {
  Want(true);
  Send(0, "taken");
  EXPECT_EQ(receiver.Receive().body(), "taken");
  beta.carrier().RemoveProxy("alpha", kKey);
  alpha.events().Await("gone beta 5");
  EXPECT_FALSE(local.TryReceive().has_value());
}

TEST_F(RemoteReceiverTest, AReceiverThatLeavesWhileTheHomeIsAwayIsReportedLater) {
  Want(true);
  Send(0, "delivered");
  AwaitDelivered();
  alpha.on_restart = [&] { OpenAtHome(1); };
  alpha.Stop();
  beta.events().Await("down alpha");
  beta.carrier().RemoveProxy("alpha", kKey);
  alpha.Start();
  EXPECT_EQ(local.Receive().body(), "delivered");
  alpha.events().Await("gone beta 5");
}

TEST_F(RemoteReceiverTest, IsToldThatTheMailboxIsDestroyed) {
  mailbox.destination.Close(CloseReason::kDestroyed);
  RingGate(mailbox.destination.gate());
  alpha.events().Await("gone beta 5");
  beta.events().Await("destroyed alpha 5");
  // Alpha may have a proxy of the same key, of another mailbox.
  EXPECT_EQ(alpha.events().Count("destroyed beta 5"), 0);
}

TEST_F(RemoteReceiverTest, IsToldOfADestroyedMailboxWhenItAsks) {
  mailbox.destination.Close(CloseReason::kDestroyed);
  alpha.carrier().RemoveReceiver("beta", kKey, /*tell=*/false);
  Want(true);
  beta.events().Await("destroyed alpha 5");
}

TEST_F(RemoteReceiverTest, ARemovedReceiverGivesBackWhatItHasLeased) {
  Want(true);
  Send(0, "leased");
  AwaitDelivered();
  alpha.carrier().RemoveReceiver("beta", kKey, /*tell=*/true);
  EXPECT_EQ(local.Receive().attempts(), 1);
  beta.events().Await("destroyed alpha 5");
  EXPECT_FALSE(receiver.TryReceive().has_value());
}

TEST_F(RemoteReceiverTest, WhatMayHaveBeenSeenIsMarkedWhenItComesAgain) {
  Want(true);
  Send(0, "cut off");
  AwaitDelivered();
  alpha.carrier().RemoveReceiver("beta", kKey, /*tell=*/false);
  OpenAtHome(1);
  const Message first = receiver.Receive();
  EXPECT_EQ(first.attempts(), 0);
  const Message second = receiver.Receive();
  EXPECT_EQ(second.body(), "cut off");
  EXPECT_TRUE(second.redelivered());
  EXPECT_EQ(second.attempts(), 1);
}

TEST_F(RemoteReceiverTest, AsksForLanesThatHaveJoined) {
  alpha.carrier().RemoveReceiver("beta", kKey, false);
  alpha.events().on_receiver_behind = [this](uint64_t) { OpenAtHome(1); };
  OpenAtHome(0);
  Send(0, "in a lane that has joined");
  EXPECT_EQ(ReceiveRemotely().body(), "in a lane that has joined");
  EXPECT_EQ(alpha.events().Count("behind beta 5"), 1);
}

TEST_F(RemoteReceiverTest, ReceivesEachOnceThoughSessionsAreCut) {
  constexpr uint64_t kMessages = 1000;
  std::thread flood([&] {
    for (uint64_t i = 0; i < kMessages; ++i) Send(i % 2 == 0 ? 0 : 31, Pattern(i, 100));
  });
  // In order at each priority: what was delivered is never delivered again, even when its
  // acknowledgement was lost.
  uint64_t next[2] = {0, 1};
  for (uint64_t i = 0; i < kMessages; ++i) {
    const Message message = ReceiveRemotely();
    uint64_t& expected = next[message.priority() == 31];
    ASSERT_TRUE(message.body() == Pattern(expected, 100)) << expected;
    expected += 2;
    if (i % 20 == 0) {
      TestNode& node = i % 40 == 0 ? alpha : beta;
      node.Cut(i % 80 < 40 ? proto::BULK : proto::URGENT, i % 160 < 80);
    }
  }
  flood.join();
}

// What is given back is delivered again at once, under another number: what is said twice about the
// first delivery must not be taken for the second's.
TEST_F(RemoteReceiverTest, EachIsReceivedOnceThoughWantsAreWithdrawnAndSessionsCut) {
  constexpr size_t kMessages = 1000;
  std::mt19937_64 random(TestSeed());
  std::thread flood([&] {
    for (size_t i = 0; i < kMessages; ++i) Send(0, absl::StrCat(i));
  });
  std::vector<int> seen(kMessages, 0);
  // What is not marked comes to each receiver in order.
  size_t next_here = 0, next_there = 0;
  const auto note = [&](const absl::optional<Message>& message, size_t* next) {
    if (!message.has_value()) return false;
    size_t number = 0;
    EXPECT_TRUE(absl::SimpleAtoi(message->body(), &number) && number < kMessages);
    if (!message->redelivered()) {
      EXPECT_GE(number, *next);
      *next = number + 1;
    }
    ++seen[number];
    return true;
  };
  for (size_t received = 0, round = 0; received < kMessages; ++round) {
    Want(true);
    for (uint64_t looks = random() % 300; looks > 0; --looks) {
      if (note(receiver.TryReceive(), &next_there)) {
        ++received;
        break;
      }
    }
    Want(false);
    received += note(receiver.TryReceive(), &next_there);
    if (round % 10 == 9) received += note(local.TryReceive(), &next_here);
    if (round % 20 == 0) {
      TestNode& node = round % 40 == 0 ? alpha : beta;
      node.Cut(round % 80 < 40 ? proto::BULK : proto::URGENT, round % 160 < 80);
    }
  }
  flood.join();
  EXPECT_THAT(seen, testing::Each(1));
}

TEST_F(RemoteReceiverTest, ReceivesEachOnceThoughTheHomesCarrierIsMadeAnew) {
  alpha.on_restart = [&] { OpenAtHome(1); };
  constexpr uint64_t kMessages = 500;
  std::thread flood([&] {
    for (uint64_t i = 0; i < kMessages; ++i) Send(0, Pattern(i, 100));
  });
  for (uint64_t i = 0; i < kMessages; ++i) {
    ASSERT_TRUE(ReceiveRemotely().body() == Pattern(i, 100)) << i;
    if (i % 50 == 0) {
      alpha.Stop();
      alpha.Start();
    }
  }
  flood.join();
}

TEST_F(RemoteReceiverTest, ReceivesEachOnceThoughItsOwnCarrierIsMadeAnew) {
  beta.on_restart = [&] { AddProxy(true); };
  constexpr uint64_t kMessages = 500;
  std::thread flood([&] {
    for (uint64_t i = 0; i < kMessages; ++i) Send(0, Pattern(i, 100));
  });
  for (uint64_t i = 0; i < kMessages; ++i) {
    // At any step between the want and the outcome.
    std::thread restart;
    if (i % 25 == 0) restart = std::thread([&] { beta.Stop(), beta.Start(); });
    Want(true);
    const Message message = receiver.Receive();
    Want(false);
    ASSERT_TRUE(message.body() == Pattern(i, 100)) << i;
    if (restart.joinable()) restart.join();
  }
  flood.join();
}

TEST_F(RemoteReceiverTest, WhatWasDeliveredBeforeARestartCanStillBeTakenBack) {
  beta.on_restart = [&] { AddProxy(true); };
  Want(true);
  Send(0, "delivered");
  AwaitDelivered();
  beta.Stop();
  inner.destination.bell()->wanted = 0;
  beta.Start();
  EXPECT_EQ(local.Receive().attempts(), 0);
  EXPECT_FALSE(receiver.TryReceive().has_value());
}

TEST_F(RemoteReceiverTest, WhatWasTakenWhileNoCarrierRanIsReportedByTheNext) {
  beta.on_restart = [&] { AddProxy(true); };
  Want(true);
  Send(0, "delivered");
  AwaitDelivered();
  beta.Stop();
  EXPECT_EQ(receiver.Receive().body(), "delivered");
  inner.destination.bell()->wanted = 0;
  beta.Start();
  Send(0, "next");
  EXPECT_EQ(ReceiveRemotely().body(), "next");
  EXPECT_FALSE(local.TryReceive().has_value());
}

}  // namespace
}  // namespace mailrail
