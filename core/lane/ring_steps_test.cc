// Both ends of a ring lane die after any instruction: what is left then is taken up again.
//
// A child process sends and receives, one instruction at a time. Whenever the memory has changed,
// the parent goes on with a copy of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "core/lane/child_process.h"
#include "core/lane/ring_testing.h"

namespace mailrail {
namespace {

constexpr int kPriorities[] = {5, 30};

// What the child has done, as it says itself, by priority.
struct Progress {
  std::atomic<uint64_t> attempted[2];  // sends begun
  std::atomic<uint64_t> sent[2];       // sends ended
  std::atomic<uint64_t> received[2];   // bodies copied
  std::atomic<uint64_t> flushed[2];    // consumed, and the sender told
};

struct Operation {
  enum Kind { kSend, kReceive, kFlush } kind;
  int lane;
  size_t size;
};

// The largest body that goes into the ring; small, because the copy of a body takes many
// instructions that leave nothing new.
constexpr size_t kMaxInRing = 120;

std::vector<Operation> Plan(TestRandom* random, int count) {
  std::vector<Operation> plan;
  for (int i = 0; i < count; ++i) {
    const uint64_t dice = random->Below(16);
    const auto kind = dice < 8    ? Operation::kSend
                      : dice < 14 ? Operation::kReceive
                                  : Operation::kFlush;
    plan.push_back({kind, static_cast<int>(random->Below(2)),
                    sizeof(BodyHead) + random->Below(2 * kMaxInRing)});
  }
  return plan;
}

// Whether there is memory for the whole rings, or for a page of each.
enum class Rings { kWhole, kSmall };

// The child: a sender and a receiver.
class BothEnds {
 public:
  BothEnds(const Link& link, const TwiceMapped& progress_memory, Rings rings)
      : sender_(link.sender.MapWritable()),
        sender_seen_(link.sender.MapReadable()),
        receiver_(link.receiver.MapWritable()),
        receiver_seen_(link.receiver.MapReadable()),
        progress_mapping_(progress_memory.MapWritable()),
        progress_(reinterpret_cast<Progress*>(progress_mapping_.data())),
        one_page_(link.geometry, sender_.data()),
        writer_(link.geometry, sender_.data(), receiver_seen_.data(),
                rings == Rings::kSmall ? &one_page_ : nullptr),
        reader_(link.geometry, receiver_.data(), sender_seen_.data()) {}

  void Do(const Operation& operation) {
    const int lane = operation.lane;
    if (operation.kind == Operation::kFlush) Flush();
    if (operation.kind == Operation::kReceive) ReceiveOne(lane);
    if (operation.kind != Operation::kSend) return;
    const uint64_t number = writer_.sequence(kPriorities[lane]) + 1;
    WriteBody(number, 1, operation.size, body_);
    progress_->attempted[lane] = number;
    while (!SendBody(kPriorities[lane], {body_, operation.size})) {
      if (!ReceiveOne(lane) && !ReceiveOne(1 - lane)) _exit(3);
      Flush();
    }
    progress_->sent[lane] = number;
  }

  // Goes on until the next record begins so many lines before the end of the ring.
  void MoveNearEnd(int lane, uint32_t lines) {
    const uint32_t total = kSmallRing.ring_lines();
    while (end_line_[lane] % total != total - lines) {
      Do({Operation::kSend, lane, sizeof(BodyHead)});
      while (ReceiveOne(lane)) {
      }
    }
    Flush();
  }

 private:
  bool SendBody(int priority, absl::string_view body) {
    if (body.size() <= kMaxInRing) return writer_.Append(priority, {{}, body}, 0);
    const auto room = writer_.Allocate(body.size(), false);
    if (!room.has_value()) return false;
    body.copy(room->data, body.size());
    if (writer_.AppendSlab(priority, *room, static_cast<uint32_t>(body.size()), false, 0)) {
      return true;
    }
    writer_.Free(*room);
    return false;
  }

