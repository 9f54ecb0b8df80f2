#include "core/shm/futex.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "core/shm/memory.h"

namespace mailrail {
namespace {

// No wait of these tests ends by itself, but in a test that fails.
constexpr absl::Duration kLong = absl::Seconds(60);

// A word in memory that is mapped three times, twice for reading only.
class SharedWord {
 public:
  SharedWord() {
    const Fd memory = CreateMemory("test", 4096).value();
    const Fd readable = OpenReadOnly(memory).value();
    mappings_[0] = Mapping::Map(memory, 4096, Access::kReadWrite).value();
    mappings_[1] = Mapping::Map(readable, 4096, Access::kReadOnly).value();
    mappings_[2] = Mapping::Map(readable, 4096, Access::kReadOnly).value();
  }
  std::atomic<uint32_t>* word(int mapping = 0) const {
    return reinterpret_cast<std::atomic<uint32_t>*>(mappings_[mapping].data());
  }

 private:
  Mapping mappings_[3];
};

TEST(FutexTest, AChangedWordIsNotWaitedFor) {
  std::atomic<uint32_t> word{7};
  FutexWait(&word, 6, absl::InfiniteDuration());
  std::atomic<uint32_t> same{1};
  FutexWaitAny({{&same, 1}, {&word, 6}}, absl::InfiniteDuration());
  FutexWaitAny({{&word, 6}, {&same, 1}}, absl::InfiniteDuration());
}

TEST(FutexTest, AWaitEndsWithItsTimeout) {
  std::atomic<uint32_t> word{7};
  FutexWait(&word, 7, absl::Milliseconds(1));
  FutexWait(&word, 7, absl::ZeroDuration());
  FutexWait(&word, 7, absl::Milliseconds(-1));
  FutexWaitAny({{&word, 7}, {&word, 7}}, absl::Milliseconds(1));
  FutexWaitAny({{&word, 7}, {&word, 7}}, absl::ZeroDuration());
  FutexWaitAny({{&word, 7}, {&word, 7}}, absl::Milliseconds(-1));
}

TEST(FutexTest, WaitAndWakeMeetAcrossReadOnlyMappings) {
  SharedWord shared;
  std::atomic<uint32_t>* const echo = new std::atomic<uint32_t>{0};
  const std::unique_ptr<std::atomic<uint32_t>> owner(echo);
  constexpr uint32_t kRounds = 2000;
  int overslept = 0;
  std::thread waiter([&] {
    for (uint32_t round = 0; round < kRounds; ++round) {
      const absl::Time start = absl::Now();
      while (shared.word(1)->load() == round) FutexWait(shared.word(1), round, kLong);
      if (absl::Now() - start >= kLong) ++overslept;
      echo->store(round + 1);
      FutexWakeAll(echo);
    }
  });
  for (uint32_t round = 0; round < kRounds; ++round) {
    shared.word(0)->store(round + 1);
    FutexWakeAll(shared.word(2));
    while (echo->load() == round) FutexWait(echo, round, kLong);
  }
  waiter.join();
  EXPECT_EQ(overslept, 0);
}

TEST(FutexTest, AnyWordOfTheMostThatOneWaitTakesWakes) {
  std::vector<std::unique_ptr<SharedWord>> shared(kMaxFutexWords);
  for (auto& word : shared) word = std::make_unique<SharedWord>();
  std::atomic<uint32_t> round{0};
  int overslept = 0;
  std::thread waiter([&] {
    for (size_t woken = 0; woken < kMaxFutexWords; ++woken) {
      std::vector<FutexWord> words;
      for (size_t i = 0; i < kMaxFutexWords; ++i) {
        words.push_back({shared[i]->word(1), i < woken ? 1u : 0u});
      }
      const absl::Time start = absl::Now();
      while (shared[woken]->word(1)->load() == 0) FutexWaitAny(words, kLong);
      if (absl::Now() - start >= kLong) ++overslept;
      round.store(static_cast<uint32_t>(woken) + 1);
      FutexWakeAll(&round);
    }
  });
  for (uint32_t i = 0; i < kMaxFutexWords; ++i) {
    shared[i]->word(0)->store(1);
    FutexWakeAll(shared[i]->word(2));
    while (round.load() == i) FutexWait(&round, i, kLong);
  }
  waiter.join();
  EXPECT_EQ(overslept, 0);
}

TEST(FutexTest, AllSleepersAreWoken) {
  SharedWord shared;
  std::atomic<int> awake{0};
  std::atomic<int> overslept{0};
  std::vector<std::thread> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.emplace_back([&, i] {
      const absl::Time start = absl::Now();
      const std::atomic<uint32_t>* const word = shared.word(1 + i % 2);
      while (word->load() == 0) {
        if (i < 2) {
          FutexWait(word, 0, kLong);
        } else {
          FutexWaitAny({{word, 0}}, kLong);
        }
      }
      if (absl::Now() - start >= kLong) overslept.fetch_add(1);
      awake.fetch_add(1);
    });
  }
  shared.word(0)->store(1);
  FutexWakeAll(shared.word(0));
  for (std::thread& sleeper : sleepers) sleeper.join();
  EXPECT_EQ(awake.load(), 4);
  EXPECT_EQ(overslept.load(), 0);
}

}  // namespace
}  // namespace mailrail
