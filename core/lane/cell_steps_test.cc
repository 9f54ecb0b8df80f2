// The sender and the receivers of a mailbox lane die after any instruction: what is left then is
// taken up again.
//
// A child process is all of them, one instruction at a time. Whenever the memory has changed, the
// parent goes on with a copy of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "core/lane/cell_snapshot.h"

namespace mailrail {
namespace {

constexpr int kPriority = 25;
constexpr uint32_t kOwners[] = {7, 8}, kHeir = 9, kSender = 99;
constexpr size_t kMaxMessages = 512;
constexpr uint32_t kCapacity = 13;
constexpr uint32_t kSoon = 5;  // a tick

// What the child has done with each message, as it says itself. Where a step has a beginning and
// an end, a death between the two may leave it done or not.
struct Progress {
  std::atomic<uint64_t> attempted, sent;
  std::atomic<bool> claimed[kMaxMessages];   // a claim has ended
  std::atomic<bool> settling[kMaxMessages];  // a take or a retraction has begun
  std::atomic<bool> settled[kMaxMessages];   // one has ended, the message is not to come again
};

struct Operation {
  enum Kind {
    kSend,
    kSendLater,
    kMakeDue,
    kDrop,
    kLease,
    kTake,
    kView,
    kReturn,
    kDone,
    kRetract,
    kRelease,
    kKinds
  } kind;
  uint32_t owner;
  std::string body;
};

std::vector<Operation> Plan(TestRandom* random, int count) {
  std::vector<Operation> plan;
  uint64_t sent = 0;
  for (int i = 0; i < count; ++i) {
    static constexpr Operation::Kind kOften[] = {Operation::kSend, Operation::kLease,
                                                 Operation::kTake, Operation::kDone};
    const auto kind = random->OneIn(2)
                          ? kOften[random->Below(4)]
                          : static_cast<Operation::Kind>(random->Below(Operation::kKinds));
    const uint32_t owner = kOwners[random->Below(2)];
    std::string body;
    if (kind == Operation::kSend || kind == Operation::kSendLater)
      body = MakeBody(++sent, 1, 24 + random->Below(150));
    plan.push_back({kind, owner, std::move(body)});
  }
  return plan;
}

// The agent's part.
void MakeDue(CellReader* reader) {
  std::vector<CellReader::Kept> delayed;
  reader->ForEachKept([&](const CellReader::Kept& kept) {
    if (kept.state.phase == Phase::kDelayed) delayed.push_back(kept);
  });
  for (const CellReader::Kept& kept : delayed) reader->MakeDue(kept);
}

// The child: a sender and two receivers.
class Everybody {
 public:
  Everybody(const CellLane& lane, const TwiceMapped& progress_memory)
      : data_(lane.data.MapWritable()),
        seen_(lane.data.MapReadable()),
        state_(lane.state.MapWritable()),
        progress_mapping_(progress_memory.MapWritable()),
        progress_(reinterpret_cast<Progress*>(progress_mapping_.data())),
        writer_(lane.geometry, lane.capacity, data_.data(), state_.data()),
        readers_{CellReader(lane.geometry, seen_.data(), state_.data()),
                 CellReader(lane.geometry, seen_.data(), state_.data())} {
    leased_.reserve(kMaxMessages);
    views_.reserve(kMaxMessages);
  }

  void Execute(const std::vector<Operation>& plan, size_t begin_steps) {
    for (size_t i = 0; i < plan.size(); ++i) {
      if (i == begin_steps) BeginSteps();
      Do(plan[i]);
    }
    EndSteps();
  }

 private:
  struct Held {
    uint32_t owner;
    uint32_t slot;
    uint64_t position;
  };

  void Do(const Operation& operation) {
    CellReader& reader = readers_[operation.owner == kOwners[0] ? 0 : 1];
    switch (operation.kind) {
      case Operation::kSend:
        return SendOne(operation.body, DueTick::kAtOnce);
      case Operation::kSendLater:
        return SendOne(operation.body, kSoon);
      case Operation::kMakeDue:
        return MakeDue(&reader);
      case Operation::kDrop:
        return DropOne();
      case Operation::kLease:
        return LeaseOne(&reader, operation.owner);
      case Operation::kTake:
      case Operation::kView:
      case Operation::kReturn:
        return EndLease(&reader, operation.kind);
      case Operation::kDone:
        if (views_.empty()) return;
        reader.Done(kPriority, views_.back().slot, views_.back().position);
        views_.pop_back();
        return;
      case Operation::kRetract:
        return RetractOne();
      case Operation::kRelease:
        // As if it had died and started again.
        reader.ReleaseClaimsOf(operation.owner);
        leased_.erase(
            std::remove_if(leased_.begin(), leased_.end(),
                           [&](const Held& held) { return held.owner == operation.owner; }),
            leased_.end());
        return;
      case Operation::kKinds:
        return;
    }
  }

