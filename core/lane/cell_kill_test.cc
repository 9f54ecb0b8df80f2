// The sender of a mailbox lane and one of its two receivers are processes that are killed at random
// moments, again and again; the other receiver lives.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/lane/cell_testing.h"
#include "core/lane/child_process.h"

namespace mailrail {
namespace {

constexpr int kPriorities[] = {5, 30};
constexpr uint64_t kMaxMessages = 400000;  // of each priority
constexpr uint32_t kSurvivor = 1, kFirstMortal = 1000;

// What the processes say of a message.
struct Fate {
  std::atomic<uint32_t> deliveries;
  std::atomic<uint32_t> generation;  // of the sender of the body that came
  std::atomic<bool> settled;         // taken; it must not come again
};

struct Progress {
  std::atomic<uint64_t> operations;  // of the processes that are killed
  std::atomic<uint64_t> sent[2];     // the last send that ended: number << 16 | generation
  std::atomic<bool> stop;            // the survivor shall end when it finds nothing more
  Fate fates[2][kMaxMessages + 2];
};

// A process that takes the lane up and sends until it is killed.
void SendForever(const CellLane& lane, uint64_t generation, uint64_t seed,
                 const TwiceMapped& progress_memory) {
  const Mapping data = lane.data.MapWritable(), state = lane.state.MapWritable();
  const Mapping mapping = progress_memory.MapWritable();
  auto* const progress = reinterpret_cast<Progress*>(mapping.data());
  TestRandom random(seed);
  CellWriter writer(lane.geometry, lane.capacity, data.data(), state.data());
  const absl::Status recovered = writer.Recover();
  if (!recovered.ok()) std::cerr << recovered << std::endl;
  Require(recovered.ok(), "the writer recovers");
  for (;;) {
    progress->operations.fetch_add(1);
    const int which = static_cast<int>(random.Below(2));
    const int priority = kPriorities[which];
    const uint64_t number = writer.sequence(priority) + 1;
    if (number > kMaxMessages) continue;
    const std::string body =
        MakeBody(number, generation, 24 + random.Below(random.OneIn(8) ? 5000 : 200));
    bool sent = Send(&writer, priority, {{}, body}, number);
    if (!sent && random.OneIn(4)) {
      const FutexWord word = writer.ParkForRoom();
      sent = Send(&writer, priority, {{}, body}, number);
      if (!sent) FutexWait(word.word, word.expected, kLookAgain);
    }
    if (sent) progress->sent[which] = number << 16 | generation;
  }
}

// A process that receives until it is killed, or told to stop.
class Receiver {
 public:
  Receiver(const CellLane& lane, uint32_t owner, uint64_t seed, const TwiceMapped& progress_memory)
      : data_(lane.data.MapReadable()),
        state_(lane.state.MapWritable()),
        mapping_(progress_memory.MapWritable()),
        progress_(reinterpret_cast<Progress*>(mapping_.data())),
        owner_(owner),
        random_(seed),
        reader_(lane.geometry, data_.data(), state_.data()) {}

  void Run() {
    for (;;) {
      if (owner_ != kSurvivor) progress_->operations.fetch_add(1);
      const bool stopping = progress_->stop.load();
      const bool first = ReceiveOne(0);
      const bool found = ReceiveOne(1) || first;
      const bool finish = !found && stopping && leases_.empty() && views_.empty();
      if (finish) return;
      while (leases_.size() > 3 || (!leases_.empty() && random_.OneIn(2))) EndLease();
      while (views_.size() > 3 || (!views_.empty() && random_.OneIn(2))) EndView();
    }
  }

 private:
  struct Held {
    int which;
    Leased leased;
  };

  bool ReceiveOne(int which) {
    const int priority = kPriorities[which];
    const absl::optional<Leased> leased = Lease(&reader_, priority, owner_);
    if (!leased.has_value()) return false;
    const uint64_t position = leased->head.position;
    const auto head = ReadBody(leased->body());
    Require(head.has_value(), "the body is whole");
    Require(head->number == position, "the body is the message's");
    Fate& fate = progress_->fates[which][position];
    Require(!fate.settled, "what was taken does not come again");
    if (leased->head.attempts == 0) {
      Require(fate.deliveries == 0, "what comes again is marked");
      Require(position > last_[which], "what comes the first time comes in order");
      last_[which] = position;
    }
    fate.generation = static_cast<uint32_t>(head->generation);
    fate.deliveries.fetch_add(1);
    leases_.push_back({which, *leased});
    return true;
  }

  void EndLease() {
    std::swap(leases_[random_.Below(leases_.size())], leases_.back());
    const Held held = leases_.back();
    leases_.pop_back();
    const int priority = kPriorities[held.which];
    const CellHead& head = held.leased.head;
    if (random_.OneIn(6)) {
      Require(reader_.Return(priority, head.slot, head.position, owner_), "return");
      return;
    }
    const bool keep_room = random_.OneIn(3);
    Require(reader_.Take(priority, head.slot, head.position, owner_, keep_room), "take");
    progress_->fates[held.which][head.position].settled = true;
    if (keep_room) views_.push_back(held);
  }

