#include "core/sync/condition_memory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/sync/sync_testing.h"

namespace mailrail {
namespace {

constexpr Holder kFirst = {7, 1}, kSecond = {8, 1}, kThird = {9, 1};

class ConditionMemoryTest : public ::testing::Test {
 protected:
  const TestObject<ConditionMemory> object_{2 * ConditionMemory::kWaiters};
  ConditionMemory condition_ = object_.view();
};

TEST_F(ConditionMemoryTest, ANotificationIsForOneOfThoseThatWait) {
  EXPECT_FALSE(condition_.NotifyOne());
  uint32_t first = 0, second = 0;
  ASSERT_TRUE(condition_.Enlist(kFirst, &first));
  ASSERT_TRUE(condition_.Enlist(kSecond, &second));
  EXPECT_FALSE(condition_.Notified(kFirst, first));
  EXPECT_TRUE(condition_.NotifyOne());
  EXPECT_TRUE(condition_.Notified(kFirst, first)) << "the one that came first";
  EXPECT_FALSE(condition_.Notified(kFirst, first)) << "once";
  EXPECT_FALSE(condition_.Notified(kSecond, second));
  EXPECT_TRUE(condition_.NotifyOne());
  EXPECT_FALSE(condition_.NotifyOne()) << "nobody is left";
  EXPECT_TRUE(condition_.Notified(kSecond, second));
}

TEST_F(ConditionMemoryTest, AllAreNotified) {
  uint32_t places[100];
  for (uint32_t i = 0; i < 100; ++i) ASSERT_TRUE(condition_.Enlist({i + 1, 1}, &places[i]));
  condition_.NotifyAll();
  for (uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(condition_.Notified({i + 1, 1}, places[i]));
  EXPECT_FALSE(condition_.NotifyOne());
}

TEST_F(ConditionMemoryTest, OneThatGivesUpIsNotNotifiedOrHasBeen) {
  uint32_t first = 0, second = 0;
  ASSERT_TRUE(condition_.Enlist(kFirst, &first));
  ASSERT_TRUE(condition_.Enlist(kSecond, &second));
  EXPECT_FALSE(condition_.Leave(kFirst, first));
  EXPECT_TRUE(condition_.NotifyOne());
  EXPECT_TRUE(condition_.Leave(kSecond, second));
  EXPECT_FALSE(condition_.NotifyOne());
}

TEST_F(ConditionMemoryTest, WhatADeadOneWasNotifiedOfGoesToAnother) {
  uint32_t first = 0, second = 0, third = 0;
  ASSERT_TRUE(condition_.Enlist(kFirst, &first));
  ASSERT_TRUE(condition_.Enlist(kSecond, &second));
  ASSERT_TRUE(condition_.Enlist(kThird, &third));
  EXPECT_TRUE(condition_.NotifyOne());
  EXPECT_EQ(condition_.RemoveHolder(kFirst.number), 1u);
  EXPECT_FALSE(condition_.Notified(kFirst, first));
  EXPECT_TRUE(condition_.Notified(kSecond, second));
  EXPECT_FALSE(condition_.Notified(kThird, third));
  // One that was not notified has nothing to hand on.
  EXPECT_EQ(condition_.RemoveHolder(kThird.number), 1u);
  EXPECT_FALSE(condition_.NotifyOne());
}

TEST_F(ConditionMemoryTest, ThereAreSoManyPlaces) {
  uint32_t place = 0;
  for (uint32_t i = 0; i < ConditionMemory::kWaiters; ++i) {
    ASSERT_TRUE(condition_.Enlist({1, i}, &place));
  }
  EXPECT_FALSE(condition_.Enlist(kSecond, &place));
  EXPECT_TRUE(condition_.Notified({1, 0}, 0) || condition_.NotifyOne());
}

TEST_F(ConditionMemoryTest, AsManyGoOnAsWereNotified) {
  constexpr uint32_t kThreads = 4;
  constexpr int kNotifications = 20000 / kSlowdown;
  std::atomic<int> had{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i <= kThreads; ++i) {
    threads.emplace_back([&, i] {
      ConditionMemory condition = object_.view();
      const Holder me = {i, 1};
      while (!stop) {
        uint32_t place = 0;
        ASSERT_TRUE(condition.Enlist(me, &place));
        bool notified = false;
        TryUntil(
            [&](bool slept) {
              notified = condition.Notified(me, place);
              return notified || (slept && stop);
            },
            [&] { return condition.Park(place); });
        if (!notified) notified = condition.Leave(me, place);
        if (notified) ++had;
      }
    });
  }
  int notified = 0;
  while (notified < kNotifications) notified += condition_.NotifyOne() ? 1 : 0;
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(had, kNotifications);
}

}  // namespace
}  // namespace mailrail
