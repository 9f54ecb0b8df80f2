// A sender that tells the ends of its messages, and its receivers, die after any instruction:
// whoever takes the lane up tells each end that was not told, and no other.
//
// A child process is all of them, one instruction at a time. Whenever the memory has changed, the
// parent goes on with a copy of it.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "core/lane/cell_snapshot.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;
constexpr uint32_t kOwners[] = {7, 8}, kHeir = 11;
constexpr uint32_t kCapacity = 13;
constexpr size_t kMaxMessages = 512;
// So many may be in the lane, or kept: there is other room, so that no end is given up.
constexpr uint64_t kMostKept = 6;

// What the child has done with each message, as it says itself.
struct Progress {
  std::atomic<uint64_t> attempted, sent;
  std::atomic<uint32_t> receiver[kMaxMessages];  // who has begun to take it; 0: nobody
  std::atomic<bool> received[kMaxMessages];
  std::atomic<bool> forgetting[kMaxMessages];  // that was begun: its end was told before
};

// The receipt of a message is its number, as its body says.
uint64_t ReceiptOf(absl::string_view payload) {
  const auto head = ReadBody(payload);
  return head.has_value() ? head->number : 0;
}

// The child.
class Everybody {
 public:
  Everybody(const CellLane& lane, const TwiceMapped& progress_memory)
      : data_(lane.data.MapWritable()),
        seen_(lane.data.MapReadable()),
        state_(lane.state.MapWritable()),
        progress_mapping_(progress_memory.MapWritable()),
        progress_(reinterpret_cast<Progress*>(progress_mapping_.data())),
        writer_(lane.geometry, lane.capacity, data_.data(), state_.data()),
        reader_(lane.geometry, seen_.data(), state_.data()) {
    writer_.KeepEnds();
  }

  void Execute(const std::vector<uint64_t>& plan, size_t begin_steps) {
    for (size_t i = 0; i < plan.size(); ++i) {
      if (i == begin_steps) BeginSteps();
      const uint64_t random = plan[i] / 4;
      switch (plan[i] % 4) {
        case 0:
          SendOne(24 + random % 150);
          break;
        case 1:
          ReceiveOne(kOwners[random % 2]);
          break;
        case 2:
          writer_.TakeEnds(&told_);
          break;
        case 3:
          ForgetOne(random);
          break;
      }
    }
    EndSteps();
  }

 private:
  void SendOne(size_t bytes) {
    if (kept_ == kMostKept) return;
    const uint64_t number = writer_.sequence(kPriority) + 1;
    progress_->attempted = number;
    if (!Send(&writer_, kPriority, {{}, MakeBody(number, 1, bytes)}, 0, Slot::kInlineBytes,
              {.receipt = number})) {
      _exit(1);
    }
    progress_->sent = number;
    ++kept_;
  }
  void ReceiveOne(uint32_t owner) {
    const absl::optional<Leased> leased = Lease(&reader_, kPriority, owner);
    if (!leased.has_value()) return;
    progress_->receiver[leased->head.position] = owner;
    if (!reader_.Take(kPriority, leased->head.slot, leased->head.position, owner, false)) _exit(2);
    progress_->received[leased->head.position] = true;
  }
  void ForgetOne(uint64_t random) {
    if (told_.empty()) return;
    const auto which = told_.begin() + static_cast<std::ptrdiff_t>(random % told_.size());
    progress_->forgetting[which->receipt] = true;
    writer_.ForgetEnd(which->priority, which->position);
    told_.erase(which);
    --kept_;
  }

  const Mapping data_, seen_, state_, progress_mapping_;
  Progress* const progress_;
  CellWriter writer_;
  CellReader reader_;
  std::vector<CellEnd> told_;
  uint64_t kept_ = 0;
};

