// Processes that use one object are killed at random moments, again and again, and what they held
// is removed as the agent does it: the survivors go on, and nothing is held by the dead.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <utility>

#include "core/lane/child_process.h"
#include "core/sync/barrier_memory.h"
#include "core/sync/condition_memory.h"
#include "core/sync/mutex_memory.h"
#include "core/sync/semaphore_memory.h"
#include "core/sync/shared_mutex_memory.h"
#include "core/sync/sync_testing.h"

namespace mailrail {
namespace {

constexpr int kProcesses = 3;

// What the processes and the test say to each other.
struct Progress {
  std::atomic<uint64_t> rounds;
  std::atomic<uint64_t> holders;  // the number of who writes; 0: nobody
  std::atomic<uint64_t> broken;   // how often what must not be was seen
};

class SyncKillTest : public ::testing::Test {
 protected:
  Progress& progress() { return *reinterpret_cast<Progress*>(progress_.writable()); }

  // Runs `kProcesses` of `body`, which go on for ever, kills one after the other, and calls
  // `removed` for the number of each that is dead; after each, the others make progress.
  template <typename Memory>
  void Run(const TestObject<Memory>& object,
           const std::function<void(Memory, uint32_t number, Progress*)>& body) {
    uint32_t last_number = 0;
    std::deque<std::pair<uint32_t, ChildProcess>> processes;
    const auto start = [&] {
      const uint32_t number = ++last_number;
      processes.emplace_back(number, [&, number] {
        const Mapping mapping = object.memory().MapWritable(), said = progress_.MapWritable();
        body(Memory(mapping.data(), mapping.size()), number,
             reinterpret_cast<Progress*>(said.data()));
      });
    };
    for (int i = 0; i < kProcesses; ++i) start();
    for (uint64_t kill = 0; kill < kKills / 4; ++kill) {
      // Until they have got somewhere, for a random while.
      const uint64_t until = progress().rounds + random_.Below(20);
      while (progress().rounds < until + 3) {
        for (auto& [number, process] : processes) ASSERT_TRUE(process.Running());
      }
      auto [number, process] = std::move(processes.front());
      processes.pop_front();
      ASSERT_TRUE(process.Kill());
      OnDeath(number);
      Memory memory = object.view();
      memory.RemoveHolder(number);
      // As the agent does: it may have been on its way to wake somebody.
      memory.WakeAll();
      start();
    }
    for (auto& [number, process] : processes) {
      ASSERT_TRUE(process.Kill());
      OnDeath(number);
      object.view().RemoveHolder(number);
    }
    EXPECT_EQ(progress().broken, 0u);
  }

  // Before what it held is removed, so that whoever gets it finds nobody.
  void OnDeath(uint32_t number) {
    uint64_t dead = number;
    progress().holders.compare_exchange_strong(dead, 0);
  }

  TestRandom random_;
  const TwiceMapped progress_{sizeof(Progress)};
};

TEST_F(SyncKillTest, AMutex) {
  const TestObject<MutexMemory> object(0);
  Run<MutexMemory>(object, [](MutexMemory mutex, uint32_t number, Progress* progress) {
    const Holder me = {number, 1};
    for (;;) {
      TryUntil([&](bool slept) { return mutex.TryLock(me, slept) != Acquired::kNo; },
               [&] { return mutex.Park(); });
      if (progress->holders.exchange(number) != 0) ++progress->broken;
      ++progress->rounds;
      uint64_t mine = number;
      progress->holders.compare_exchange_strong(mine, 0);
      if (!mutex.Unlock(me)) ++progress->broken;
    }
  });
  MutexMemory mutex = object.view();
  EXPECT_NE(mutex.TryLock({Holder::kLargest, 1}, false), Acquired::kNo);
}

TEST_F(SyncKillTest, ASharedMutex) {
  const TestObject<SharedMutexMemory> object(SharedMutexMemory::kReaders);
  Run<SharedMutexMemory>(object, [](SharedMutexMemory mutex, uint32_t number, Progress* progress) {
    const Holder me = {number, 1};
    for (uint64_t round = 0;; ++round) {
      if (round % 4 != 0) {
        uint32_t cell = 0;
        TryUntil([&](bool) { return mutex.TryLockShared(me, &cell) != Acquired::kNo; },
                 [&] { return mutex.Park(); });
        if (progress->holders != 0) ++progress->broken;
        ++progress->rounds;
        if (!mutex.UnlockShared(me, cell)) ++progress->broken;
        continue;
      }
      TryUntil([&](bool) { return mutex.TryLock(me) != Acquired::kNo; },
               [&] { return mutex.Park(); });
      TryUntil([&](bool) { return mutex.Drained(); }, [&] { return mutex.Park(); });
      if (progress->holders.exchange(number) != 0) ++progress->broken;
      ++progress->rounds;
      uint64_t mine = number;
      progress->holders.compare_exchange_strong(mine, 0);
      if (!mutex.Unlock(me)) ++progress->broken;
    }
  });
  SharedMutexMemory mutex = object.view();
  EXPECT_NE(mutex.TryLock({Holder::kLargest, 1}), Acquired::kNo);
  EXPECT_TRUE(mutex.Drained()) << "a dead reader is left";
}

TEST_F(SyncKillTest, ASemaphore) {
  constexpr uint32_t kUnits = 2;
  const TestObject<SemaphoreMemory> object(kUnits);
  SemaphoreMemory::Fill(object.data(), object.memory().size(), kUnits);
  Run<SemaphoreMemory>(object, [](SemaphoreMemory semaphore, uint32_t number, Progress* progress) {
    const Holder me = {number, 1};
    uint32_t cell = 0;
    for (;;) {
      TryUntil([&](bool slept) { return semaphore.TryAcquire(me, slept, &cell); },
               [&] { return semaphore.Park(); });
      ++progress->rounds;
      if (!semaphore.Release(me, cell)) ++progress->broken;
    }
  });
  EXPECT_EQ(object.view().value(), kUnits) << "units are lost, or were made";
}

TEST_F(SyncKillTest, ABarrier) {
  const TestObject<BarrierMemory> object(kProcesses);
  Run<BarrierMemory>(object, [](BarrierMemory barrier, uint32_t number, Progress* progress) {
    const Holder me = {number, 1};
    for (;;) {
      BarrierMemory::Place place;
      if (!barrier.Arrive(me, &place)) continue;
      TryUntil([&](bool) { return barrier.Passed(place); }, [&] { return barrier.Park(); });
      ++progress->rounds;
    }
  });
  EXPECT_EQ(object.view().arrived(), 0u);
}

// Each notifies one and then waits to be notified, with one more than there are processes going
// round; a death neither loses one for good nor leaves a place.
TEST_F(SyncKillTest, ACondition) {
  const TestObject<ConditionMemory> object(2 * ConditionMemory::kWaiters);
  Run<ConditionMemory>(object, [](ConditionMemory condition, uint32_t number, Progress* progress) {
    const Holder me = {number, 1};
    for (;;) {
      uint32_t place = 0;
      if (!condition.Enlist(me, &place)) {
        ++progress->broken;
        continue;
      }
      condition.NotifyOne();
      TryUntil([&](bool) { return condition.Notified(me, place); },
               [&] { return condition.Park(place); });
      ++progress->rounds;
    }
  });
  Holder holder;
  EXPECT_EQ(object.view().Waiting(&holder, 1), 0u) << "a dead waiter is left";
}

}  // namespace
}  // namespace mailrail
