// Which receiver takes a message of a mailbox (MailboxOptions::distribution), over lanes of
// hand-made channels.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/mailbox/test_channel.h"
#include "core/message/prefix.h"

namespace mailrail {
namespace {

// Receivers to which messages are assigned, and one sender.
class DistributionTest : public testing::Test {
 protected:
  explicit DistributionTest(Distribution distribution = Distribution::kStickyByKey,
                            bool hold_order = false)
      : options_{.capacity_messages = 1024, .hold_order = hold_order, .distribution = distribution},
        channel_(options_) {
    for (uint32_t number = 1; number <= 4; ++number) {
      receivers_[number] = std::make_unique<MailboxQueue>(number);
      receivers_[number]->Distribute(distribution, number);
      if (hold_order) receivers_[number]->HoldOrder(channel_.gate());
    }
    lane_ = channel_.AddCells(
        {receivers_[1].get(), receivers_[2].get(), receivers_[3].get(), receivers_[4].get()});
    Assign({1, 2, 3});
  }

  void Assign(const std::vector<uint32_t>& numbers) {
    EXPECT_TRUE(ReceiverTable::Of(&channel_.control())->Write(numbers));
  }
  void Send(const std::string& key, const std::string& body) {
    const std::string prefix = EncodePrefix({.key = key});
    ASSERT_TRUE(lane_->Send(0, {prefix, body}, absl::InfinitePast()).ok());
  }
  std::string Take(uint32_t number) { return Receive(*receivers_[number], channel_); }
  // All that each has for itself, in their order.
  std::map<uint32_t, std::vector<std::string>> TakeAll() {
    std::map<uint32_t, std::vector<std::string>> taken;
    for (const auto& [number, receiver] : receivers_) {
      for (std::string body = Take(number); body != "(nothing)"; body = Take(number)) {
        taken[number].push_back(body);
      }
    }
    return taken;
  }
  // Who gets which of a hundred keys now.
  std::map<std::string, uint32_t> Keys() {
    for (int i = 0; i < 100; ++i) Send(absl::StrCat("key", i), absl::StrCat("key", i));
    std::map<std::string, uint32_t> keys;
    for (const auto& [number, bodies] : TakeAll()) {
      for (const std::string& body : bodies) keys[body] = number;
    }
    EXPECT_EQ(keys.size(), 100u);
    return keys;
  }
  // A key that the receiver with this number gets.
  std::string KeyOf(uint32_t number) {
    for (const auto& [key, receiver] : Keys()) {
      if (receiver == number) return key;
    }
    ADD_FAILURE() << "no key for receiver " << number;
    return "";
  }