class CellEndStepsTest : public ::testing::Test {
 protected:
  // Takes the copied lane up, and checks what is told of whom.
  void CheckCopy(CellSnapshot* snapshot, const Progress& progress) {
    ++checks_;
    snapshot->Restore();
    CellWriter writer(kSmallCells, kCapacity, snapshot->data(), snapshot->state());
    writer.KeepEnds();
    const absl::Status recovered = writer.Recover(ReceiptOf);
    ASSERT_TRUE(recovered.ok()) << recovered;
    const uint64_t sent = writer.sequence(kPriority);
    ASSERT_GE(sent, progress.sent.load()) << "a sent message is lost";
    std::map<uint64_t, uint32_t> ends;  // owners by receipt
    ASSERT_NO_FATAL_FAILURE(TakeEnds(&writer, &ends));
    for (const auto& [receipt, owner] : ends) {
      ASSERT_LE(receipt, sent);
      ASSERT_EQ(owner, progress.receiver[receipt].load()) << receipt << " was received by another";
    }
    for (uint64_t receipt = 1; receipt <= sent; ++receipt) {
      ASSERT_TRUE(!progress.received[receipt] || progress.forgetting[receipt] ||
                  ends.contains(receipt))
          << "the end of " << receipt << " is lost";
    }
    // What is left goes to the heir, and is told then.
    CellReader reader(kSmallCells, snapshot->data(), snapshot->state());
    for (const uint32_t owner : kOwners) reader.ReleaseClaimsOf(owner);
    std::map<uint64_t, uint32_t> others;
    while (const absl::optional<std::string> body = Receive(&reader, kPriority, kHeir)) {
      others[ReceiptOf(*body)] = kHeir;
    }
    std::map<uint64_t, uint32_t> later;
    ASSERT_NO_FATAL_FAILURE(TakeEnds(&writer, &later));
    ASSERT_EQ(later, others);
    for (uint64_t receipt = 1; receipt <= sent; ++receipt) {
      ASSERT_NE(ends.contains(receipt) || progress.forgetting[receipt], later.contains(receipt))
          << receipt;
    }
    ASSERT_FALSE(writer.awaits_ends());
    for (uint64_t position = 1; position <= sent; ++position) {
      writer.ForgetEnd(kPriority, position);
    }
    ASSERT_TRUE(writer.Drained()) << "room is lost";
  }

  static void TakeEnds(CellWriter* writer, std::map<uint64_t, uint32_t>* ends) {
    std::vector<CellEnd> taken;
    writer->TakeEnds(&taken);
    for (const CellEnd& end : taken) {
      ASSERT_TRUE(ends->emplace(end.receipt, end.owner).second) << end.receipt << " ends twice";
    }
  }

  uint64_t checks_ = 0;
};

TEST_F(CellEndStepsTest, EveryInstructionLeavesTheEndsThatAreToBeTold) {
  TestRandom random;
  for (int scenario = 0; scenario < 4; ++scenario) {
    SCOPED_TRACE(scenario);
    const CellLane lane(kSmallCells, kCapacity);
    const TwiceMapped progress_memory(sizeof(Progress));
    const auto& progress = *reinterpret_cast<const Progress*>(progress_memory.readable());
    // A way into the lane at full speed, then step by step.
    const size_t before = random.Below(300);
    std::vector<uint64_t> plan(before + 60);
    for (uint64_t& each : plan) each = random();
    CellSnapshot snapshot(lane, kPriority);
    const Steps result =
        StepThrough([&] { Everybody(lane, progress_memory).Execute(plan, before); },
                    [&] {
                      if (snapshot.Changed()) CheckCopy(&snapshot, progress);
                      return !HasFatalFailure();
                    });
    if (result == Steps::kRefused) GTEST_SKIP() << "processes must not trace each other here";
    ASSERT_EQ(result, Steps::kDone);
    ASSERT_FALSE(HasFatalFailure());
  }
  RecordProperty("states", std::to_string(checks_));
  EXPECT_GT(checks_, 200u);
}

}  // namespace
}  // namespace mailrail
