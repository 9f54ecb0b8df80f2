#include "core/sync/mutex_memory.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "core/sync/sync_testing.h"

namespace mailrail {
namespace {

constexpr Holder kMe = {7, 1}, kMyOther = {7, 2}, kYou = {8, 1};

class MutexMemoryTest : public ::testing::Test {
 protected:
  const TestObject<MutexMemory> object_{0};
  MutexMemory mutex_ = object_.view();
};

TEST_F(MutexMemoryTest, OneHoldsIt) {
  EXPECT_EQ(mutex_.holder(), Holder{});
  EXPECT_EQ(mutex_.TryLock(kMe, false), Acquired::kYes);
  EXPECT_EQ(mutex_.holder(), kMe);
  EXPECT_EQ(mutex_.TryLock(kYou, false), Acquired::kNo);
  EXPECT_EQ(mutex_.TryLock(kMyOther, false), Acquired::kNo);
  EXPECT_FALSE(mutex_.Unlock(kYou));
  EXPECT_FALSE(mutex_.Unlock(kMyOther));
  EXPECT_TRUE(mutex_.Unlock(kMe));
  EXPECT_FALSE(mutex_.Unlock(kMe));
  EXPECT_EQ(mutex_.TryLock(kYou, false), Acquired::kYes);
}

TEST_F(MutexMemoryTest, AThreadThatHasItIsToldSo) {
  ASSERT_EQ(mutex_.TryLock(kMe, false), Acquired::kYes);
  EXPECT_EQ(mutex_.TryLock(kMe, false), Acquired::kHeldBySelf);
}

TEST_F(MutexMemoryTest, WhoLocksAfterADeathIsToldOnce) {
  ASSERT_EQ(mutex_.TryLock(kMe, false), Acquired::kYes);
  EXPECT_FALSE(mutex_.RemoveHolder(kYou.number));
  EXPECT_TRUE(mutex_.RemoveHolder(kMe.number));
  EXPECT_FALSE(mutex_.RemoveHolder(kMe.number));
  EXPECT_FALSE(mutex_.Unlock(kMe)) << "it was taken away";
  EXPECT_EQ(mutex_.TryLock(kYou, false), Acquired::kAfterDeath);
  EXPECT_TRUE(mutex_.Unlock(kYou));
  EXPECT_EQ(mutex_.TryLock(kYou, false), Acquired::kYes);
}

TEST_F(MutexMemoryTest, FencesRiseAndAreForTheHolder) {
  ASSERT_EQ(mutex_.TryLock(kMe, false), Acquired::kYes);
  const uint64_t first = mutex_.Fence(kMe);
  EXPECT_GT(first, 0u);
  EXPECT_EQ(mutex_.Fence(kYou), 0u);
  mutex_.RemoveHolder(kMe.number);
  ASSERT_EQ(mutex_.TryLock(kYou, false), Acquired::kAfterDeath);
  EXPECT_GT(mutex_.Fence(kYou), first);
  EXPECT_EQ(mutex_.Fence(kMe), 0u);
}

TEST_F(MutexMemoryTest, TheGateChangesForOneWhoWaitsAlone) {
  ASSERT_EQ(mutex_.TryLock(kMe, false), Acquired::kYes);
  const FutexWord word = mutex_.Park();
  EXPECT_TRUE(mutex_.Unlock(kMe));
  EXPECT_EQ(word.word->load(), word.expected + 1);
  ASSERT_EQ(mutex_.TryLock(kMe, false), Acquired::kYes);
  EXPECT_TRUE(mutex_.Unlock(kMe));
  EXPECT_EQ(word.word->load(), word.expected + 1) << "nobody waits";
}

// One that has parked while nobody had it, and finds that another was quicker.
TEST_F(MutexMemoryTest, WhoParksBesideAFreeMutexIsWoken) {
  const FutexWord word = mutex_.Park();
  ASSERT_EQ(mutex_.TryLock(kYou, false), Acquired::kYes);
  ASSERT_EQ(mutex_.TryLock(kMe, true), Acquired::kNo);
  EXPECT_TRUE(mutex_.Unlock(kYou));
  EXPECT_NE(word.word->load(), word.expected);
}

TEST_F(MutexMemoryTest, OfManyThreadsOneAtATimeHasIt) {
  constexpr int kThreads = 8, kRounds = 20000 / kSlowdown;
  uint64_t plain = 0;
  uint64_t last_fence = 0;
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i <= kThreads; ++i) {
    threads.emplace_back([&, i] {
      MutexMemory mutex = object_.view();
      const Holder me = {i % 2 + 1, i};
      for (int round = 0; round < kRounds; ++round) {
        TryUntilWoken([&](bool slept) { return mutex.TryLock(me, slept) == Acquired::kYes; },
                      [&] { return mutex.Park(); });
        ++plain;
        if (round % 16 == 0) {
          const uint64_t fence = mutex.Fence(me);
          EXPECT_GT(fence, last_fence);
          last_fence = fence;
        }
        EXPECT_TRUE(mutex.Unlock(me));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(plain, uint64_t{kThreads} * kRounds);
}

TEST_F(MutexMemoryTest, WhatIsNoneIsRefused) {
  const TwiceMapped memory(4096);
  EXPECT_FALSE(SyncMemory::Check(memory.writable(), 4096, SyncKind::kMutex).ok());
  SyncMemory::Format(memory.writable(), SyncKind::kMutex, 0);
  EXPECT_TRUE(SyncMemory::Check(memory.writable(), 4096, SyncKind::kMutex).ok());
  EXPECT_FALSE(SyncMemory::Check(memory.writable(), 4096, SyncKind::kBarrier).ok());
  EXPECT_FALSE(SyncMemory::Check(memory.writable(), 639, SyncKind::kMutex).ok());
  SyncMemory::Format(memory.writable(), SyncKind::kMutex, 1000);
  EXPECT_FALSE(SyncMemory::Check(memory.writable(), 4096, SyncKind::kMutex).ok());
}

}  // namespace
}  // namespace mailrail