  // The bodies say their numbers, so the plan's messages are sent in their order or not at all.
  void SendOne(const std::string& body, uint32_t due_tick) {
    const uint64_t position = writer_.sequence(kPriority) + 1;
    const auto head = ReadBody(body);
    if (head->number != position) {
      renumbered_ = MakeBody(position, 1, body.size());
    } else {
      renumbered_ = body;
    }
    progress_->attempted = position;
    if (Send(&writer_, kPriority, {{}, renumbered_}, position, Slot::kInlineBytes,
             {.due_tick = due_tick})) {
      progress_->sent = position;
    }
  }

  void DropOne() {
    // Nobody else is at work: it is the first that nobody holds.
    uint64_t first = 1;
    for (; first <= writer_.sequence(kPriority); ++first) {
      const absl::optional<CellState> state = writer_.StateOf(kPriority, first);
      if (!state.has_value()) continue;
      if (!state->ClaimedSince(first) || state->phase == Phase::kReturned ||
          state->phase == Phase::kDelayed) {
        break;
      }
    }
    if (first > writer_.sequence(kPriority)) return;
    progress_->settling[first] = true;
    if (writer_.DropOldest(kPriority, /*bury=*/false) != CellWriter::Dropped::kOne) {
      _exit(5);
    }
    progress_->settled[first] = true;
  }

  void LeaseOne(CellReader* reader, uint32_t owner) {
    CellHead head;
    if (reader->Peek(kPriority, &head) != Look::kReady) return;
    if (!reader->Claim(kPriority, head, owner)) _exit(2);
    progress_->claimed[head.position] = true;
    leased_.push_back({owner, head.slot, head.position});
  }

  void EndLease(CellReader* reader, Operation::Kind kind) {
    if (leased_.empty()) return;
    const Held held = leased_.back();
    leased_.pop_back();
    if (kind == Operation::kReturn) {
      if (!reader->Return(kPriority, held.slot, held.position, held.owner)) _exit(3);
      return;
    }
    progress_->settling[held.position] = true;
    const bool keep_room = kind == Operation::kView;
    if (!reader->Take(kPriority, held.slot, held.position, held.owner, keep_room)) _exit(4);
    progress_->settled[held.position] = true;
    if (keep_room) views_.push_back(held);
  }

  void RetractOne() {
    const uint64_t position = writer_.sequence(kPriority);
    if (position == 0) return;
    const bool before = progress_->settling[position].exchange(true);
    if (writer_.Retract(kPriority, kSender)) {
      progress_->settled[position] = true;
    } else {
      progress_->settling[position] = before;
    }
  }

  const Mapping data_, seen_, state_, progress_mapping_;
  Progress* const progress_;
  CellWriter writer_;
  CellReader readers_[2];
  std::vector<Held> leased_, views_;
  std::string renumbered_;
};

class CellStepsTest : public ::testing::Test {
 protected:
  // Takes the copied lane up, and checks that it holds what was not settled, once and whole.
  void CheckCopy(CellSnapshot* snapshot, const Progress& progress) {
    ++checks_;
    snapshot->Restore();
    CellWriter writer(kSmallCells, kCapacity, snapshot->data(), snapshot->state());
    CellReader reader(kSmallCells, snapshot->data(), snapshot->state());
    const bool writer_first = checks_ % 2 == 0;
    if (!writer_first) ReleaseAll(&reader);
    const absl::Status recovered = writer.Recover();
    ASSERT_TRUE(recovered.ok()) << recovered;
    if (writer_first) ReleaseAll(&reader);
    MakeDue(&reader);
    const uint64_t sent = writer.sequence(kPriority);
    ASSERT_GE(sent, progress.sent.load()) << "a sent message is lost";
    ASSERT_LE(sent, progress.attempted.load());
    std::vector<bool> came(sent + 1);
    uint64_t last[2] = {};  // of returned ones, and of others
    while (const absl::optional<Leased> leased = Lease(&reader, kPriority, kHeir)) {
      const uint64_t position = leased->head.position;
      ASSERT_LE(position, sent);
      ASSERT_FALSE(came[position]) << "twice";
      came[position] = true;
      ASSERT_FALSE(progress.settled[position]) << position << " comes again";
      ASSERT_TRUE(leased->head.attempts > 0 || !progress.claimed[position]) << "not marked";
      const auto head = ReadBody(leased->body());
      ASSERT_TRUE(head.has_value()) << "torn or overwritten";
      ASSERT_EQ(head->number, position);
      const bool first_time = !leased->head.returned;
      ASSERT_TRUE(first_time || last[1] == 0) << "returned messages go first";
      ASSERT_GT(position, last[first_time]);
      last[first_time] = position;
      ASSERT_TRUE(reader.Take(kPriority, leased->head.slot, position, kHeir, false));
    }
    for (uint64_t position = 1; position <= sent; ++position) {
      ASSERT_TRUE(came[position] || progress.settling[position]) << position << " is lost";
    }
    ASSERT_TRUE(writer.Drained()) << "room is lost";
    ASSERT_NO_FATAL_FAILURE(GoOn(&writer, &reader));
    // What the death left must not come up at the next one.
    CellWriter third(kSmallCells, kCapacity, snapshot->data(), snapshot->state());
    const absl::Status again = third.Recover();
    ASSERT_TRUE(again.ok()) << again;
    ASSERT_TRUE(third.Drained()) << "room is lost at the next recovery";
    ASSERT_NO_FATAL_FAILURE(GoOn(&third, &reader));
  }

