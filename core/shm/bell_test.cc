#include "core/shm/bell.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "core/shm/memory.h"

namespace mailrail {
namespace {

// Far longer than kLookAgain: a lost wake-up shows as a sleep of this length beside a message.
constexpr absl::Duration kLong = absl::Seconds(20);

// A bell in memory that its senders map for reading only, and its gate.
class Bell {
 public:
  Bell() {
    const Fd memory = CreateMemory("bell", sizeof(BellWords)).value();
    const Fd readable = OpenReadOnly(memory).value();
    words_ = Mapping::Map(memory, sizeof(BellWords), Access::kReadWrite).value();
    readable_ = Mapping::Map(readable, sizeof(BellWords), Access::kReadOnly).value();
  }
  Parker NewParker() { return Parker(reinterpret_cast<BellWords*>(words_.data()), &gate_); }
  Ringer NewRinger() {
    return Ringer(reinterpret_cast<const BellWords*>(readable_.data()), &gate_);
  }
  uint32_t gate() const { return gate_.gate.load(); }
  void SpoilGate(uint32_t value) { gate_.gate.store(value); }

 private:
  Mapping words_;
  Mapping readable_;
  GateWord gate_{};
};

TEST(BellTest, NobodyRingsWhileNobodyHasParked) {
  Bell bell;
  Ringer ringer = bell.NewRinger();
  for (int i = 0; i < 10; ++i) ringer.Ring();
  EXPECT_EQ(bell.gate(), 0u);
}

TEST(BellTest, EachSenderRingsOncePerPark) {
  Bell bell;
  Parker parker = bell.NewParker();
  Ringer first = bell.NewRinger(), second = bell.NewRinger();
  for (uint32_t park = 1; park <= 3; ++park) {
    const FutexWord word = parker.Park();
    EXPECT_EQ(word.expected, bell.gate());
    first.Ring();
    EXPECT_NE(word.word->load(), word.expected);
    second.Ring();
    first.Ring();
    second.Ring();
    EXPECT_EQ(bell.gate(), 2 * park);
    parker.Unpark(false);
  }
}

TEST(BellTest, ASoleReceiverThatIsUpAgainIsNotRung) {
  Bell bell;
  Parker parker = bell.NewParker();
  Ringer ringer = bell.NewRinger();
  for (int i = 0; i < 5; ++i) {
    parker.Park();
    parker.Unpark(true);
    ringer.Ring();
    ringer.Ring();
  }
  EXPECT_EQ(bell.gate(), 0u);
}

TEST(BellTest, ASoleReceiverThatParksAgainIsRung) {
  Bell bell;
  Parker parker = bell.NewParker();
  Ringer ringer = bell.NewRinger();
  parker.Park();
  parker.Unpark(true);
  ringer.Ring();
  const FutexWord word = parker.Park();
  ringer.Ring();
  EXPECT_NE(word.word->load(), word.expected);
}

TEST(BellTest, AReceiverThatIsUpBesideASleeperDoesNotSaveTheRing) {
  Bell bell;
  Parker sleeper = bell.NewParker(), other = bell.NewParker();
  Ringer ringer = bell.NewRinger();
  const FutexWord word = sleeper.Park();
  other.Park();
  other.Unpark(false);
  ringer.Ring();
  EXPECT_NE(word.word->load(), word.expected);
}

TEST(BellTest, ANewSenderRingsForAParkBeforeItsTime) {
  Bell bell;
  Parker parker = bell.NewParker();
  const FutexWord word = parker.Park();
  Ringer ringer = bell.NewRinger();
  ringer.Ring();
  EXPECT_NE(word.word->load(), word.expected);
}

TEST(BellTest, AGateThatSomebodySpoiledStillRings) {
  Bell bell;
  Parker parker = bell.NewParker();
  Ringer ringer = bell.NewRinger();
  for (const uint32_t value : {0xffffffffu, 0u, 0x80000000u}) {
    bell.SpoilGate(value);
    const FutexWord word = parker.Park();
    ringer.Ring();
    EXPECT_NE(word.word->load(), word.expected);
    parker.Unpark(true);
  }
}

// Senders publish and ring; receivers sleep without ever looking by themselves.
class LostWakeUpTest {
 public:
  // `burst`: how many messages at most come before the receivers run dry.
  LostWakeUpTest(int senders, int receivers, uint64_t messages, uint64_t burst = 1)
      : receivers_(receivers),
        messages_(messages),
        burst_(burst),
        lanes_(static_cast<size_t>(senders)) {}

