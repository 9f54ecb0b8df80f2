// A receiver of another node that acknowledges by hand and holds several messages at a time.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/carrier/remote_receiver_testing.h"

namespace mailrail {
namespace {

class RemoteLeaseTest : public RemoteReceiverTest {
 protected:
  explicit RemoteLeaseTest(const CellGeometry& geometry = CellGeometry::For(128, kLargest))
      : RemoteReceiverTest(/*by_hand=*/true, geometry), looks_(mailbox.NewIncoming()) {}

  struct Held {
    Lease lease;
    std::string body;
    int attempts = 0;
  };

  // As a receiving process does: asks, waits, and has it.
  Held Hold() {
    Want(true);
    Held held = HoldWhatIsWanted();
    Want(false);
    return held;
  }
  Held HoldWhatIsWanted() {
    Held held;
    Message message;
    while (receiver.queue().TakeLease(*inner.destination.control(), &held.lease, &message) !=
           ReceiveQueue::Taken::kMessage) {
      std::this_thread::yield();
    }
    held.body = std::string(message.body());
    held.attempts = message.attempts();
    return held;
  }
  void Acknowledge(const Held& held) {
    EXPECT_TRUE(receiver.queue().Finish(held.lease, MailboxQueue::Outcome::kReceived));
    RingGate(beta.carrier_gate());
  }
  void GiveBack(const Held& held) {
    EXPECT_TRUE(receiver.queue().FinishLater(held.lease, DueTick::After(MonotonicTime(), 0)));
    RingGate(beta.carrier_gate());
  }
  void Extend(const Held& held, absl::Duration time) {
    beta.carrier().ExtendLease(kKey, held.lease.priority, held.lease.sequence, time);
  }
  void SendNumbered(int count) {
    for (int i = 1; i <= count; ++i) Send(0, absl::StrCat(i));
  }
  // In order, each with that many attempts.
  void ExpectLocally(const std::vector<std::string>& bodies, int attempts) {
    for (const std::string& body : bodies) {
      const Message message = local.Receive();
      EXPECT_EQ(message.body(), body);
      EXPECT_EQ(message.attempts(), attempts) << body;
    }
  }

  // In the mailbox.
  CellReader::Counts Count() const { return looks_->reader().Count(); }
  void AwaitLeased(uint64_t count) {
    while (Count().leased != count) std::this_thread::yield();
  }
  void AwaitWaiting(uint64_t count) {
    while (Count().waiting != count) std::this_thread::yield();
  }
  void RestartHome() {
    alpha.on_restart = [&] { OpenAtHome(1); };
    alpha.Stop();
    alpha.Start();
  }

