#include "core/sync/barrier_memory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/sync/sync_testing.h"

namespace mailrail {
namespace {

using Place = BarrierMemory::Place;
using Left = BarrierMemory::Left;

constexpr uint32_t kParties = 3;

class BarrierMemoryTest : public ::testing::Test {
 protected:
  const TestObject<BarrierMemory> object_{kParties};
  BarrierMemory barrier_ = object_.view();
};

TEST_F(BarrierMemoryTest, AllPassWhenTheLastHasCome) {
  for (uint32_t round = 0; round < 40000; ++round) {
    Place places[kParties];
    for (uint32_t i = 0; i < kParties; ++i) {
      ASSERT_EQ(barrier_.arrived(), i);
      ASSERT_TRUE(barrier_.Arrive({i + 1, 1}, &places[i]));
      ASSERT_EQ(places[i].generation, round);
      ASSERT_EQ(barrier_.Passed(places[0]), i + 1 == kParties);
    }
    for (const Place& place : places) ASSERT_TRUE(barrier_.Passed(place));
  }
}

TEST_F(BarrierMemoryTest, OneThatLeavesIsNotCounted) {
  Place first, second, third, again;
  ASSERT_TRUE(barrier_.Arrive({1, 1}, &first));
  ASSERT_TRUE(barrier_.Arrive({2, 1}, &second));
  EXPECT_EQ(barrier_.Leave({1, 1}, first), Left::kLeft);
  EXPECT_EQ(barrier_.arrived(), 1u);
  ASSERT_TRUE(barrier_.Arrive({3, 1}, &third));
  EXPECT_FALSE(barrier_.Passed(second));
  ASSERT_TRUE(barrier_.Arrive({1, 1}, &again));
  EXPECT_TRUE(barrier_.Passed(second));
  EXPECT_EQ(barrier_.Leave({3, 1}, third), Left::kPassed) << "too late to leave";
}

TEST_F(BarrierMemoryTest, ThePlaceOfADeadPartyComesBack) {
  Place first, second, third, fourth;
  ASSERT_TRUE(barrier_.Arrive({1, 1}, &first));
  ASSERT_TRUE(barrier_.Arrive({1, 2}, &second));
  EXPECT_EQ(barrier_.RemoveHolder(2), 0u);
  EXPECT_EQ(barrier_.RemoveHolder(1), 2u);
  EXPECT_EQ(barrier_.Leave({1, 1}, first), Left::kTakenAway);
  for (Place* place : {&second, &third, &fourth}) {
    EXPECT_EQ(barrier_.generation(), 0u);
    ASSERT_TRUE(barrier_.Arrive({3, 1}, place));
  }
  EXPECT_TRUE(barrier_.Passed(fourth));
  // What it was counted for it has had.
  EXPECT_EQ(barrier_.RemoveHolder(3), 0u);
}

TEST_F(BarrierMemoryTest, NoThreadIsARoundAheadOfAnother) {
  constexpr int kRounds = 5000 / kSlowdown;
  std::atomic<int> rounds[kParties] = {};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kParties; ++i) {
    threads.emplace_back([&, i] {
      BarrierMemory barrier = object_.view();
      for (int round = 0; round < kRounds; ++round) {
        rounds[i] = round;
        Place place;
        while (!barrier.Arrive({i + 1, 1}, &place)) {
        }
        TryUntilWoken([&](bool) { return barrier.Passed(place); }, [&] { return barrier.Park(); });
        for (const std::atomic<int>& other : rounds) {
          EXPECT_GE(other, round);
          EXPECT_LE(other, round + 1);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Four for three places, each of which leaves now and then: in each round exactly three pass.
TEST_F(BarrierMemoryTest, HoweverManyLeaveAsManyPassAsThereArePlaces) {
  constexpr int kRounds = 3000 / kSlowdown;
  constexpr uint32_t kThreads = kParties + 1;
  std::vector<std::atomic<int>> passed(kRounds + 2);
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      BarrierMemory barrier = object_.view();
      const Holder me = {i + 1, 1};
      TestRandom random(i);
      while (barrier.generation() < kRounds) {
        Place place;
        if (!barrier.Arrive(me, &place)) {
          std::this_thread::yield();
          continue;
        }
        bool has_passed = false;
        for (uint64_t looks = random.Below(200); looks > 0 && !has_passed; --looks) {
          has_passed = barrier.Passed(place);
          if (random.OneIn(8)) std::this_thread::yield();
        }
        if (!has_passed) has_passed = barrier.Leave(me, place) == Left::kPassed;
        if (has_passed) ++passed[place.generation];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const uint32_t generations = barrier_.generation();
  EXPECT_GE(generations, static_cast<uint32_t>(kRounds));
  for (uint32_t generation = 0; generation < generations; ++generation) {
    EXPECT_EQ(passed[generation], static_cast<int>(kParties)) << generation;
  }
}

}  // namespace
}  // namespace mailrail
