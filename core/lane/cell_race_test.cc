// Threads that compete for the messages of a mailbox lane, and with its sender.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "core/lane/cell_testing.h"
#include "core/shm/stamp.h"

namespace mailrail {
namespace {

constexpr int kPriorities[] = {4, 25};
constexpr uint32_t kSender = 99;
constexpr uint64_t kMessages = 150000 / kSlowdown;  // of each priority

// Far longer than any look again: a lost wake-up shows as a sleep of this length beside room.
constexpr absl::Duration kLong = absl::Seconds(20);

// A sender and several receivers, and what became of each message.
class Race {
 public:
  Race(uint64_t messages, uint32_t receivers)
      : messages_(messages), receivers_(receivers), lane_(kSmallCells, 13) {
    for (auto& taken : taken_) taken = std::vector<std::atomic<uint32_t>>(messages + 1);
    for (auto& tried : tried_) tried = std::vector<std::atomic<uint32_t>>(messages + 1);
    for (auto& retracted : retracted_) retracted = std::vector<bool>(messages + 1);
  }

  // The sender sleeps for room (or else spins), and tries to retract one of so many messages.
  void Run(bool sleep, uint64_t retract_one_in) {
    std::vector<std::thread> threads;
    threads.emplace_back([=, this, seed = random_()] { Send(seed, sleep, retract_one_in); });
    for (uint32_t owner = 1; owner <= receivers_; ++owner) {
      threads.emplace_back([=, this, seed = random_()] { Receive(owner, seed); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(lost_, 0) << "sleeps beside room";
    EXPECT_EQ(faults_.load(), 0u);
    uint64_t retracted = 0;
    for (int lane = 0; lane < 2; ++lane) {
      for (uint64_t position = 1; position <= messages_; ++position) {
        ASSERT_EQ(taken_[lane][position].load() + retracted_[lane][position], 1u)
            << lane << " " << position;
        retracted += retracted_[lane][position];
      }
    }
    EXPECT_EQ(retract_one_in != 0, retracted > 0);
    CellWriter writer = lane_.NewWriter();
    ASSERT_TRUE(writer.Recover().ok());
    EXPECT_TRUE(writer.Drained());
  }

 private:
  void Fault(const char* what) {
    if (faults_.fetch_add(1) == 0) std::cerr << what << std::endl;
  }

  void Send(uint64_t seed, bool sleep, uint64_t retract_one_in) {
    TestRandom random(seed);
    CellWriter writer = lane_.NewWriter();
    while (writer.sequence(kPriorities[0]) < messages_ ||
           writer.sequence(kPriorities[1]) < messages_) {
      int lane = static_cast<int>(random.Below(2));
      if (writer.sequence(kPriorities[lane]) == messages_) lane = 1 - lane;
      const int priority = kPriorities[lane];
      const uint64_t position = writer.sequence(priority) + 1;
      const std::string body = MakeBody(position, 1, 24 + random.Below(200));
      while (!mailrail::Send(&writer, priority, {{}, body}, 0)) {
        if (!sleep) {
          std::this_thread::yield();
          continue;
        }
        const FutexWord word = writer.ParkForRoom();
        if (mailrail::Send(&writer, priority, {{}, body}, 0)) break;
        const absl::Time start = absl::Now();
        FutexWait(word.word, word.expected, kLong);
        if (absl::Now() - start >= kLong) ++lost_;
      }
      if (retract_one_in == 0 || !random.OneIn(retract_one_in)) continue;
      for (uint64_t spins = random.Below(100); spins > 0; --spins) SpinPause();
      if (!writer.Retract(priority, kSender)) continue;
      retracted_[lane][position] = true;
      settled_.fetch_add(1);
    }
  }

  void Receive(uint32_t owner, uint64_t seed) {
    TestRandom random(seed);
    CellReader reader = lane_.NewReader();
    struct Held {
      int lane;
      Leased leased;
    };
    std::vector<Held> views;
    while (settled_.load() < 2 * messages_) {
      const int lane = static_cast<int>(random.Below(2));
      const int priority = kPriorities[lane];
      const uint64_t floor = first_claimed_[lane].load();
      const absl::optional<Leased> leased = Lease(&reader, priority, owner);
      if (leased.has_value()) {
        const uint64_t position = leased->head.position;
        CheckLease(lane, *leased, floor);
        if (random.OneIn(4)) {
          tried_[lane][position].fetch_add(1);
          if (!reader.Return(priority, leased->head.slot, position, owner)) Fault("return");
          continue;
        }
        const bool keep_room = random.OneIn(3);
        taken_[lane][position].fetch_add(1);
        if (!reader.Take(priority, leased->head.slot, position, owner, keep_room)) Fault("take");
        settled_.fetch_add(1);
        if (keep_room) views.push_back({lane, *leased});
      } else {
        std::this_thread::yield();
      }
      if (views.empty() || (leased.has_value() && views.size() < 3)) continue;
      std::swap(views[random.Below(views.size())], views.back());
      const Held held = views.back();
      views.pop_back();
      if (!ReadBody(held.leased.body()).has_value()) Fault("a view was overwritten");
      reader.Done(kPriorities[held.lane], held.leased.head.slot, held.leased.head.position);
    }
    for (const Held& held : views) {
      reader.Done(kPriorities[held.lane], held.leased.head.slot, held.leased.head.position);
    }
  }

  void CheckLease(int lane, const Leased& leased, uint64_t floor) {
    const uint64_t position = leased.head.position;
    const auto head = ReadBody(leased.body());
    if (!head.has_value()) return Fault("torn");
    if (head->number != position) return Fault("another message's body");
    if (leased.head.attempts != std::min(tried_[lane][position].load(), kMaxAttempts)) {
      Fault("attempts");
    }
    if (leased.head.attempts > 0) return;
    // Whoever claims later claims a later message, but for returned ones.
    if (position <= floor) Fault("out of order");
    uint64_t last = first_claimed_[lane].load();
    while (last < position && !first_claimed_[lane].compare_exchange_weak(last, position)) {
    }
  }

  const uint64_t messages_;
  const uint32_t receivers_;
  TestRandom random_;
  const CellLane lane_;
  std::vector<std::atomic<uint32_t>> taken_[2];
  std::vector<std::atomic<uint32_t>> tried_[2];  // how often it was returned
  std::vector<bool> retracted_[2];               // the sender's
  std::atomic<uint64_t> first_claimed_[2] = {};  // the last message that was claimed the first time
  std::atomic<uint64_t> settled_{0};
  std::atomic<uint64_t> faults_{0};
  int lost_ = 0;
};

TEST(CellRaceTest, TwoReceiversGetEachMessageOnceAndInOrder) { Race(kMessages, 2).Run(false, 0); }

TEST(CellRaceTest, FourReceiversGetEachMessageOnceAndInOrder) { Race(kMessages, 4).Run(false, 0); }

TEST(CellRaceTest, ASleepingSenderIsWokenByOneReceiver) { Race(kMessages, 1).Run(true, 0); }

TEST(CellRaceTest, ASleepingSenderIsWokenByWhicheverReceiverGivesRoom) {
  Race(kMessages, 3).Run(true, 0);
}

TEST(CellRaceTest, AMessageIsEitherRetractedOrReceived) { Race(kMessages, 2).Run(false, 2); }

TEST(CellRaceTest, TheClaimsOfADyingOwnerAreTakenAwayOnce) {
  TestRandom random;
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  for (int round = 0; round < 10000 / kSlowdown; ++round) {
    for (int i = 0; i < 8; ++i) ASSERT_TRUE(writer.Append(4, {{}, "x"}, 0));
    CellReader dead = lane.NewReader();
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(Lease(&dead, 4, 1).has_value());
    // Two that take its claims away, one of which goes on to receive; and the sender sends.
    std::atomic<int> returned{0}, received{0};
    std::thread other([&] {
      CellReader reader = lane.NewReader();
      returned.fetch_add(reader.ReleaseClaimsOf(1));
    });
    CellReader reader = lane.NewReader();
    returned.fetch_add(reader.ReleaseClaimsOf(1));
    while (received < 8) {
      if (Receive(&reader, 4, 2).has_value()) ++received;
    }
    other.join();
    ASSERT_EQ(returned.load(), 5);
    ASSERT_EQ(Lease(&reader, 4, 2), absl::nullopt);
    ASSERT_TRUE(writer.Drained());
  }
}

}  // namespace
}  // namespace mailrail