  bool ReceiveOne(int lane) {
    Record record;
    const int priority = kPriorities[lane];
    const Look look = reader_.Peek(priority, &record);
    if (look == Look::kCorrupt) _exit(2);
    if (look == Look::kEmpty) return false;
    reader_.Advance(priority, record);
    progress_->received[lane] = record.sequence;
    end_line_[lane] = record.end_line;
    reader_.Consume(priority, record);
    if (record.in_slab) {
      // The order of a receiver that may be started again: first told, then let go.
      Flush();
      reader_.ReleaseCell(priority, record.cell, record.sequence);
    }
    return true;
  }

  void Flush() {
    reader_.Flush();
    for (int lane = 0; lane < 2; ++lane) {
      progress_->flushed[lane] = reader_.consumed(kPriorities[lane]);
    }
  }

  const Mapping sender_, sender_seen_, receiver_, receiver_seen_, progress_mapping_;
  Progress* const progress_;
  OnePageOfEachRing one_page_;
  RingWriter writer_;
  RingReader reader_;
  uint32_t end_line_[2] = {};
  char body_[3 * kMaxInRing];
};

// The parts of a link's memory that the test uses.
struct LinkSnapshot : Snapshot {
  explicit LinkSnapshot(const Link& link) {
    const RingGeometry& geometry = link.geometry;
    std::vector<std::pair<size_t, size_t>> ranges = {{0, geometry.ring_offset(0)},
                                                     {geometry.slab_offset(), geometry.slab_bytes}};
    for (const int priority : kPriorities) {
      ranges.emplace_back(geometry.ring_offset(priority), geometry.ring_bytes);
    }
    Add(link.sender.readable(), geometry.memory_bytes(), ranges);
    Add(link.receiver.readable(), geometry.memory_bytes(), ranges);
  }
  char* sender() const { return copy(0); }
  char* receiver() const { return copy(1); }
};

class RingStepsTest : public ::testing::Test {
 protected:
  // Takes the copied lane up, and checks that every message is there once, whole and in order.
  void CheckCopy(LinkSnapshot* snapshot, const Progress& progress, const RingGeometry& geometry) {
    snapshot->Restore();
    RingWriter writer(geometry, snapshot->sender(), snapshot->receiver());
    RingReader reader(geometry, snapshot->receiver(), snapshot->sender());
    // Whichever is started first.
    if (checks_++ % 2 == 0) reader.Recover();
    const absl::Status recovered = writer.Recover();
    if (checks_ % 2 == 0) reader.Recover();
    ASSERT_TRUE(recovered.ok()) << recovered;
    uint64_t next[2];
    for (int lane = 0; lane < 2; ++lane) {
      const uint64_t sent = writer.sequence(kPriorities[lane]);
      ASSERT_GE(sent, progress.sent[lane].load()) << "a sent message is lost";
      ASSERT_LE(sent, progress.attempted[lane].load());
      next[lane] = reader.consumed(kPriorities[lane]) + 1;
      ASSERT_LE(next[lane], progress.received[lane].load() + 1) << "never seen";
      ASSERT_GT(next[lane], progress.flushed[lane].load()) << "seen again";
    }
    ASSERT_NO_FATAL_FAILURE(ReceiveAll(&writer, &reader, next));
    // What the death left must not come up at the next one, whatever was sent meanwhile.
    for (const int priority : kPriorities) {
      const uint64_t number = writer.sequence(priority) + 1;
      ASSERT_TRUE(writer.Append(priority, {{}, MakeBody(number, 2, 100)}, number));
    }
    ASSERT_NO_FATAL_FAILURE(ReceiveAll(&writer, &reader, next));
    ASSERT_NO_FATAL_FAILURE(ExpectAllRoomIsFree(*snapshot, geometry));
    // On, round the ring and the slab.
    for (int i = 0; i < 40; ++i) {
      const int lane = i & 1;
      const size_t size = i % 4 == 0 ? 4081 + static_cast<size_t>(i) * 100 : 1500;
      const uint64_t number = writer.sequence(kPriorities[lane]) + 1;
      ASSERT_TRUE(Send(&writer, kPriorities[lane], {{}, MakeBody(number, 2, size)}, number));
      if (i % 8 == 7) {
        ASSERT_NO_FATAL_FAILURE(ReceiveAll(&writer, &reader, next));
      }
    }
    ASSERT_TRUE(writer.Drained()) << "room is lost";
    ASSERT_TRUE(writer.Allocate(geometry.slab_bytes, true).has_value());
    ASSERT_NO_FATAL_FAILURE(ExpectAllRoomIsFree(*snapshot, geometry));
  }