  void Run() {
    std::vector<std::thread> threads;
    for (Lane& lane : lanes_) threads.emplace_back([this, &lane] { Send(&lane); });
    for (int i = 0; i < receivers_; ++i) threads.emplace_back([this] { Receive(); });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(lost_.load(), 0) << "sleeps beside a message";
    EXPECT_EQ(taken_.load(), messages_ * lanes_.size());
    EXPECT_GT(parks_.load(), 0);
  }
  uint64_t streamed() const { return streamed_.load(); }

 private:
  struct Lane {
    alignas(128) std::atomic<uint64_t> published{0};
    alignas(128) std::atomic<uint64_t> taken{0};
  };

  void Send(Lane* lane) {
    Ringer ringer = bell_.NewRinger();
    uint64_t random = reinterpret_cast<uintptr_t>(lane);
    for (uint64_t message = 1; message <= messages_; ++message) {
      if (ringer.publication() == Publication::kFenced) {
        lane->published.exchange(message);
      } else {
        lane->published.store(message, std::memory_order_release);
        streamed_.fetch_add(1, std::memory_order_relaxed);
      }
      ringer.Ring();
      // Mostly let the receivers run dry, so that a park meets nearly every publish, or burst.
      random = random * 6364136223846793005 + 1442695040888963407;
      if (burst_ == 1 ? random >> 62 != 0 : (random >> 32) % burst_ == 0) {
        while (lane->taken.load() < message) std::this_thread::yield();
      }
    }
  }

  bool TakeOne() {
    for (Lane& lane : lanes_) {
      uint64_t taken = lane.taken.load();
      while (taken < lane.published.load()) {
        if (!lane.taken.compare_exchange_weak(taken, taken + 1)) continue;
        if (taken_.fetch_add(1) + 1 == messages_ * lanes_.size()) Finish();
        return true;
      }
    }
    return false;
  }

  void Finish() {
    finished_.store(true);
    // The other receiver may sleep: what ends the test is a message as any other.
    bell_.NewRinger().Ring();
  }

  void Receive() {
    Parker parker = bell_.NewParker();
    while (!finished_.load()) {
      if (TakeOne()) continue;
      const FutexWord word = parker.Park();
      parks_.fetch_add(1);
      if (!TakeOne() && !finished_.load()) {
        const absl::Time start = absl::Now();
        FutexWait(word.word, word.expected, kLong);
        if (absl::Now() - start >= kLong && TakeOne()) lost_.fetch_add(1);
      }
      parker.Unpark(receivers_ == 1);
    }
  }

  const int receivers_;
  const uint64_t messages_;
  const uint64_t burst_;
  Bell bell_;
  std::vector<Lane> lanes_;
  std::atomic<uint64_t> taken_{0};
  std::atomic<bool> finished_{false};
  std::atomic<int> lost_{0};
  std::atomic<int> parks_{0};
  std::atomic<uint64_t> streamed_{0};
};

TEST(BellTest, NoWakeUpIsLostBetweenTwoSendersAndOneReceiver) { LostWakeUpTest(2, 1, 40000).Run(); }

TEST(BellTest, NoWakeUpIsLostBetweenTwoSendersAndTwoReceivers) {
  LostWakeUpTest(2, 2, 30000).Run();
}

TEST(BellTest, NoWakeUpIsLostBetweenOneSenderAndOneReceiver) { LostWakeUpTest(1, 1, 60000).Run(); }

TEST(BellTest, NoWakeUpIsLostWhenASenderStreams) {
  LostWakeUpTest test(1, 1, 2000000, 500);
  test.Run();
  EXPECT_GT(test.streamed(), 0u);
}

TEST(BellTest, NoWakeUpIsLostWhenSendersStreamToTwoReceivers) {
  LostWakeUpTest test(2, 2, 1000000, 500);
  test.Run();
  EXPECT_GT(test.streamed(), 0u);
}

}  // namespace
}  // namespace mailrail