  const MailboxOptions options_;
  TestChannel channel_;
  std::map<uint32_t, std::unique_ptr<MailboxQueue>> receivers_;
  std::shared_ptr<OutgoingLane> lane_;
};

TEST_F(DistributionTest, AllMessagesOfAKeyGoToOneReceiverInTheirOrder) {
  for (int i = 0; i < 300; ++i) {
    // Some of them in the slab.
    Send(absl::StrCat("key", i % 30), absl::StrCat(i, std::string(i % 7 == 0 ? 500 : 0, ' ')));
  }
  std::map<int, std::set<uint32_t>> receivers_of;
  std::map<int, int> last_of;
  for (const auto& [number, bodies] : TakeAll()) {
    EXPECT_GT(bodies.size(), 30u) << "a share that is too small";
    for (const std::string& body : bodies) {
      const int message = std::stoi(body);
      receivers_of[message % 30].insert(number);
      EXPECT_GT(message + 1, std::exchange(last_of[message % 30], message + 1));
    }
  }
  EXPECT_EQ(receivers_of.size(), 30u);
  for (const auto& [key, receivers] : receivers_of) EXPECT_EQ(receivers.size(), 1u) << key;
}

TEST_F(DistributionTest, FewKeysMoveWhenAReceiverJoinsAndOnlyItsOwnWhenItGoes) {
  const std::map<std::string, uint32_t> before = Keys();
  Assign({1, 2, 3, 4});
  const std::map<std::string, uint32_t> with = Keys();
  int moved = 0;
  for (const auto& [key, number] : with) {
    if (number == before.at(key)) continue;
    EXPECT_EQ(number, 4u) << key;
    ++moved;
  }
  EXPECT_GT(moved, 10);
  EXPECT_LT(moved, 45);
  Assign({1, 2, 3});
  EXPECT_EQ(Keys(), before);
  Assign({1, 3});
  for (const auto& [key, number] : Keys()) {
    EXPECT_TRUE(number == before.at(key) || before.at(key) == 2) << key;
  }
}

TEST_F(DistributionTest, WhatAReceiverHasNotTakenGoesToOthersInOrderWhenItGoes) {
  const std::string key = KeyOf(2);
  for (const char* body : {"a", "b", "c"}) Send(key, body);
  EXPECT_EQ(Take(1), "(nothing)");
  EXPECT_EQ(Take(3), "(nothing)");
  EXPECT_EQ(Take(2), "a");
  // What it has leased comes back.
  Lease held;
  ASSERT_EQ(TakeLease(*receivers_[2], channel_, &held), "b");
  Assign({1, 3});
  held.lane->reader().ReleaseClaimsOf(2);
  EXPECT_EQ(Take(2), "(nothing)");
  const auto taken = TakeAll();
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken.begin()->second, (std::vector<std::string>{"b", "c"}));
}

TEST_F(DistributionTest, AMessageThatIsGivenBackStaysWithItsReceiver) {
  Send(KeyOf(2), "a");
  Lease held;
  ASSERT_EQ(TakeLease(*receivers_[2], channel_, &held), "a");
  ASSERT_TRUE(receivers_[2]->Finish(held, MailboxQueue::Outcome::kReturned));
  EXPECT_EQ(Take(1), "(nothing)");
  EXPECT_FALSE(receivers_[3]->MayHave(channel_.control()));
  EXPECT_TRUE(receivers_[2]->MayHave(channel_.control()));
  EXPECT_EQ(Take(2), "a");
}

TEST_F(DistributionTest, AMessageWithoutAKeyGoesToWhoeverIsFree) {
  for (const char* body : {"a", "b", "c", "d"}) ASSERT_TRUE(TrySend(*lane_, 0, body).ok());
  EXPECT_EQ(Take(3), "a");
  EXPECT_EQ(Take(1), "b");
  EXPECT_EQ(Take(3), "c");
  EXPECT_EQ(Take(2), "d");
}

// An agent is killed while it writes them.
TEST_F(DistributionTest, ReceiversGoOnByThoseBeforeWhileTheTableIsBeingWritten) {
  const std::map<std::string, uint32_t> before = Keys();
  ReceiverTable* const table = ReceiverTable::Of(&channel_.control());
  table->version.fetch_add(1);
  table->count.store(1);
  table->numbers[0].store(4);
  EXPECT_EQ(Keys(), before);
  // The next one writes anew.
  Assign({1, 2, 3});
  EXPECT_EQ(Keys(), before);
  EXPECT_FALSE(table->Write({1, 2, 3}));
}

class RoundRobinTest : public DistributionTest {
 protected:
  RoundRobinTest() : DistributionTest(Distribution::kRoundRobin) {}
};

TEST_F(RoundRobinTest, ReceiversTakeTurnsAndASlowOneHoldsUpItsShareAlone) {
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(TrySend(*lane_, 0, absl::StrCat(i)).ok());
  std::vector<int> of(300, 0);
  for (const uint32_t number : {3u, 1u}) {
    for (std::string body = Take(number); body != "(nothing)"; body = Take(number)) {
      of[static_cast<size_t>(std::stoi(body))] = static_cast<int>(number);
    }
  }
  // The third has not received yet.
  for (int i = 0; i < 100; ++i) {
    const std::string body = Take(2);
    ASSERT_NE(body, "(nothing)");
    of[static_cast<size_t>(std::stoi(body))] = 2;
  }
  for (size_t i = 0; i < of.size(); ++i) EXPECT_EQ(of[i], of[i % 3]) << i;
  EXPECT_EQ((std::set<int>{of[0], of[1], of[2]}), (std::set<int>{1, 2, 3}));
}

TEST_F(RoundRobinTest, TurnsBeginAnewWhenTheReceiversChange) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(TrySend(*lane_, 0, absl::StrCat(i)).ok());
  EXPECT_NE(Take(1), "(nothing)");
  EXPECT_NE(Take(3), "(nothing)");
  Assign({2});
  EXPECT_EQ(Take(1), "(nothing)");
  EXPECT_EQ(Take(3), "(nothing)");
  for (int i = 0; i < 98; ++i) EXPECT_NE(Take(2), "(nothing)");
  EXPECT_EQ(Take(2), "(nothing)");
}

class StickyHoldTest : public DistributionTest {
 protected:
  StickyHoldTest() : DistributionTest(Distribution::kStickyByKey, /*hold_order=*/true) {}
};

TEST_F(StickyHoldTest, AMessageHoldsUpThoseOfItsKeyAloneAlsoWhenTheKeyMoves) {
  const std::string key = KeyOf(2);
  std::string other;
  for (const auto& [name, number] : Keys()) {
    if (number == 2 && name != key) other = name;
  }
  ASSERT_NE(other, "");
  for (const char* body : {"a1", "a2"}) Send(key, body);
  for (const char* body : {"b1", "b2"}) Send(other, body);
  Lease held;
  ASSERT_EQ(TakeLease(*receivers_[2], channel_, &held), "a1");
  EXPECT_EQ(Take(2), "b1");
  Assign({4});
  EXPECT_EQ(Take(4), "b2");
  EXPECT_EQ(Take(4), "(nothing)");
  ASSERT_TRUE(receivers_[2]->Finish(held, MailboxQueue::Outcome::kReceived));
  EXPECT_EQ(Take(4), "a2");
}

}  // namespace
}  // namespace mailrail
