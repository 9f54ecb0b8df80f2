#include "core/sync/shared_mutex_memory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/sync/sync_testing.h"

namespace mailrail {
namespace {

constexpr Holder kReader = {7, 1}, kOther = {8, 1}, kWriter = {9, 1};
constexpr uint32_t kNoCell = SharedMutexMemory::kNoCell;

class SharedMutexMemoryTest : public ::testing::Test {
 protected:
  const TestObject<SharedMutexMemory> object_{SharedMutexMemory::kReaders};
  SharedMutexMemory mutex_ = object_.view();
};

TEST_F(SharedMutexMemoryTest, ManyReadOrOneWrites) {
  uint32_t first = 0, second = 0, third = 0;
  EXPECT_EQ(mutex_.TryLockShared(kReader, &first), Acquired::kYes);
  EXPECT_EQ(mutex_.TryLockShared(kOther, &second), Acquired::kYes);
  EXPECT_TRUE(mutex_.ReadBy(kReader));
  ASSERT_EQ(mutex_.TryLock(kWriter), Acquired::kYes);
  EXPECT_FALSE(mutex_.Drained());
  EXPECT_EQ(mutex_.TryLockShared(kOther, &third), Acquired::kNo) << "a writer goes first";
  EXPECT_TRUE(mutex_.UnlockShared(kReader, first));
  EXPECT_FALSE(mutex_.Drained());
  EXPECT_TRUE(mutex_.UnlockShared(kOther, second));
  EXPECT_TRUE(mutex_.Drained());
  EXPECT_EQ(mutex_.writer(), kWriter);
  EXPECT_EQ(mutex_.TryLock(kOther), Acquired::kNo);
  EXPECT_TRUE(mutex_.Unlock(kWriter));
  EXPECT_EQ(mutex_.TryLockShared(kReader, &first), Acquired::kYes);
}

TEST_F(SharedMutexMemoryTest, AWriterThatGivesUpLetsReadersIn) {
  uint32_t first = 0, second = 0;
  ASSERT_EQ(mutex_.TryLockShared(kReader, &first), Acquired::kYes);
  ASSERT_EQ(mutex_.TryLock(kWriter), Acquired::kYes);
  const FutexWord word = mutex_.Park();
  EXPECT_TRUE(mutex_.Unlock(kWriter));
  EXPECT_NE(word.word->load(), word.expected) << "readers that wait are woken";
  EXPECT_EQ(mutex_.TryLockShared(kOther, &second), Acquired::kYes);
}

TEST_F(SharedMutexMemoryTest, TheLastReaderWakesAWriter) {
  uint32_t cell = 0;
  ASSERT_EQ(mutex_.TryLockShared(kReader, &cell), Acquired::kYes);
  ASSERT_EQ(mutex_.TryLock(kWriter), Acquired::kYes);
  const FutexWord word = mutex_.Park();
  EXPECT_TRUE(mutex_.UnlockShared(kReader, cell));
  EXPECT_NE(word.word->load(), word.expected);
}

TEST_F(SharedMutexMemoryTest, ADeadReaderHoldsUpNobodyAndADeadWriterIsTold) {
  uint32_t cell = 0, other = 0;
  ASSERT_EQ(mutex_.TryLockShared(kReader, &cell), Acquired::kYes);
  ASSERT_EQ(mutex_.TryLock(kWriter), Acquired::kYes);
  EXPECT_TRUE(mutex_.RemoveHolder(kReader.number));
  EXPECT_TRUE(mutex_.Drained());
  EXPECT_FALSE(mutex_.UnlockShared(kReader, cell));
  EXPECT_TRUE(mutex_.RemoveHolder(kWriter.number));
  EXPECT_FALSE(mutex_.Unlock(kWriter));
  // Until somebody has written, what is there may be half written.
  EXPECT_EQ(mutex_.TryLockShared(kReader, &cell), Acquired::kAfterDeath);
  EXPECT_EQ(mutex_.TryLockShared(kOther, &other), Acquired::kAfterDeath);
  EXPECT_TRUE(mutex_.UnlockShared(kReader, cell));
  EXPECT_TRUE(mutex_.UnlockShared(kOther, other));
  EXPECT_EQ(mutex_.TryLock(kOther), Acquired::kAfterDeath);
  EXPECT_TRUE(mutex_.Unlock(kOther));
  EXPECT_EQ(mutex_.TryLockShared(kReader, &cell), Acquired::kYes);
}

TEST_F(SharedMutexMemoryTest, FencesRiseAndAreForTheHolder) {
  uint32_t cell = 0;
  ASSERT_EQ(mutex_.TryLockShared(kReader, &cell), Acquired::kYes);
  const uint64_t first = mutex_.Fence(kReader, cell);
  EXPECT_GT(first, 0u);
  EXPECT_TRUE(mutex_.UnlockShared(kReader, cell));
  EXPECT_EQ(mutex_.Fence(kReader, cell), 0u);
  ASSERT_EQ(mutex_.TryLock(kWriter), Acquired::kYes);
  EXPECT_GT(mutex_.Fence(kWriter, kNoCell), first);
}

TEST_F(SharedMutexMemoryTest, AllCellsCanBeReadersAndTheNextWaitsForOne) {
  std::vector<uint32_t> cells(SharedMutexMemory::kReaders);
  for (uint32_t i = 0; i < cells.size(); ++i) {
    ASSERT_EQ(mutex_.TryLockShared({1, i}, &cells[i]), Acquired::kYes) << i;
  }
  uint32_t cell = 0;
  EXPECT_EQ(mutex_.TryLockShared(kOther, &cell), Acquired::kNo);
  const FutexWord word = mutex_.Park();
  EXPECT_TRUE(mutex_.UnlockShared({1, 5}, cells[5]));
  EXPECT_NE(word.word->load(), word.expected);
  EXPECT_EQ(mutex_.TryLockShared(kOther, &cell), Acquired::kYes);
}

TEST_F(SharedMutexMemoryTest, OfManyThreadsNoneReadsWhileOneWrites) {
  constexpr uint32_t kThreads = 6;
  constexpr int kRounds = 3000 / kSlowdown;
  uint64_t left = 0, right = 0;
  std::atomic<uint64_t> reads{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 1; i <= kThreads; ++i) {
    threads.emplace_back([&, i] {
      SharedMutexMemory mutex = object_.view();
      const Holder me = {i, 1};
      for (int round = 0; round < kRounds; ++round) {
        if (i <= 2) {
          TryUntilWoken([&](bool) { return mutex.TryLock(me) == Acquired::kYes; },
                        [&] { return mutex.Park(); });
          TryUntilWoken([&](bool) { return mutex.Drained(); }, [&] { return mutex.Park(); });
          ++left;
          ++right;
          EXPECT_TRUE(mutex.Unlock(me));
        } else {
          uint32_t cell = 0;
          TryUntilWoken([&](bool) { return mutex.TryLockShared(me, &cell) == Acquired::kYes; },
                        [&] { return mutex.Park(); });
          EXPECT_EQ(left, right);
          ++reads;
          EXPECT_TRUE(mutex.UnlockShared(me, cell));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(left, uint64_t{2} * kRounds);
  EXPECT_EQ(reads, uint64_t{kThreads - 2} * kRounds);
}

}  // namespace
}  // namespace mailrail