  static void ReleaseAll(CellReader* reader) {
    for (const uint32_t owner : kOwners) reader->ReleaseClaimsOf(owner);
  }

  // The lane holds exactly its capacity, round and round.
  void GoOn(CellWriter* writer, CellReader* reader) {
    for (int round = 0; round < 3; ++round) {
      const uint64_t sent = writer->sequence(kPriority);
      for (uint64_t i = 1; i <= kCapacity; ++i) {
        const std::string body = MakeBody(sent + i, 2, 80 + 10 * i);
        ASSERT_TRUE(Send(writer, kPriority, {{}, body}, 0)) << "room is lost";
      }
      ASSERT_FALSE(writer->Append(kPriority, {{}, "x"}, 0)) << "one too many";
      for (uint64_t i = 1; i <= kCapacity; ++i) {
        const absl::optional<std::string> body = Receive(reader, kPriority, kHeir);
        ASSERT_TRUE(body.has_value());
        const auto head = ReadBody(*body);
        ASSERT_TRUE(head.has_value());
        ASSERT_EQ(head->number, sent + i);
      }
    }
    ASSERT_TRUE(writer->Drained());
    const auto all = writer->Allocate(kSmallCells.slab_bytes, true);
    ASSERT_TRUE(all.has_value()) << "room of the slab is lost";
    writer->Free(*all);
  }

  uint64_t checks_ = 0;
};

TEST_F(CellStepsTest, EveryInstructionLeavesALaneThatIsTakenUpAgain) {
  TestRandom random;
  uint64_t steps = 0;
  for (int scenario = 0; scenario < 8 / kSlowdown; ++scenario) {
    SCOPED_TRACE(scenario);
    const CellLane lane(kSmallCells, kCapacity);
    const TwiceMapped progress_memory(sizeof(Progress));
    const auto& progress = *reinterpret_cast<const Progress*>(progress_memory.readable());
    // A way into the lane at full speed, then step by step.
    const auto before = static_cast<size_t>(random.Below(300));
    const std::vector<Operation> plan = Plan(&random, static_cast<int>(before) + 60);
    CellSnapshot snapshot(lane, kPriority);
    const Steps result =
        StepThrough([&] { Everybody(lane, progress_memory).Execute(plan, before); },
                    [&] {
                      ++steps;
                      if (snapshot.Changed()) CheckCopy(&snapshot, progress);
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

// A sender sleeps for room; a receiver that gives room dies before it has rung. The next one that
// gives room rings.
TEST_F(CellStepsTest, ASenderThatADyingReceiverDidNotWakeIsWokenByTheNext) {
  for (const bool keep_room : {false, true}) {
    const CellLane lane(kSmallCells, 3);
    CellWriter writer = lane.NewWriter();
    while (writer.Append(kPriority, {{}, "x"}, 0)) {
    }
    CellReader setup = lane.NewReader();
    const Leased first = *Lease(&setup, kPriority, kOwners[0]);
    const uint64_t position = first.head.position;
    const uint32_t slot = first.head.slot;
    if (keep_room) {
      ASSERT_TRUE(setup.Take(kPriority, slot, position, kOwners[0], true));
    }
    const FutexWord word = writer.ParkForRoom();
    CellSnapshot snapshot(lane, kPriority);
    const auto dying = [&] {
      const Mapping data = lane.data.MapReadable(), state = lane.state.MapWritable();
      CellReader reader(lane.geometry, data.data(), state.data());
      BeginSteps();
      if (keep_room) {
        reader.Done(kPriority, slot, position);
      } else {
        reader.Take(kPriority, slot, position, kOwners[0], false);
      }
      EndSteps();
    };
    const auto check = [&] {
      ++checks_;
      snapshot.Restore();
      CellReader next(lane.geometry, snapshot.data(), snapshot.state());
      ASSERT_TRUE(Receive(&next, kPriority, kOwners[1]).has_value());
      ASSERT_NE(reinterpret_cast<const StateHeader*>(snapshot.state())->room_gate.load(),
                word.expected);
    };
    const Steps result = StepThrough(dying, [&] {
      if (snapshot.Changed()) check();
      return !HasFatalFailure();
    });
    if (result == Steps::kRefused) GTEST_SKIP() << "processes must not trace each other here";
    ASSERT_EQ(result, Steps::kDone);
    ASSERT_FALSE(HasFatalFailure());
  }
  EXPECT_GT(checks_, 4u);
}

}  // namespace
}  // namespace mailrail