  void EndView() {
    std::swap(views_[random_.Below(views_.size())], views_.back());
    const Held held = views_.back();
    Require(ReadBody(held.leased.body()).has_value(), "a view keeps its room");
    reader_.Done(kPriorities[held.which], held.leased.head.slot, held.leased.head.position);
    views_.pop_back();
  }

  const Mapping data_, state_, mapping_;
  Progress* const progress_;
  const uint32_t owner_;
  TestRandom random_;
  CellReader reader_;
  uint64_t last_[2] = {};
  std::vector<Held> leases_, views_;
};

class CellKillTest : public ::testing::Test {
 protected:
  ChildProcess NewSender() {
    const uint64_t generation = ++sender_generation_, seed = random_();
    return ChildProcess([=, this] { SendForever(lane_, generation, seed, progress_memory_); });
  }

  ChildProcess NewReceiver(uint32_t owner) {
    const uint64_t seed = random_();
    return ChildProcess([=, this] { Receiver(lane_, owner, seed, progress_memory_).Run(); });
  }

  // Waits until the children have done a random number of things and a bit.
  void WaitForRandomMoment(ChildProcess* survivor, ChildProcess* sender, ChildProcess* receiver) {
    progress().operations = 0;
    const uint64_t operations = random_.Below(300);
    for (uint64_t i = 0; progress().operations.load() < operations; ++i) {
      // There are more processes than processors, maybe.
      if (i % 16 == 15) std::this_thread::yield();
      if (i % 256 != 255) continue;
      if (!survivor->Running() || !sender->Running() || !receiver->Running()) return;
    }
    for (uint64_t spins = random_.Below(2000); spins > 0; --spins) progress().operations.load();
  }

  // What a dead sender had sent must come, and come from it.
  void NoteSent(uint64_t generation) {
    for (int which = 0; which < 2; ++which) {
      const uint64_t sent = progress().sent[which].load();
      if ((sent & 0xffff) == generation) due_[which].emplace_back(sent >> 16, generation);
    }
  }

  Progress& progress() { return *reinterpret_cast<Progress*>(progress_memory_.writable()); }

  TestRandom random_;
  const CellLane lane_{kSmallCells, 13};
  const TwiceMapped progress_memory_{sizeof(Progress)};
  uint64_t sender_generation_ = 0;
  std::vector<std::pair<uint64_t, uint64_t>> due_[2];
};

TEST_F(CellKillTest, EveryMessageIsDeliveredAndOnlyMarkedOnesTwice) {
  ChildProcess survivor = NewReceiver(kSurvivor);
  ChildProcess sender = NewSender();
  uint32_t mortal = kFirstMortal;
  ChildProcess receiver = NewReceiver(mortal);
  CellReader agent = lane_.NewReader();
  int returned = 0;
  for (uint64_t round = 1; round <= kKills; ++round) {
    SCOPED_TRACE(round);
    WaitForRandomMoment(&survivor, &sender, &receiver);
    ASSERT_TRUE(survivor.Running()) << "the surviving receiver ended by itself";
    const uint64_t which = random_.Below(3);
    ASSERT_TRUE(which == 0 || sender.Kill()) << "the sender ended by itself";
    ASSERT_TRUE(which == 1 || receiver.Kill()) << "the receiver ended by itself";
    if (which != 0) NoteSent(sender_generation_);
    const bool sender_first = random_.OneIn(2);
    if (which != 0 && sender_first) sender = NewSender();
    if (which != 1) {
      returned += agent.ReleaseClaimsOf(mortal);
      receiver = NewReceiver(++mortal);
    }
    if (which != 0 && !sender_first) sender = NewSender();
  }
  ASSERT_TRUE(sender.Kill() && receiver.Kill());
  NoteSent(sender_generation_);
  agent.ReleaseClaimsOf(mortal);
  progress().stop = true;
  const int status = survivor.WaitForChange();
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);

  CellWriter writer = lane_.NewWriter();
  const absl::Status recovered = writer.Recover();
  ASSERT_TRUE(recovered.ok()) << recovered;
  uint64_t again = 0;
  for (int which = 0; which < 2; ++which) {
    const uint64_t sent = writer.sequence(kPriorities[which]);
    for (uint64_t number = 1; number <= sent; ++number) {
      const Fate& fate = progress().fates[which][number];
      ASSERT_GE(fate.deliveries.load(), 1u) << number << " is lost";
      again += fate.deliveries.load() > 1;
    }
    for (const auto& [number, generation] : due_[which]) {
      ASSERT_LE(number, sent);
      ASSERT_EQ(progress().fates[which][number].generation, generation) << number << " is lost";
    }
    ASSERT_EQ(progress().fates[which][sent + 1].deliveries, 0u);
    EXPECT_GT(sent, kKills);
    RecordProperty("sent" + std::to_string(which), std::to_string(sent));
  }
  RecordProperty("again", std::to_string(again));
  RecordProperty("returned", std::to_string(returned));
  EXPECT_TRUE(writer.Drained()) << "room is lost";
  EXPECT_TRUE(writer.Allocate(lane_.geometry.slab_bytes, true).has_value());
}

}  // namespace
}  // namespace mailrail
