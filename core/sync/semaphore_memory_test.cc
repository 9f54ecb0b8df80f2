#include "core/sync/semaphore_memory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/sync/sync_testing.h"

namespace mailrail {
namespace {

constexpr Holder kMe = {7, 1}, kYou = {8, 1};

class SemaphoreMemoryTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kUnits = 2, kMost = 5;
  SemaphoreMemoryTest() { SemaphoreMemory::Fill(object_.data(), object_.memory().size(), kUnits); }

  const TestObject<SemaphoreMemory> object_{kMost};
  SemaphoreMemory semaphore_ = object_.view();
};

TEST_F(SemaphoreMemoryTest, AsManyAsThereAreUnitsHaveOne) {
  EXPECT_EQ(semaphore_.value(), kUnits);
  uint32_t mine = 0, yours = 0, none = 0;
  EXPECT_TRUE(semaphore_.TryAcquire(kMe, false, &mine));
  EXPECT_TRUE(semaphore_.TryAcquire(kYou, false, &yours));
  EXPECT_FALSE(semaphore_.TryAcquire(kYou, false, &none));
  EXPECT_FALSE(semaphore_.TryTake(false, &none));
  EXPECT_FALSE(semaphore_.Release(kYou, mine)) << "it is not this one's";
  EXPECT_TRUE(semaphore_.Release(kMe, mine));
  EXPECT_FALSE(semaphore_.Release(kMe, mine));
  EXPECT_TRUE(semaphore_.TryAcquire(kMe, false, &none));
  EXPECT_EQ(semaphore_.value(), 0u);
}

TEST_F(SemaphoreMemoryTest, UnitsAreUsedUpAndAdded) {
  uint32_t cell = 0;
  EXPECT_TRUE(semaphore_.TryTake(false, &cell));
  EXPECT_EQ(semaphore_.value(), kUnits - 1);
  for (uint32_t value = kUnits; value <= kMost; ++value) {
    EXPECT_TRUE(semaphore_.Add(&cell));
    EXPECT_EQ(semaphore_.value(), value);
  }
  EXPECT_FALSE(semaphore_.Add(&cell)) << "there are as many as there may be";
}

TEST_F(SemaphoreMemoryTest, WhatTheDeadHoldComesBackAndWhatTheyUsedUpDoesNot) {
  uint32_t cell = 0, taken = 0, mine = 0;
  ASSERT_TRUE(semaphore_.Add(&cell));
  ASSERT_TRUE(semaphore_.TryTake(false, &taken));
  ASSERT_TRUE(semaphore_.TryAcquire(kYou, false, &cell));
  ASSERT_TRUE(semaphore_.TryAcquire(kMe, false, &mine));
  EXPECT_EQ(semaphore_.value(), 0u);
  EXPECT_EQ(semaphore_.RemoveHolder(kYou.number), 1u);
  EXPECT_EQ(semaphore_.value(), 1u);
  EXPECT_FALSE(semaphore_.Release(kYou, cell));
  Holder holders[kMost];
  ASSERT_EQ(semaphore_.Holders(holders, kMost), 1u);
  EXPECT_EQ(holders[0], kMe);
}

TEST_F(SemaphoreMemoryTest, FencesRiseAndAreForTheHolder) {
  uint32_t mine = 0, yours = 0;
  ASSERT_TRUE(semaphore_.TryAcquire(kMe, false, &mine));
  ASSERT_TRUE(semaphore_.TryAcquire(kYou, false, &yours));
  const uint64_t fence = semaphore_.Fence(kMe, mine);
  EXPECT_GT(fence, 0u);
  EXPECT_GT(semaphore_.Fence(kYou, yours), fence);
  EXPECT_EQ(semaphore_.Fence(kMe, yours), 0u);
}

// Two that sleep, and two units one after the other: the second release wakes nobody, as the first
// has cleared the flag.
TEST_F(SemaphoreMemoryTest, TwoUnitsWakeTwo) {
  uint32_t mine = 0, yours = 0;
  ASSERT_TRUE(semaphore_.TryAcquire(kMe, false, &mine));
  ASSERT_TRUE(semaphore_.TryAcquire(kMe, false, &yours));
  std::atomic<int> parked{0}, done{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i <= 2; ++i) {
    threads.emplace_back([&, i] {
      SemaphoreMemory semaphore = object_.view();
      uint32_t cell = 0;
      TryUntilWoken(
          [&](bool slept) {
            return semaphore.TryAcquire({10 + i, 1}, slept, &cell);
          },
          [&] {
            ++parked;
            return semaphore.Park();
          });
      ++done;
    });
  }
  while (parked < 2) std::this_thread::yield();
  EXPECT_TRUE(semaphore_.Release(kMe, mine));
  EXPECT_TRUE(semaphore_.Release(kMe, yours));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done, 2);
}

// Producers and consumers of a buffer that holds so many, as in the texts.
TEST_F(SemaphoreMemoryTest, ABoundedBufferNeverHoldsMoreThanItsRoom) {
  constexpr uint32_t kRoom = 3, kEach = 20000 / kSlowdown;
  const TestObject<SemaphoreMemory> empty_object(kRoom), full_object(kRoom);
  SemaphoreMemory::Fill(empty_object.data(), empty_object.memory().size(), kRoom);
  std::atomic<int> held{0};
  const auto move = [&](const TestObject<SemaphoreMemory>& from,
                        const TestObject<SemaphoreMemory>& to, int change) {
    SemaphoreMemory take = from.view(), add = to.view();
    uint32_t taken = 0, added = 0;
    for (uint32_t i = 0; i < kEach; ++i) {
      TryUntilWoken([&](bool slept) { return take.TryTake(slept, &taken); },
                    [&] { return take.Park(); });
      const int now = held += change;
      EXPECT_LE(now, static_cast<int>(kRoom));
      EXPECT_GE(now, 0);
      EXPECT_TRUE(add.Add(&added));
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] { move(empty_object, full_object, 1); });
    threads.emplace_back([&] { move(full_object, empty_object, -1); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(held, 0);
  EXPECT_EQ(empty_object.view().value(), kRoom);
}

}  // namespace
}  // namespace mailrail
