// What a writer of a mailbox lane tells of the ends of its messages.
#include <algorithm>

#include "core/lane/cell_writer.h"

namespace mailrail {

bool CellWriter::EndOf(int priority, uint32_t slot, CellEnd* end) const {
  const Use& use = queues_[priority].uses[slot];
  const CellState state = CellState::Unpack(states(priority)[slot].load(std::memory_order_acquire));
  // What is taken is received, also while its room is held.
  if (state.sequence != static_cast<uint32_t>(use.position) ||
      (state.phase != Phase::kDone && state.phase != Phase::kTaken)) {
    return false;
  }
  *end = {use.receipt, state.owner, priority, use.position};
  return true;
}

void CellWriter::TakeEnds(std::vector<CellEnd>* ends) {
  ends->insert(ends->end(), ends_.begin(), ends_.end());
  ends_.clear();
  std::erase_if(asked_, [&](const Asked& asked) {
    Use& use = queues_[asked.priority].uses[asked.slot];
    if (use.position != asked.position || use.receipt == 0) return true;
    CellEnd end;
    if (!EndOf(asked.priority, asked.slot, &end)) return false;
    ends->push_back(end);
    if (!keeps_ends_) use.receipt = 0;
    return true;
  });
}

void CellWriter::ForgetEnd(int priority, uint64_t position) {
  const absl::optional<uint32_t> slot = SlotOf(priority, position);
  if (slot.has_value()) Forget(priority, *slot);
}

void CellWriter::ForgetEnds() {
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    for (uint32_t i = 0; i < queues_[priority].uses.size(); ++i) Forget(priority, i);
  }
  asked_.clear();
  ends_.clear();
}

void CellWriter::PurgeAsked() {
  for (const Asked& asked : asked_) {
    uint64_t seen = states(asked.priority)[asked.slot].load();
    const CellState state = CellState::Unpack(seen);
    if (!Waits(state, asked.position) && state.phase != Phase::kCondemned) continue;
    const CellState purged{static_cast<uint32_t>(asked.position),
                           static_cast<uint32_t>(Condemned::kPurged), 0, Phase::kDone};
    states(asked.priority)[asked.slot].compare_exchange_strong(seen, purged.Pack());
  }
}

void CellWriter::Ask(int priority, uint32_t slot, uint64_t position, uint64_t receipt) {
  queues_[priority].uses[slot].receipt = receipt;
  asked_.push_back({priority, slot, position});
  if (!keeps_ends_) return;
  // After the slot's position, and not with its other flags: before, they may be said of the
  // message that was here before, and then recovery would take this one's receipt for that one's.
  SharedAtomic<uint32_t>& flags = slots(priority)[slot].flags;
  flags.store(flags.load(std::memory_order_relaxed) | Slot::kReceipt, std::memory_order_relaxed);
}

void CellWriter::Forget(int priority, uint32_t slot) {
  uint64_t& receipt = queues_[priority].uses[slot].receipt;
  if (receipt == 0) return;
  receipt = 0;
  if (!keeps_ends_) return;
  // So that recovery knows that its room may be used again.
  SharedAtomic<uint32_t>& flags = slots(priority)[slot].flags;
  flags.store(flags.load(std::memory_order_relaxed) & ~Slot::kReceipt, std::memory_order_relaxed);
}

void CellWriter::ReleaseKept(int priority) {
  if (!keeps_ends_) return;
  for (const uint32_t slot : queues_[priority].outstanding) {
    CellEnd end;
    if (queues_[priority].uses[slot].receipt == 0 || !EndOf(priority, slot, &end)) continue;
    const auto asked = std::find_if(asked_.begin(), asked_.end(), [&](const Asked& each) {
      return each.priority == priority && each.position == end.position;
    });
    if (asked != asked_.end()) {
      asked_.erase(asked);
      end.position = 0;
      ends_.push_back(end);
    }
    Forget(priority, slot);
  }
  ReclaimAll(priority);
}

}  // namespace mailrail