  // Recovers another writer.
  static void ExpectAllRoomIsFree(const LinkSnapshot& snapshot, const RingGeometry& geometry) {
    RingWriter writer(geometry, snapshot.sender(), snapshot.receiver());
    const absl::Status recovered = writer.Recover();
    ASSERT_TRUE(recovered.ok()) << recovered;
    ASSERT_TRUE(writer.Drained()) << "room is lost at the next recovery";
    ASSERT_TRUE(writer.Allocate(geometry.slab_bytes, true).has_value());
  }

  void ReceiveAll(RingWriter* writer, RingReader* reader, uint64_t* next) {
    for (int lane = 0; lane < 2; ++lane) {
      const int priority = kPriorities[lane];
      while (next[lane] <= writer->sequence(priority)) {
        Record record;
        ASSERT_EQ(reader->Peek(priority, &record), Look::kReady) << next[lane];
        ASSERT_EQ(record.sequence, next[lane]);
        const auto head = ReadBody({record.data, record.length});
        ASSERT_TRUE(head.has_value()) << "torn or overwritten";
        ASSERT_EQ(head->number, next[lane]);
        ++next[lane];
        ASSERT_TRUE(Receive(reader, priority).has_value());
      }
      Record record;
      ASSERT_EQ(reader->Peek(priority, &record), Look::kEmpty);
    }
    reader->Flush();
  }

  // Kills both ends after each instruction of some plans.
  void StepThroughPlans(Rings rings);

  uint64_t checks_ = 0;
};

void RingStepsTest::StepThroughPlans(Rings rings) {
  TestRandom random;
  uint64_t steps = 0;
  for (int scenario = 0; scenario < std::max(1, 6 / kSlowdown); ++scenario) {
    SCOPED_TRACE(scenario);
    const Link link(kSmallRing);
    const TwiceMapped progress_memory(sizeof(Progress));
    const auto& progress = *reinterpret_cast<const Progress*>(progress_memory.readable());
    // A way into the rings at full speed, then step by step round their ends.
    const std::vector<Operation> before = Plan(&random, 100), plan = Plan(&random, 40);
    const uint32_t lines[] = {1 + static_cast<uint32_t>(random.Below(20)),
                              1 + static_cast<uint32_t>(random.Below(20))};
    LinkSnapshot snapshot(link);
    const auto child = [&] {
      BothEnds ends(link, progress_memory, rings);
      for (const Operation& operation : before) ends.Do(operation);
      for (int lane = 0; lane < 2 && rings == Rings::kWhole; ++lane) {
        ends.MoveNearEnd(lane, lines[lane]);
      }
      BeginSteps();
      for (const Operation& operation : plan) ends.Do(operation);
      EndSteps();
    };
    const Steps result = StepThrough(child, [&] {
      ++steps;
      if (snapshot.Changed()) CheckCopy(&snapshot, progress, link.geometry);
      return !HasFatalFailure();
    });
    if (result == Steps::kRefused) GTEST_SKIP() << "processes must not trace each other here";
    ASSERT_EQ(result, Steps::kDone);
    ASSERT_FALSE(HasFatalFailure());
  }
  RecordProperty("steps", std::to_string(steps));
  RecordProperty("states", std::to_string(checks_));
  EXPECT_GT(checks_, 100u / kSlowdown);
}

TEST_F(RingStepsTest, EveryInstructionLeavesALaneThatIsTakenUpAgain) {
  StepThroughPlans(Rings::kWhole);
}

// Round the small rings some times.
TEST_F(RingStepsTest, EveryInstructionLeavesALaneInSmallRingsThatIsTakenUpAgain) {
  StepThroughPlans(Rings::kSmall);
}

}  // namespace
}  // namespace mailrail
