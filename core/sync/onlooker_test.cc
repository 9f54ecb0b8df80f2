// Those that look on, as wait sets do, beside those that wait. Nobody here looks again by itself: a
// wake-up that is lost stays so, and the test hangs.
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "core/sync/barrier_memory.h"
#include "core/sync/mutex_memory.h"
#include "core/sync/semaphore_memory.h"
#include "core/sync/shared_mutex_memory.h"
#include "core/sync/sync_testing.h"

namespace mailrail {
namespace {

constexpr Holder kMe = {1, 1};
constexpr int kRounds = 3000 / kSlowdown, kOnlookers = 2;

// Looks on until `ready`.
template <typename Memory, typename Ready>
void LookOn(Memory memory, Ready ready) {
  TryUntilWoken([&](bool) { return ready(); }, [&] { return memory.ParkAsOnlooker(); });
}

// Rounds, in each of which `free` lets go of what `take` has got before the others began: those
// that look on, each until `ready`, and one that waits, by `wait`, and lets go again.
template <typename Memory, typename Take, typename Free, typename Ready, typename Wait>
void Race(const TestObject<Memory>& object, Take take, Free free, Ready ready, Wait wait) {
  std::barrier<> meet(kOnlookers + 2);
  std::vector<std::thread> threads;
  for (int i = 0; i < kOnlookers; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        meet.arrive_and_wait();
        LookOn(object.view(), ready);
        meet.arrive_and_wait();
      }
    });
  }
  threads.emplace_back([&] {
    for (int round = 0; round < kRounds; ++round) {
      meet.arrive_and_wait();
      wait();
      meet.arrive_and_wait();
    }
  });
  TestRandom random;
  for (int round = 0; round < kRounds; ++round) {
    take();
    meet.arrive_and_wait();
    for (uint64_t pause = random.Below(3000); pause > 0; --pause)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    if (round % 8 == 0) std::this_thread::yield();
    free();
    meet.arrive_and_wait();
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(OnlookerTest, OfAMutex) {
  const TestObject<MutexMemory> object(0);
  MutexMemory mutex = object.view();
  const Holder you = {2, 1};
  Race(
      object, [&] { ASSERT_EQ(mutex.TryLock(kMe, false), Acquired::kYes); },
      [&] { ASSERT_TRUE(mutex.Unlock(kMe)); }, [&] { return mutex.holder().number == 0; },
      [&] {
        TryUntilWoken([&](bool slept) { return mutex.TryLock(you, slept) == Acquired::kYes; },
                      [&] { return mutex.Park(); });
        ASSERT_TRUE(mutex.Unlock(you));
      });
}

TEST(OnlookerTest, OfASharedMutexToWrite) {
  const TestObject<SharedMutexMemory> object(SharedMutexMemory::kReaders);
  SharedMutexMemory mutex = object.view();
  const Holder you = {2, 1};
  uint32_t mine = 0, yours = 0;
  Race(
      object, [&] { ASSERT_EQ(mutex.TryLockShared(kMe, &mine), Acquired::kYes); },
      [&] { ASSERT_TRUE(mutex.UnlockShared(kMe, mine)); },
      [&] { return mutex.writer().number == 0 && mutex.Drained(); },
      [&] {
        TryUntilWoken([&](bool) { return mutex.TryLockShared(you, &yours) == Acquired::kYes; },
                      [&] { return mutex.Park(); });
        ASSERT_TRUE(mutex.UnlockShared(you, yours));
      });
}

TEST(OnlookerTest, OfASharedMutexToRead) {
  const TestObject<SharedMutexMemory> object(SharedMutexMemory::kReaders);
  SharedMutexMemory mutex = object.view();
  const Holder you = {2, 1};
  Race(
      object, [&] { ASSERT_EQ(mutex.TryLock(kMe), Acquired::kYes); },
      [&] { ASSERT_TRUE(mutex.Unlock(kMe)); }, [&] { return mutex.MayRead(); },
      [&] {
        TryUntilWoken([&](bool) { return mutex.TryLock(you) == Acquired::kYes; },
                      [&] { return mutex.Park(); });
        ASSERT_TRUE(mutex.Unlock(you));
      });
}

TEST(OnlookerTest, OfASemaphore) {
  constexpr uint32_t kUnits = 2;
  const TestObject<SemaphoreMemory> object(kUnits);
  SemaphoreMemory semaphore = object.view();
  SemaphoreMemory::Fill(object.data(), object.memory().size(), kUnits);
  const Holder you = {2, 1};
  uint32_t mine[kUnits] = {}, yours = 0;
  Race(
      object,
      [&] {
        for (uint32_t& cell : mine) ASSERT_TRUE(semaphore.TryAcquire(kMe, false, &cell));
      },
      [&] {
        for (const uint32_t cell : mine) ASSERT_TRUE(semaphore.Release(kMe, cell));
      },
      [&] { return semaphore.HasFree(); },
      [&] {
        TryUntilWoken([&](bool slept) { return semaphore.TryAcquire(you, slept, &yours); },
                      [&] { return semaphore.Park(); });
        ASSERT_TRUE(semaphore.Release(you, yours));
      });
}

TEST(OnlookerTest, OfTheRoundsOfABarrier) {
  const TestObject<BarrierMemory> object(2);
  BarrierMemory barrier = object.view();
  const Holder you = {2, 1};
  std::atomic<uint32_t> round = 0;
  BarrierMemory::Place mine, yours;
  Race(
      object, [&] { round = barrier.generation(); },
      [&] {
        TryUntilWoken([&](bool) { return barrier.Arrive(kMe, &mine); },
                      [&] { return barrier.Park(); });
      },
      [&] { return barrier.generation() != round; },
      [&] {
        ASSERT_TRUE(barrier.Arrive(you, &yours));
        TryUntilWoken([&](bool) { return barrier.Passed(yours); }, [&] { return barrier.Park(); });
      });
}

// Whoever has died was perhaps about to wake somebody.
TEST(OnlookerTest, AreWokenWithAllOthers) {
  const TestObject<MutexMemory> object(0);
  MutexMemory mutex = object.view();
  ASSERT_EQ(mutex.TryLock(kMe, false), Acquired::kYes);
  FutexWord word = mutex.ParkAsOnlooker();
  EXPECT_TRUE(mutex.RemoveHolder(kMe.number));
  EXPECT_NE(word.word->load(), word.expected);
  word = mutex.ParkAsOnlooker();
  mutex.Close();
  EXPECT_NE(word.word->load(), word.expected);
}

TEST(OnlookerTest, TakeNoWakeUpOfOneThatWaits) {
  const TestObject<MutexMemory> object(0);
  MutexMemory mutex = object.view();
  ASSERT_EQ(mutex.TryLock(kMe, false), Acquired::kYes);
  const FutexWord waits = mutex.Park(), looks_on = mutex.ParkAsOnlooker();
  EXPECT_NE(waits.word, looks_on.word);
  EXPECT_TRUE(mutex.Unlock(kMe));
  EXPECT_NE(waits.word->load(), waits.expected);
  EXPECT_NE(looks_on.word->load(), looks_on.expected);
  // Nobody looks on from here: it costs nothing.
  const uint32_t gate = looks_on.word->load();
  ASSERT_EQ(mutex.TryLock(kMe, false), Acquired::kYes);
  EXPECT_TRUE(mutex.Unlock(kMe));
  EXPECT_EQ(looks_on.word->load(), gate);
}

}  // namespace
}  // namespace mailrail
