// How a writer of a mailbox lane takes up the work of one that died.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/lane/cell_writer.h"

namespace mailrail {

void CellWriter::RecoverReceipt(int priority, uint32_t slot,
                                const std::function<uint64_t(absl::string_view)>& receipt_of) {
  const Slot& at = slots(priority)[slot];
  const uint32_t flags = at.flags.load(std::memory_order_relaxed);
  Use& use = queues_[priority].uses[slot];
  if (!keeps_ends_ || (flags & Slot::kReceipt) == 0 || use.position == 0 ||
      at.sequence.load(std::memory_order_relaxed) != use.position) {
    return;
  }
  const uint32_t length = at.length.load(std::memory_order_relaxed);
  if ((flags & Slot::kInSlab) != 0) {
    const uint64_t offset = at.slab_at.load(std::memory_order_relaxed);
    if (offset > geometry_.slab_bytes || geometry_.slab_bytes - offset < length) return;
    use.receipt = receipt_of({slab_.at(offset), length});
  } else if (length <= Slot::kInlineBytes) {
    use.receipt = receipt_of({reinterpret_cast<const char*>(at.inline_words), length});
  }
  if (use.receipt != 0) asked_.push_back({priority, slot, use.position});
}

absl::Status CellWriter::RecoverQueue(
    int priority, const std::function<uint64_t(absl::string_view)>& receipt_of) {
  Queue& queue = queues_[priority];
  if (reserve_ != nullptr) {
    // All of it is looked through.
    reserve_->Force(data_ + geometry_.order_offset(priority), geometry_.block_bytes());
    reserve_->Force(state_ + geometry_.state_offset(priority), sizeof(uint64_t) * geometry_.slots);
    queue.counted = true;
  }
  // The last message that each slot stood for, as far as the order goes back.
  std::vector<uint64_t> last(geometry_.slots, 0);
  for (uint32_t i = 0; i < geometry_.order_entries(); ++i) {
    const OrderEntry entry = OrderEntry::Unpack(order(priority)[i].load(std::memory_order_relaxed));
    if (entry.position == 0) continue;
    if (entry.slot >= geometry_.slots) return absl::DataLossError("order entry out of range");
    last[entry.slot] = std::max(last[entry.slot], entry.position);
    queue.sequence = std::max(queue.sequence, entry.position);
  }
  // One that was sent for later was there before its entry: its writer may have died in between.
  // Without the entry receivers would not come to the next one's.
  for (uint32_t i = 0; i < geometry_.slots; ++i) {
    const CellState state = CellState::Unpack(states(priority)[i].load(std::memory_order_acquire));
    const uint64_t position = slots(priority)[i].sequence.load(std::memory_order_relaxed);
    if (position != queue.sequence + 1 || state.sequence != static_cast<uint32_t>(position)) {
      continue;
    }
    last[i] = position;
    queue.sequence = position;
    order(priority)[position & (geometry_.order_entries() - 1)].store(
        OrderEntry{position, i}.Pack(), std::memory_order_release);
    break;
  }
  queue.uses.assign(geometry_.slots, Use());
  queue.fresh = queue.ready = geometry_.slots;
  queue.order_ready = geometry_.order_entries();
  for (uint32_t i = 0; i < geometry_.slots; ++i) {
    const Slot& slot = slots(priority)[i];
    Use& use = queue.uses[i];
    use.position = last[i];
    if (last[i] == 0) {
      // Held for so long that its entry is overwritten; or free, and then its own position is not
      // to be trusted: its sender may have died before it published it.
      const CellState state =
          CellState::Unpack(states(priority)[i].load(std::memory_order_acquire));
      use.position =
          state.phase != Phase::kDone
              ? slot.sequence.load(std::memory_order_relaxed)
              : queue.sequence - (static_cast<uint32_t>(queue.sequence) - state.sequence);
    }
    RecoverReceipt(priority, i, receipt_of);
    if (Done(priority, i)) {
      queue.free.push_back(i);
      continue;
    }
    queue.outstanding.push_back(i);
    if ((slot.flags.load(std::memory_order_relaxed) & Slot::kInSlab) == 0) continue;
    use.slab_at = slot.slab_at.load(std::memory_order_relaxed);
    use.slab_bytes = std::max<uint64_t>(slot.length.load(std::memory_order_relaxed), 1);
    if (!slab_.Recover(use.slab_at, use.slab_bytes)) {
      return absl::DataLossError(absl::StrCat("slot ", i, " overlaps another"));
    }
  }
  std::sort(queue.outstanding.begin(), queue.outstanding.end(), [&](uint32_t a, uint32_t b) {
    return queue.uses[a].position < queue.uses[b].position;
  });
  return absl::OkStatus();
}

absl::Status CellWriter::Recover(
    const std::function<uint64_t(absl::string_view payload)>& receipt_of) {
  in_use_ = header_->rings_in_use.load();
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    if ((in_use_ >> priority & 1) == 0) continue;
    if (absl::Status status = RecoverQueue(priority, receipt_of); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace mailrail
