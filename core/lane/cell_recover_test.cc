// A mailbox lane against a model of it: whatever happens in whatever order, and whenever its sender
// or a receiver starts again, it holds what the model says.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "core/lane/cell_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;
constexpr uint32_t kOwners[] = {7, 8, 0xabcdef};
constexpr uint32_t kSender = 99;
constexpr int kSteps = 60000 / kSlowdown;

class CellRecoverTest : public ::testing::TestWithParam<uint32_t> {
 protected:
  enum class Is { kWaiting, kLeased, kReturned, kTaken };
  struct Known {
    Is is = Is::kWaiting;
    uint32_t owner = 0;
    uint32_t attempts = 0;
    Leased leased;  // when leased or taken
    bool in_slab = false;
  };

  CellRecoverTest() {
    writer_ = std::make_unique<CellWriter>(lane_.NewWriter());
    for (auto& reader : readers_) reader = NewReader();
  }

  std::unique_ptr<CellReader> NewReader() {
    return std::unique_ptr<CellReader>(new CellReader(lane_.NewReader()));
  }
  CellReader& AnyReader() { return *readers_[random_.Below(std::size(readers_))]; }

  // A random message in this state, or the end.
  std::map<uint64_t, Known>::iterator Any(Is is) {
    std::vector<std::map<uint64_t, Known>::iterator> all;
    for (auto it = known_.begin(); it != known_.end(); ++it) {
      if (it->second.is == is) all.push_back(it);
    }
    return all.empty() ? known_.end() : all[random_.Below(all.size())];
  }

  void Send() {
    const uint64_t number = sent_ + 1;
    const bool in_slab = random_.OneIn(3);
    const std::string body = MakeBody(number, 1, 24 + random_.Below(70));
    const bool sent = mailrail::Send(writer_.get(), kPriority, {{}, body}, number,
                                     in_slab ? 0 : Slot::kInlineBytes);
    // One that nobody claims keeps its entry of the order.
    const auto waiting = std::find_if(known_.begin(), known_.end(), [](const auto& known) {
      return known.second.is == Is::kWaiting;
    });
    const bool overtaken =
        waiting != known_.end() && waiting->first + lane_.geometry.order_entries() <= number;
    ASSERT_EQ(sent, known_.size() < lane_.capacity && !overtaken);
    if (!sent) return;
    sent_ = number;
    ASSERT_EQ(writer_->sequence(kPriority), sent_);
    known_[number].in_slab = in_slab;
  }

  void LeaseOne() {
    const uint32_t owner = kOwners[random_.Below(3)];
    const absl::optional<Leased> leased = Lease(&AnyReader(), kPriority, owner);
    auto expected = known_.end();
    for (const Is is : {Is::kReturned, Is::kWaiting}) {
      if (expected != known_.end()) break;
      expected = std::find_if(known_.begin(), known_.end(),
                              [is](const auto& known) { return known.second.is == is; });
    }
    ASSERT_EQ(leased.has_value(), expected != known_.end());
    if (!leased.has_value()) return;
    Known& known = expected->second;
    ASSERT_EQ(leased->head.position, expected->first);
    ASSERT_EQ(leased->head.attempts, known.attempts);
    ASSERT_EQ(leased->head.returned, known.is == Is::kReturned);
    ASSERT_EQ(leased->head.stamp, expected->first);
    known.is = Is::kLeased;
    known.owner = owner;
    known.leased = *leased;
    CheckBody(expected->first, known);
  }

  // Some messages are held while the lane goes round many times.
  bool IsHeldForLong(uint64_t position) { return position % 8 == 1 && !random_.OneIn(150); }

  void EndLease() {
    const auto it = Any(Is::kLeased);
    if (it == known_.end() || IsHeldForLong(it->first)) return;
    auto& [position, known] = *it;
    const uint32_t slot = known.leased.head.slot;
    if (random_.OneIn(2)) {
      ASSERT_TRUE(AnyReader().Return(kPriority, slot, position, known.owner));
      known.is = Is::kReturned;
      known.attempts = std::min(known.attempts + 1, kMaxAttempts);
      return;
    }
    const bool keep_room = random_.OneIn(2);
    ASSERT_TRUE(AnyReader().Take(kPriority, slot, position, known.owner, keep_room));
    known.is = Is::kTaken;
    if (!keep_room) known_.erase(it);
  }

  void EndView() {
    const auto it = Any(Is::kTaken);
    if (it == known_.end() || IsHeldForLong(it->first)) return;
    CheckBody(it->first, it->second);
    AnyReader().Done(kPriority, it->second.leased.head.slot, it->first);
    known_.erase(it);
  }