 private:
  const std::shared_ptr<IncomingCells> looks_;
};

TEST_F(RemoteLeaseTest, SeveralAreHeldAndSettledInAnyOrder) {
  SendNumbered(4);
  const Held first = Hold(), second = Hold(), third = Hold(), fourth = Hold();
  EXPECT_EQ(first.body + second.body + third.body + fourth.body, "1234");
  EXPECT_EQ(Count().leased, 4u);
  Acknowledge(third);
  GiveBack(second);
  AwaitLeased(2);
  ExpectLocally({"2"}, 1);
  Acknowledge(first);
  AwaitLeased(1);
  GiveBack(fourth);
  ExpectLocally({"4"}, 1);
  EXPECT_EQ(Count().left(), 0u);
}

TEST_F(RemoteLeaseTest, WhatIsNotAskedForIsNotBrought) {
  constexpr int kRounds = 300;
  std::vector<Held> held;
  for (int round = 0; round < kRounds; ++round) {
    Send(0, "asked for");
    Send(0, "not asked for");
    // It goes on wanting until it has looked at what it got, as a process that copies it does.
    Want(true);
    held.push_back(HoldWhatIsWanted());
    EXPECT_EQ(held.back().body, "asked for");
    RingGate(beta.carrier_gate());
    const Message other = local.Receive();
    EXPECT_EQ(other.body(), "not asked for");
    EXPECT_FALSE(other.redelivered());
    Want(false);
    if (held.size() < 5) continue;
    for (const Held& each : held) Acknowledge(each);
    held.clear();
  }
}

TEST_F(RemoteLeaseTest, WhatIsUrgentGoesNextThoughOthersAreHeld) {
  SendNumbered(3);
  EXPECT_EQ(Hold().body, "1");
  EXPECT_EQ(Hold().body, "2");
  Send(31, "urgent");
  EXPECT_EQ(Hold().body, "urgent");
  EXPECT_EQ(Hold().body, "3");
}

TEST_F(RemoteLeaseTest, WithAsManyAsThereMayBeTheNextWaitsUntilOneIsSettled) {
  constexpr int kMost = static_cast<int>(kMostFarLeases);
  SendNumbered(kMost + 2);
  std::vector<Held> held;
  for (int i = 1; i <= kMost; ++i) {
    held.push_back(Hold());
    ASSERT_EQ(held.back().body, absl::StrCat(i));
  }
  Want(true);
  const absl::Time until = absl::Now() + absl::Milliseconds(100);
  while (absl::Now() < until) {
    ASSERT_FALSE(receiver.queue().MayHave(*inner.destination.control()));
    std::this_thread::yield();
  }
  EXPECT_EQ(Count().leased, kMostFarLeases);
  ExpectLocally({absl::StrCat(kMost + 1)}, 0);
  Acknowledge(held[40]);
  EXPECT_EQ(HoldWhatIsWanted().body, absl::StrCat(kMost + 2));
}

TEST_F(RemoteLeaseTest, EachLeaseEndsByItselfAndMayBeExtended) {
  SendNumbered(3);
  const Held first = Hold(), second = Hold(), third = Hold();
  Extend(second, absl::Milliseconds(1));
  ExpectLocally({"2"}, 1);
  EXPECT_EQ(Count().leased, 2u);
  Extend(first, absl::Hours(2));
  Acknowledge(third);
  AwaitLeased(1);
  // Its lease has ended: nobody hears of this.
  Acknowledge(second);
  Acknowledge(first);
  AwaitLeased(0);
  EXPECT_EQ(Count().left(), 0u);
}

TEST_F(RemoteLeaseTest, ALeaseThatHasEndedIsNotTakenForTheNextOneOfTheSameMessage) {
  SendNumbered(1);
  const Held before = Hold();
  Extend(before, absl::Milliseconds(1));
  AwaitWaiting(1);
  const Held after = Hold();
  EXPECT_EQ(after.body, "1");
  EXPECT_EQ(after.attempts, 1);
  Acknowledge(before);
  GiveBack(after);
  ExpectLocally({"1"}, 2);
}

TEST_F(RemoteLeaseTest, NorIsItWhenTheCarriersAreMadeAnew) {
  SendNumbered(1);
  const Held before = Hold();
  Extend(before, absl::Milliseconds(1));
  AwaitWaiting(1);
  const Held after = Hold();
  beta.on_restart = [&] { AddProxy(true); };
  beta.Stop();
  Acknowledge(before);
  RestartHome();
  beta.Start();
  AwaitLeased(1);
  GiveBack(after);
  ExpectLocally({"1"}, 2);
}

TEST_F(RemoteLeaseTest, WhatAGoneReceiverHeldGoesBackMarkedInOrder) {
  SendNumbered(4);
  Hold();
  Acknowledge(Hold());
  Hold();
  Hold();
  AwaitLeased(3);
  beta.carrier().RemoveProxy("alpha", kKey);
  AwaitWaiting(3);
  ExpectLocally({"1", "3", "4"}, 1);
  alpha.events().Await("gone beta 5");
}

TEST_F(RemoteLeaseTest, WhatARemovedReceiverHeldGoesBackMarkedInOrder) {
  SendNumbered(3);
  Hold();
  Hold();
  Hold();
  alpha.carrier().RemoveReceiver("beta", kKey, /*tell=*/true);
  AwaitWaiting(3);
  ExpectLocally({"1", "2", "3"}, 1);
  beta.events().Await("destroyed alpha 5");
}

TEST_F(RemoteLeaseTest, WhatANodeThatIsCutOffHeldGoesBackMarked) {
  cutoff = absl::Milliseconds(20);
  // As the agent does, which gives it its place again.
  alpha.events().on_receiver_reached = [&](uint64_t) { OpenAtHome(1); };
  RestartHome();
  SendNumbered(3);
  Hold();
  Hold();
  Hold();
  const int before = alpha.events().Count("cut off beta 5");
  beta.Stop();
  alpha.events().Await("cut off beta 5", before + 1);
  ExpectLocally({"1", "2", "3"}, 1);
}

TEST_F(RemoteLeaseTest, WhatIsHeldOutlivesSessions) {
  SendNumbered(5);
  const Held first = Hold(), second = Hold(), third = Hold();
  for (int round = 0; round < 8; ++round) {
    TestNode& node = round % 2 == 0 ? alpha : beta;
    node.Cut(round % 4 < 2 ? proto::BULK : proto::URGENT, round < 4);
  }
  Acknowledge(first);
  GiveBack(second);
  const Held again = Hold();
  EXPECT_EQ(again.body, "2");
  EXPECT_EQ(again.attempts, 1);
  EXPECT_EQ(Hold().body, "4");
  alpha.Cut(proto::URGENT, true);
  beta.Cut(proto::URGENT, true);
  Acknowledge(third);
  Acknowledge(again);
  EXPECT_EQ(Hold().body, "5");
  AwaitLeased(2);
}

TEST_F(RemoteLeaseTest, WhatIsHeldOutlivesTheHomesCarrier) {
  SendNumbered(5);
  const Held first = Hold(), second = Hold(), third = Hold();
  alpha.on_restart = [&] { OpenAtHome(1); };
  alpha.Stop();
  Acknowledge(first);
  GiveBack(second);
  alpha.Start();
  AwaitWaiting(3);
  ExpectLocally({"2"}, 1);
  AwaitLeased(1);
  EXPECT_EQ(Hold().body, "4");
  Acknowledge(third);
  EXPECT_EQ(Hold().body, "5");
  AwaitLeased(2);
}

TEST_F(RemoteLeaseTest, WhatIsHeldOutlivesItsOwnCarrier) {
  SendNumbered(6);
  const Held first = Hold(), second = Hold(), third = Hold();
  const Held fourth = Hold();
  Acknowledge(fourth);
  beta.on_restart = [&] { AddProxy(true); };
  beta.Stop();
  Acknowledge(first);
  GiveBack(second);
  beta.Start();
  AwaitWaiting(3);
  ExpectLocally({"2"}, 1);
  AwaitLeased(1);
  EXPECT_EQ(Hold().body, "5");
  Acknowledge(third);
  EXPECT_EQ(Hold().body, "6");
  AwaitLeased(2);
}

// What was delivered before and is taken back was seen by nobody.
TEST_F(RemoteLeaseTest, WhatWasDeliveredBeforeARestartCanStillBeTakenBackBesideWhatIsHeld) {
  SendNumbered(3);
  const Held first = Hold(), second = Hold();
  Want(true);
  AwaitDelivered();
  beta.on_restart = [&] { AddProxy(true); };
  beta.Stop();
  Want(false);
  beta.Start();
  ExpectLocally({"3"}, 0);
  Acknowledge(second);
  GiveBack(first);
  ExpectLocally({"1"}, 1);
}

TEST_F(RemoteLeaseTest, EachIsDoneOnceWhateverBreaks) {
  constexpr size_t kMessages = 600;
  std::mt19937_64 random(TestSeed());
  alpha.on_restart = [&] { OpenAtHome(1); };
  beta.on_restart = [&] { AddProxy(true); };
  std::thread flood([&] {
    for (size_t i = 0; i < kMessages; ++i) Send(i % 3 == 0 ? 31 : 0, absl::StrCat(i));
  });
  std::vector<Held> held;
  std::vector<int> done(kMessages, 0);
  size_t next[2] = {};  // of what is not marked, urgent or not
  for (size_t left = kMessages, round = 0; left > 0; ++round) {
    if (held.size() < std::min<size_t>(left, 10)) {
      held.push_back(Hold());
      const auto number = static_cast<size_t>(std::stoi(held.back().body));
      ASSERT_LT(number, kMessages);
      if (held.back().attempts == 0) {
        size_t& expected = next[number % 3 == 0];
        EXPECT_GE(number, expected);
        expected = number + 1;
      }
    }
    if (random() % 2 == 0 || held.size() == std::min<size_t>(left, 10)) {
      const size_t which = random() % held.size();
      if (random() % 4 == 0) {
        GiveBack(held[which]);
      } else {
        Acknowledge(held[which]);
        ++done[static_cast<size_t>(std::stoi(held[which].body))];
        --left;
      }
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
    }
    if (round % 10 == 0) {
      (round % 20 == 0 ? alpha : beta)
          .Cut(round % 40 < 20 ? proto::BULK : proto::URGENT, round % 80 < 40);
    }
    if (round % 100 == 50) {
      TestNode& node = round % 200 == 50 ? alpha : beta;
      node.Stop();
      node.Start();
    }
  }
  flood.join();
  EXPECT_THAT(done, testing::Each(1));
  AwaitLeased(0);
  EXPECT_EQ(Count().left(), 0u);
}

// Of which the private lane has room for two.
class RemoteLeaseRoomTest : public RemoteLeaseTest {
 protected:
  RemoteLeaseRoomTest()
      : RemoteLeaseTest(
            CellGeometry{.slots = 128, .slab_bytes = (2 * kLargest + 65536) / 4096 * 4096}) {}
};

TEST_F(RemoteLeaseRoomTest, WhatHasNoRoomBesideWhatIsHeldIsForOthersUntilThereIs) {
  for (const char body : {'1', '2', '3'}) Send(0, std::string(kLargest - 10000, body));
  const Held first = Hold(), second = Hold();
  EXPECT_EQ(second.body[0], '2');
  Want(true);
  const Message third = local.Receive();
  EXPECT_EQ(third.body()[0], '3');
  EXPECT_EQ(third.attempts(), 0);
  Send(0, std::string(kLargest - 10000, '4'));
  Acknowledge(first);
  EXPECT_EQ(HoldWhatIsWanted().body[0], '4');
}

}  // namespace
}  // namespace mailrail
