// What a reader of a mailbox lane does when there are messages that it is to pass over.
#include "core/lane/cell_choice.h"

#include <algorithm>

#include "core/base/seeded_bug.h"
#include "core/lane/cell_reader.h"

namespace mailrail {
namespace {

// A number that has nothing to do with those for other receivers.
uint64_t Score(uint32_t key, uint32_t receiver) {
  uint64_t x = (uint64_t{receiver} << 32 | key) + 0x9e3779b97f4a7c15;  // splitmix64
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

// Whether what is in this phase may be handed out again.
bool IsOpen(Phase phase) {
  if (SEEDED_BUG(RETURNED_IS_SETTLED) && phase == Phase::kReturned) return false;
  return phase == Phase::kLeased || phase == Phase::kReturned || phase == Phase::kDelayed;
}

}  // namespace

bool CellChoice::IsMine(uint64_t lane, uint64_t position, uint32_t flags) const {
  if (by == By::kNothing) return true;
  if (by == By::kPosition) {
    return !receivers.empty() && receivers[(lane + position) % receivers.size()] == self;
  }
  const uint32_t key = flags >> Slot::kKeyShift;
  if (key == 0) return true;
  // The receiver with the highest score for it: when one joins or goes the others' do not change.
  bool is_receiver = false;
  const uint64_t mine = Score(key, self);
  for (const uint32_t receiver : receivers) {
    if (receiver == self) {
      is_receiver = true;
    } else if (Score(key, receiver) > mine) {
      return false;
    }
  }
  return is_receiver;
}

// Slots are used for the first time in their order.
bool CellReader::NeverUsed(int priority, uint32_t slot, uint64_t state) const {
  return state == 0 && slots(priority)[slot].sequence.load(std::memory_order_relaxed) == 0;
}

bool CellReader::IsHeld(int priority, uint32_t slot, const CellState& state,
                        const CellHead& head) const {
  const auto flags_of = [&](uint32_t of) {
    return slots(priority)[of].flags.load(std::memory_order_relaxed);
  };
  if (state.phase == Phase::kDelayed && state.attempts == 0 &&
      (flags_of(slot) & Slot::kSentForLater) != 0) {
    return false;
  }
  return choice_->by != CellChoice::By::kKey ||
         flags_of(slot) >> Slot::kKeyShift == flags_of(head.slot) >> Slot::kKeyShift;
}

bool CellReader::HeldBack(int priority, const CellHead& head) {
  Queue& queue = queues_[priority];
  bool all_settled = true;
  for (uint64_t at = queue.settled + 1; at < head.position; ++at) {
    const OrderEntry entry = OrderEntry::Unpack(
        order(priority)[at & (geometry_.order_entries() - 1)].load(std::memory_order_acquire));
    // A message may have outlived its entry.
    if (entry.position != at || entry.slot >= geometry_.slots) return HeldBackByAny(priority, head);
    const CellState state =
        CellState::Unpack(states(priority)[entry.slot].load(std::memory_order_acquire));
    const bool used_again = state.sequence != static_cast<uint32_t>(at);
    const bool is_open = IsOpen(state.phase) && !used_again;
    if (is_open && IsHeld(priority, entry.slot, state, head)) return true;
    // What nobody has claimed is another's.
    all_settled = all_settled && state.ClaimedSince(at) && !is_open;
    if (all_settled) queue.settled = at;
  }
  return false;
}

bool CellReader::HeldBackByAny(int priority, const CellHead& head) {
  Queue& queue = queues_[priority];
  // What is before our place, and before what was passed over, is claimed.
  uint64_t settled = std::min(head.position, queue.next) - 1;
  if (queue.passed != 0) settled = std::min(settled, queue.passed - 1);
  for (uint32_t slot = 0; slot < geometry_.slots; ++slot) {
    const uint64_t word = states(priority)[slot].load(std::memory_order_acquire);
    if (NeverUsed(priority, slot, word)) break;
    const CellState state = CellState::Unpack(word);
    // If it is an earlier one.
    if (!IsOpen(state.phase) || state.ClaimedSince(head.position)) continue;
    if (IsHeld(priority, slot, state, head)) return true;
    const uint64_t back = static_cast<uint32_t>(head.position) - state.sequence;
    settled = std::min(settled, head.position - back - 1);
  }
  queue.settled = std::max(queue.settled, settled);
  return false;
}

bool CellReader::FindReturnedChosen(int priority, CellHead* head) {
  Queue& queue = queues_[priority];
  const uint64_t returns = state_header_->returns.load();
  if (returns == queue.returns_seen && !queue.passed_returned) return false;
  bool found = false;
  bool passed = false;
  for (uint32_t slot = 0; slot < geometry_.slots; ++slot) {
    const uint64_t seen = states(priority)[slot].load(std::memory_order_acquire);
    if (NeverUsed(priority, slot, seen)) break;
    const CellState state = CellState::Unpack(seen);
    if (state.phase != Phase::kReturned) continue;
    const Slot& at = slots(priority)[slot];
    const CellHead returned = {at.sequence.load(std::memory_order_acquire),
                               slot,
                               at.stamp.load(std::memory_order_relaxed),
                               seen,
                               state.attempts,
                               true};
    if (found && returned.position >= head->position) continue;
    const uint32_t flags = at.flags.load(std::memory_order_relaxed);
    if (!choice_->IsMine(lane_, returned.position, flags)) continue;
    if (choice_->hold_order && HeldBack(priority, returned)) {
      passed = true;
      continue;
    }
    found = true;
    *head = returned;
  }
  if (!found) {
    // What ends a hold need not be a return.
    queue.passed_returned = passed;
    queue.returns_seen = returns;
  }
  return found;
}

void CellReader::GoBack(Queue* queue) {
  queue->choice_version = choice_->version;
  if (queue->passed != 0) queue->next = std::min(queue->next, queue->passed);
  queue->passed = 0;
  queue->passed_returned = true;
}

Look CellReader::PeekChosen(int priority, CellHead* head) {
  Queue& queue = queues_[priority];
  if (queue.choice_version != choice_->version) GoBack(&queue);
  if (FindReturnedChosen(priority, head)) return Look::kReady;
  const bool by_key = choice_->by == CellChoice::By::kKey;
  const uint32_t entries = geometry_.order_entries();
  std::vector<uint32_t> held;  // keys of which an earlier message is held
  bool stays = false;          // our place is at a message that may be ours soon
  uint64_t at = queue.next;
  // The rest is as in Peek.
  for (uint32_t step = 0; step < 2 * entries; ++step) {
    if (!stays) queue.next = at;
    const OrderEntry entry =
        OrderEntry::Unpack(order(priority)[at & (entries - 1)].load(std::memory_order_acquire));
    if (entry.position < at) return Look::kEmpty;
    if (entry.position > at) {
      if (((entry.position ^ at) & (entries - 1)) != 0) return Look::kCorrupt;
      at = std::max(at + 1, entry.position - entries + 1);
      continue;
    }
    if (entry.slot >= geometry_.slots) return Look::kCorrupt;
    const uint64_t seen = states(priority)[entry.slot].load();
    const CellState state = CellState::Unpack(seen);
    const Slot& slot = slots(priority)[entry.slot];
    if (state.ClaimedSince(at) || state.phase != Phase::kDone ||
        slot.sequence.load(std::memory_order_acquire) != at) {
      ++at;
      continue;
    }
    const uint32_t flags = slot.flags.load(std::memory_order_relaxed);
    if (!choice_->IsMine(lane_, at, flags)) {
      if (queue.passed == 0) queue.passed = at;
      ++at;
      continue;
    }
    *head = {at, entry.slot, slot.stamp.load(std::memory_order_relaxed), seen, 0, false};
    if (!choice_->hold_order) return Look::kReady;
    const uint32_t key = by_key ? flags >> Slot::kKeyShift : 0;
    const bool known = std::find(held.begin(), held.end(), key) != held.end();
    if (!known && !HeldBack(priority, *head)) return Look::kReady;
    // What holds it back holds back all of its key that come after it; or simply all.
    if (!by_key) return Look::kEmpty;
    if (!known) held.push_back(key);
    stays = true;
    ++at;
  }
  return Look::kEmpty;
}

}  // namespace mailrail