  void Retract() {
    const auto last = known_.find(sent_);
    const bool expected = last != known_.end() && last->second.is == Is::kWaiting;
    ASSERT_EQ(writer_->Retract(kPriority, kSender), expected);
    if (expected) known_.erase(last);
  }

  void OwnerDies() {
    const uint32_t owner = kOwners[random_.Below(3)];
    int returned = 0;
    for (auto it = known_.begin(); it != known_.end();) {
      Known& known = it->second;
      const bool held = known.owner == owner;
      if (held && known.is == Is::kLeased) {
        ++returned;
        known.is = Is::kReturned;
        known.attempts = std::min(known.attempts + 1, kMaxAttempts);
      }
      it = held && known.is == Is::kTaken ? known_.erase(it) : std::next(it);
    }
    ASSERT_EQ(AnyReader().ReleaseClaimsOf(owner), returned);
  }

  void WriterStartsAgain() {
    writer_ = std::make_unique<CellWriter>(lane_.NewWriter());
    const absl::Status recovered = writer_->Recover();
    ASSERT_TRUE(recovered.ok()) << recovered;
    ASSERT_EQ(writer_->sequence(kPriority), sent_);
  }

  void CheckBody(uint64_t position, const Known& known) {
    const auto head = ReadBody(known.leased.body());
    ASSERT_TRUE(head.has_value()) << "overwritten: " << position;
    ASSERT_EQ(head->number, position);
    ASSERT_EQ(known.leased.record.in_slab, known.in_slab);
  }

  void CheckAll() {
    uint64_t waiting = 0, leased = 0;
    for (const auto& [position, known] : known_) {
      waiting += known.is == Is::kWaiting || known.is == Is::kReturned;
      leased += known.is == Is::kLeased;
      if (known.is == Is::kLeased || known.is == Is::kTaken) CheckBody(position, known);
      const absl::optional<CellState> state = writer_->StateOf(kPriority, position);
      ASSERT_TRUE(state.has_value()) << position;
      ASSERT_EQ(state->ClaimedSince(position), known.is != Is::kWaiting);
      if (known.is == Is::kWaiting) continue;
      ASSERT_EQ(state->attempts, known.attempts);
      ASSERT_EQ(state->phase == Phase::kLeased, known.is == Is::kLeased);
      ASSERT_EQ(state->phase == Phase::kReturned, known.is == Is::kReturned);
      ASSERT_EQ(state->phase == Phase::kTaken, known.is == Is::kTaken);
    }
    const CellReader::Counts counts = AnyReader().Count();
    ASSERT_EQ(counts.waiting, waiting);
    ASSERT_EQ(counts.leased, leased);
    ASSERT_EQ(counts.sent, sent_);
    ASSERT_EQ(writer_->Drained(), known_.empty());
  }

  // `restarts`: how many steps lie between two starts of the writer.
  void Run(int steps, uint64_t restarts) {
    for (int step = 0; step < steps && !HasFatalFailure(); ++step) {
      SCOPED_TRACE(step);
      // Now few messages are held, and now many, some of them for long.
      const uint64_t patience = step / 1000 % 2 == 0 ? 3 : 12;
      if (random_.OneIn(2)) Send();
      if (random_.OneIn(2)) LeaseOne();
      if (!random_.OneIn(patience)) EndLease();
      if (!random_.OneIn(patience)) EndView();
      if (random_.OneIn(20)) Retract();
      if (random_.OneIn(200)) OwnerDies();
      if (random_.OneIn(40)) readers_[random_.Below(std::size(readers_))] = NewReader();
      if (random_.OneIn(restarts)) WriterStartsAgain();
      if (!HasFatalFailure() && random_.OneIn(4)) CheckAll();
    }
  }

  TestRandom random_;
  const CellLane lane_{kSmallCells, GetParam()};
  std::unique_ptr<CellWriter> writer_;
  std::unique_ptr<CellReader> readers_[3];
  std::map<uint64_t, Known> known_;  // all that are not done
  uint64_t sent_ = 0;
};

TEST_P(CellRecoverTest, ALaneHoldsWhatTheModelSays) { Run(kSteps, ~uint64_t{0}); }

TEST_P(CellRecoverTest, ALaneWhoseSenderStartsAgainHoldsWhatTheModelSays) { Run(kSteps, 20); }

INSTANTIATE_TEST_SUITE_P(Capacities, CellRecoverTest, ::testing::Values(1, 5, 13, 16));

}  // namespace
}  // namespace mailrail
