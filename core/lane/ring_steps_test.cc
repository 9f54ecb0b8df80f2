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
  std::string body;
};

// The largest body that the plan puts into the ring; small, because the copy of a body takes many
// instructions that leave nothing new.
constexpr size_t kMaxInRing = 200;

std::vector<Operation> Plan(TestRandom* random, int count, uint64_t* sent) {
  std::vector<Operation> plan;
  for (int i = 0; i < count; ++i) {
    const int lane = static_cast<int>(random->Below(2));
    const uint64_t dice = random->Below(16);
    if (dice < 8) {
      const size_t size = sizeof(BodyHead) + random->Below(2 * kMaxInRing);
      plan.push_back({Operation::kSend, lane, MakeBody(++sent[lane], 1, size)});
    } else if (dice < 14) {
      plan.push_back({Operation::kReceive, lane, {}});
    } else {
      plan.push_back({Operation::kFlush, lane, {}});
    }
  }
  return plan;
}

bool SendBody(RingWriter* writer, int priority, const std::string& body) {
  if (body.size() <= kMaxInRing) return writer->Append(priority, {{}, body}, 0);
  const auto room = writer->Allocate(body.size(), false);
  if (!room.has_value()) return false;
  body.copy(room->data, body.size());
  if (writer->AppendSlab(priority, *room, static_cast<uint32_t>(body.size()), false, 0)) {
    return true;
  }
  writer->Free(*room);
  return false;
}

// The child: carries the plan out, from the operation `begin_steps` on one instruction at a time.
void Execute(const Link& link, const std::vector<Operation>& plan, size_t begin_steps,
             const TwiceMapped& progress_memory) {
  const Mapping sender = link.sender.MapWritable(), sender_seen = link.sender.MapReadable();
  const Mapping receiver = link.receiver.MapWritable(), receiver_seen = link.receiver.MapReadable();
  const Mapping mapping = progress_memory.MapWritable();
  auto* const progress = reinterpret_cast<Progress*>(mapping.data());
  RingWriter writer(link.geometry, sender.data(), receiver_seen.data());
  RingReader reader(link.geometry, receiver.data(), sender_seen.data());
  const auto flush = [&] {
    reader.Flush();
    for (int lane = 0; lane < 2; ++lane) {
      progress->flushed[lane] = reader.consumed(kPriorities[lane]);
    }
  };
  const auto receive = [&](int lane) {
    Record record;
    const int priority = kPriorities[lane];
    const Look look = reader.Peek(priority, &record);
    if (look == Look::kCorrupt) _exit(2);
    if (look == Look::kEmpty) return false;
    reader.Advance(priority, record);
    progress->received[lane] = record.sequence;
    reader.Consume(priority, record);
    if (record.in_slab) {
      // The order of a receiver that may be started again: first told, then let go.
      flush();
      reader.ReleaseCell(priority, record.cell, record.sequence);
    }
    return true;
  };
  for (size_t i = 0; i < plan.size(); ++i) {
    if (i == begin_steps) BeginSteps();
    const Operation& operation = plan[i];
    const int lane = operation.lane;
    if (operation.kind == Operation::kFlush) flush();
    if (operation.kind == Operation::kReceive) receive(lane);
    if (operation.kind != Operation::kSend) continue;
    const uint64_t number = writer.sequence(kPriorities[lane]) + 1;
    progress->attempted[lane] = number;
    while (!SendBody(&writer, kPriorities[lane], operation.body)) {
      if (!receive(lane) && !receive(1 - lane)) _exit(3);
      flush();
    }
    progress->sent[lane] = number;
  }
}

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
    // What the death left must not come up at the next one.
    RingWriter third(geometry, snapshot->sender(), snapshot->receiver());
    const absl::Status again = third.Recover();
    ASSERT_TRUE(again.ok()) << again;
    ASSERT_TRUE(third.Drained()) << "room is lost at the next recovery";
    ASSERT_TRUE(third.Allocate(geometry.slab_bytes, true).has_value());
    const auto all = writer.Allocate(geometry.slab_bytes, true);
    ASSERT_TRUE(all.has_value()) << "room of the slab is lost";
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

  uint64_t checks_ = 0;
};

TEST_F(RingStepsTest, EveryInstructionLeavesALaneThatIsTakenUpAgain) {
  TestRandom random;
  uint64_t steps = 0;
  for (int scenario = 0; scenario < 8 / kSlowdown; ++scenario) {
    SCOPED_TRACE(scenario);
    const Link link(kSmallRing);
    const TwiceMapped progress_memory(sizeof(Progress));
    const auto& progress = *reinterpret_cast<const Progress*>(progress_memory.readable());
    // A way into the ring at full speed, then step by step.
    const int before = 100 + static_cast<int>(random.Below(100));
    uint64_t sent[2] = {};
    const std::vector<Operation> plan = Plan(&random, before + 40, sent);
    LinkSnapshot snapshot(link);
    const Steps result =
        StepThrough([&] { Execute(link, plan, static_cast<size_t>(before), progress_memory); },
                    [&] {
                      ++steps;
                      if (HasFatalFailure() || !snapshot.Changed()) return;
                      CheckCopy(&snapshot, progress, link.geometry);
                    });
    if (result == Steps::kRefused) GTEST_SKIP() << "processes must not trace each other here";
    ASSERT_EQ(result, Steps::kDone);
    ASSERT_FALSE(HasFatalFailure());
  }
  RecordProperty("steps", std::to_string(steps));
  RecordProperty("states", std::to_string(checks_));
  EXPECT_GT(checks_, 100u / kSlowdown);
}

}  // namespace
}  // namespace mailrail
