#include "core/lane/cell_writer.h"

#include <algorithm>
#include <cstring>

#include "absl/base/optimization.h"
#include "core/base/seeded_bug.h"
#include "core/shm/prefetch.h"

namespace mailrail {
namespace {

// How many slots are taken back at a time.
constexpr size_t kReclaimed = 32;

// How many slots ahead of the next one are fetched for writing: receivers have their lines.
constexpr size_t kSlotsAhead = 6;

// How many slots are reserved first, and how many order entries at a time.
constexpr uint32_t kFirstSlots = 32;
constexpr uint32_t kOrderStep = 512;

}  // namespace

CellWriter::CellWriter(const CellGeometry& geometry, uint32_t capacity, char* data, char* state,
                       Reserve* reserve)
    : geometry_(geometry),
      capacity_(std::min(capacity, geometry.slots)),
      data_(data),
      state_(state),
      header_(reinterpret_cast<CellHeader*>(data)),
      state_header_(reinterpret_cast<StateHeader*>(state)),
      reserve_(reserve),
      slab_(data + geometry.slab_offset(), geometry.slab_bytes, reserve) {
  if (reserve_ != nullptr) {
    reserve_->Force(data_, sizeof(CellHeader));
    reserve_->Force(state_, sizeof(StateHeader));
  }
  Step();
  header_->magic = kCellMagic;
  state_header_->magic = kStateMagic;
  if (reserve_ != nullptr) return;
  for (Queue& queue : queues_) {
    queue.ready = geometry_.slots;
    queue.order_ready = geometry_.order_entries();
  }
}

uint64_t CellWriter::FirstStepBytes(const CellGeometry& geometry) {
  const uint32_t slots = std::min(kFirstSlots, geometry.slots);
  return (sizeof(uint64_t) * geometry.order_entries() + sizeof(uint64_t) * geometry.slots +
          sizeof(Slot) * slots + 3 * 4095) /
         4096 * 4096;
}

bool CellWriter::ReserveOrder(int priority, uint32_t index) {
  Queue& queue = queues_[priority];
  if (!queue.counted) {
    // All of it at once: without its next entry nothing could go on, however many slots come back.
    // So are the states, which receivers look through.
    const uint64_t bytes = sizeof(uint64_t) * (geometry_.order_entries() + geometry_.slots);
    if (!reserve_->Count(bytes)) return false;
    queue.counted = true;
  }
  const uint32_t next =
      std::min(std::max(index + 1, queue.order_ready + kOrderStep), geometry_.order_entries());
  if (!reserve_->Provide(reinterpret_cast<char*>(order(priority) + queue.order_ready),
                         sizeof(uint64_t) * (next - queue.order_ready))) {
    return false;
  }
  queue.order_ready = next;
  return true;
}

bool CellWriter::GrowSlots(int priority) {
  Queue& queue = queues_[priority];
  // By as little as is possible when there is not enough to double them.
  for (const uint32_t more : {std::max(queue.ready, kFirstSlots), kFirstSlots}) {
    const uint32_t next = std::min(queue.ready + more, geometry_.slots);
    if (next == queue.ready) return false;
    if (reserve_->Provide(reinterpret_cast<char*>(states(priority) + queue.ready),
                          sizeof(uint64_t) * (next - queue.ready)) &&
        reserve_->Take(reinterpret_cast<char*>(slots(priority) + queue.ready),
                       sizeof(Slot) * (next - queue.ready))) {
      queue.ready = next;
      return true;
    }
  }
  return false;
}

bool CellWriter::FindSlots(int priority) {
  Queue& queue = queues_[priority];
  if (queue.ready > 0) ReclaimAll(priority);
  // Looking at all of them is to pay.
  if (queue.ready > 0 && queue.free.size() >= queue.ready / 4) return true;
  if (GrowSlots(priority)) return true;
  short_of_memory_ = queue.free.empty() && queue.ready < geometry_.slots;
  return !queue.free.empty();
}

SharedAtomic<uint64_t>* CellWriter::order(int priority) const {
  return reinterpret_cast<SharedAtomic<uint64_t>*>(data_ + geometry_.order_offset(priority));
}

Slot* CellWriter::slots(int priority) const {
  return reinterpret_cast<Slot*>(data_ + geometry_.slot_offset(priority));
}

SharedAtomic<uint64_t>* CellWriter::states(int priority) const {
  return reinterpret_cast<SharedAtomic<uint64_t>*>(state_ + geometry_.state_offset(priority));
}

bool CellWriter::Done(int priority, uint32_t slot) const {
  // Acquire, partner of the receiver's store of DONE: it reads the slot no more.
  const CellState state = CellState::Unpack(states(priority)[slot].load(std::memory_order_acquire));
  if (SEEDED_BUG(SLOT_REUSED_BEFORE_DONE)) {
    return state.sequence == static_cast<uint32_t>(queues_[priority].uses[slot].position);
  }
  const Use& use = queues_[priority].uses[slot];
  return state.phase == Phase::kDone && state.sequence == static_cast<uint32_t>(use.position) &&
         (use.receipt == 0 || !keeps_ends_);
}

void CellWriter::Release(int priority, uint32_t slot) {
  Queue& queue = queues_[priority];
  Use& use = queue.uses[slot];
  if (use.slab_bytes != 0) slab_.Free(use.slab_at, use.slab_bytes);
  use.slab_bytes = 0;
  if (ABSL_PREDICT_FALSE(use.receipt != 0)) {
    CellEnd end;
    if (!SEEDED_BUG(END_NOT_READ) && EndOf(priority, slot, &end)) ends_.push_back(end);
    use.receipt = 0;
  }
  queue.free.push_back(slot);
}

void CellWriter::ReclaimOldest(int priority) {
  Queue& queue = queues_[priority];
  // Not at every message: what receivers write is in their caches.
  if (queue.outstanding.size() < queue.look_at) return;
  for (size_t i = 0; i < kReclaimed && !queue.outstanding.empty(); ++i) {
    if (!Done(priority, queue.outstanding.front())) break;
    Release(priority, queue.outstanding.front());
    queue.outstanding.pop_front();
  }
  queue.look_at = queue.outstanding.size() + kReclaimed / 2;
}

void CellWriter::ReclaimAll(int priority) {
  Queue& queue = queues_[priority];
  std::deque<uint32_t> kept;
  for (const uint32_t slot : queue.outstanding) {
    if (Done(priority, slot)) {
      Release(priority, slot);
    } else {
      kept.push_back(slot);
    }
  }
  queue.outstanding.swap(kept);
  queue.look_at = 0;
}

absl::optional<uint32_t> CellWriter::FreeSlot(int priority) {
  Queue& queue = queues_[priority];
  if (queue.uses.empty()) queue.uses.resize(geometry_.slots);
  if (queue.free.size() <= 2 * kSlotsAhead) ReclaimOldest(priority);
  if (queue.outstanding.size() >= capacity_) ReclaimAll(priority);
  if (queue.outstanding.size() >= capacity_) ReleaseKept(priority);
  short_of_memory_ = false;
  if (queue.outstanding.size() >= capacity_) return absl::nullopt;
  const auto index = static_cast<uint32_t>((queue.sequence + 1) & (geometry_.order_entries() - 1));
  if (index >= queue.order_ready && !ReserveOrder(priority, index)) {
    short_of_memory_ = true;
    return absl::nullopt;
  }
  // The entry that the next one overwrites must have been claimed: it is two rounds of slots old,
  // so it is, unless it is the one message that everybody else overtook.
  const OrderEntry old = OrderEntry::Unpack(order(priority)[index].load(std::memory_order_relaxed));
  if (old.position != 0 && old.slot < geometry_.slots &&
      queue.uses[old.slot].position == old.position) {
    const CellState state =
        CellState::Unpack(states(priority)[old.slot].load(std::memory_order_acquire));
    if (!state.ClaimedSince(old.position)) return absl::nullopt;
  }
  if (queue.free.empty() && queue.fresh == queue.ready && !FindSlots(priority)) {
    return absl::nullopt;
  }
  if (queue.free.empty()) return queue.fresh++;
  const uint32_t slot = queue.free.front();
  queue.free.pop_front();
  return slot;
}

bool CellWriter::HasSlot(int priority) {
  const absl::optional<uint32_t> slot = FreeSlot(priority);
  if (slot.has_value()) queues_[priority].free.push_front(*slot);
  return slot.has_value();
}

void CellWriter::Publish(int priority, uint32_t slot, Publication publication,
                         const CellOptions& options) {
  Queue& queue = queues_[priority];
  const uint64_t position = queue.sequence + 1;
  const uint32_t bit = 1u << priority;
  if ((in_use_ & bit) == 0) {
    in_use_ |= bit;
    header_->rings_in_use.fetch_or(bit);
  }
  if (position - queue.uses[slot].position > uint64_t{1} << 30) {
    // Unused for so long that its state, which has half the number, would soon look like that of a
    // later message. Nobody else writes the state of a free slot.
    states(priority)[slot].store(CellState{static_cast<uint32_t>(position - 1)}.Pack());
  }
  queue.uses[slot].position = position;
  if (SEEDED_BUG(RECEIPT_BEFORE_POSITION) && options.receipt != 0) {
    Ask(priority, slot, position, options.receipt);
  }
  // Release, partner of the receivers' acquire in Peek: who sees the position sees the message.
  slots(priority)[slot].sequence.store(position, std::memory_order_release);
  if (ABSL_PREDICT_FALSE(options.receipt != 0) && !SEEDED_BUG(RECEIPT_BEFORE_POSITION)) {
    Ask(priority, slot, position, options.receipt);
  }
  if (ABSL_PREDICT_FALSE(options.due_tick != DueTick::kAtOnce)) {
    // From now on it is the agent's. Receivers pass its entry over, as that of a claimed one.
    states(priority)[slot].store(
        CellState{static_cast<uint32_t>(position), options.due_tick, 0, Phase::kDelayed}.Pack(),
        std::memory_order_release);
  }
  SharedAtomic<uint64_t>& entry = order(priority)[position & (geometry_.order_entries() - 1)];
  if (publication == Publication::kFenced) {
    entry.exchange(OrderEntry{position, slot}.Pack());
  } else {
    entry.store(OrderEntry{position, slot}.Pack(), std::memory_order_release);
  }
  queue.sequence = position;
  queue.outstanding.push_back(slot);
  if (queue.free.size() > kSlotsAhead) {
    const Slot* const ahead = slots(priority) + queue.free[kSlotsAhead];
    PrefetchForWriting(ahead);
    PrefetchForWriting(reinterpret_cast<const char*>(ahead) + 64);
  }
}

// Word by word: a receiver that comes late may be reading what was here before; its claim fails.
void CellWriter::Write(const Payload& payload, Slot* slot) {
  char joined[Slot::kInlineBytes];
  absl::string_view bytes = payload.body;
  if (!payload.prefix.empty()) {
    memcpy(joined, payload.prefix.data(), payload.prefix.size());
    if (!bytes.empty()) memcpy(joined + payload.prefix.size(), bytes.data(), bytes.size());
    bytes = absl::string_view(joined, payload.size());
  }
  uint64_t word;
  size_t at = 0;
  for (; at + sizeof(word) <= bytes.size(); at += sizeof(word)) {
    memcpy(&word, bytes.data() + at, sizeof(word));
    slot->inline_words[at / sizeof(word)].store(word, std::memory_order_relaxed);
  }
  if (at == bytes.size()) return;
  word = 0;
  memcpy(&word, bytes.data() + at, bytes.size() - at);
  slot->inline_words[at / sizeof(word)].store(word, std::memory_order_relaxed);
}

bool CellWriter::Append(int priority, const Payload& payload, uint64_t stamp,
                        Publication publication, const CellOptions& options, uint32_t key) {
  const absl::optional<uint32_t> index = FreeSlot(priority);
  if (!index.has_value()) return false;
  Slot& slot = slots(priority)[*index];
  slot.stamp.store(stamp, std::memory_order_relaxed);
  slot.length.store(static_cast<uint32_t>(payload.size()), std::memory_order_relaxed);
  const uint32_t for_later = options.due_tick == DueTick::kAtOnce ? 0 : Slot::kSentForLater;
  slot.flags.store(
      key << Slot::kKeyShift | for_later | (payload.prefix.empty() ? 0 : Slot::kHasPrefix),
      std::memory_order_relaxed);
  Write(payload, &slot);
  Publish(priority, *index, publication, options);
  return true;
}

absl::optional<SlabRoom> CellWriter::Allocate(uint64_t bytes, bool urgent) {
  for (int look = 0; look < (keeps_ends_ ? 3 : 2); ++look) {
    const absl::optional<uint64_t> offset = slab_.Allocate(bytes, urgent, /*again=*/look > 0);
    short_of_memory_ = slab_.short_of_memory();
    if (offset.has_value()) {
      SlabRoom room;
      room.offset = *offset;
      room.bytes = bytes;
      room.data = slab_.at(*offset);
      return room;
    }
    for (int priority = 0; priority < kPriorityCount; ++priority) {
      if ((in_use_ >> priority & 1) == 0) continue;
      look == 0 ? ReclaimAll(priority) : ReleaseKept(priority);
    }
  }
  return absl::nullopt;
}

bool CellWriter::AppendSlab(int priority, const SlabRoom& room, uint32_t length, bool has_prefix,
                            uint64_t stamp, const CellOptions& options, uint32_t key) {
  const absl::optional<uint32_t> index = FreeSlot(priority);
  if (!index.has_value()) return false;
  Slot& slot = slots(priority)[*index];
  slot.stamp.store(stamp, std::memory_order_relaxed);
  slot.length.store(length, std::memory_order_relaxed);
  const uint32_t for_later = options.due_tick == DueTick::kAtOnce ? 0 : Slot::kSentForLater;
  slot.flags.store(
      key << Slot::kKeyShift | Slot::kInSlab | for_later | (has_prefix ? Slot::kHasPrefix : 0),
      std::memory_order_relaxed);
  slot.slab_at.store(room.offset, std::memory_order_relaxed);
  Use& use = queues_[priority].uses[*index];
  use.slab_at = room.offset;
  use.slab_bytes = std::max<uint64_t>(room.bytes, 1);
  Publish(priority, *index, Publication::kFenced, options);
  return true;
}

// Whether nobody holds the message at `position`, whose slot has this state.
bool CellWriter::Waits(const CellState& state, uint64_t position) {
  if (!state.ClaimedSince(position)) return true;
  return state.sequence == static_cast<uint32_t>(position) &&
         (state.phase == Phase::kReturned || state.phase == Phase::kDelayed);
}

CellWriter::Dropped CellWriter::DropOldest(int priority, bool bury) {
  const Queue& queue = queues_[priority];
  if (bury) {
    for (const uint32_t slot : queue.outstanding) {
      const CellState state = CellState::Unpack(states(priority)[slot].load());
      if (state.phase == Phase::kCondemned) return Dropped::kLater;
    }
  }
  for (const uint32_t slot : queue.outstanding) {
    const uint64_t position = queue.uses[slot].position;
    uint64_t seen = states(priority)[slot].load();
    const CellState state = CellState::Unpack(seen);
    if (!Waits(state, position)) continue;
    const uint32_t attempts = state.ClaimedSince(position) ? state.attempts : 0;
    const CellState dropped{static_cast<uint32_t>(position),
                            static_cast<uint32_t>(Condemned::kDropped), bury ? attempts : 0,
                            bury ? Phase::kCondemned : Phase::kDone};
    if (!states(priority)[slot].compare_exchange_strong(seen, dropped.Pack())) continue;
    if (bury) return Dropped::kLater;
    CountDropped();
    return Dropped::kOne;
  }
  return Dropped::kNone;
}

size_t CellWriter::Retract(int priority, uint32_t owner, size_t count) {
  Queue& queue = queues_[priority];
  size_t taken_back = 0;
  for (auto last = queue.outstanding.rbegin();
       taken_back < count && last != queue.outstanding.rend(); ++last) {
    const uint64_t position = queue.sequence - taken_back;
    if (queue.uses[*last].position != position) break;
    uint64_t seen = states(priority)[*last].load();
    const CellState state = CellState::Unpack(seen);
    const bool delayed = state.phase == Phase::kDelayed && state.attempts == 0 &&
                         state.sequence == static_cast<uint32_t>(position);
    if (state.ClaimedSince(position) && !delayed) break;
    const CellState retracted{static_cast<uint32_t>(position), owner, 0, Phase::kDone};
    if (!states(priority)[*last].compare_exchange_strong(seen, retracted.Pack())) break;
    ++taken_back;
  }
  return taken_back;
}

absl::optional<uint32_t> CellWriter::SlotOf(int priority, uint64_t position) const {
  const Queue& queue = queues_[priority];
  if (position == 0 || position > queue.sequence) return absl::nullopt;
  const OrderEntry entry = OrderEntry::Unpack(
      order(priority)[position & (geometry_.order_entries() - 1)].load(std::memory_order_relaxed));
  uint32_t slot = entry.slot;
  if (entry.position != position) {
    // A message that is held for long outlives its entry.
    const auto use = std::find_if(queue.uses.begin(), queue.uses.end(),
                                  [&](const Use& each) { return each.position == position; });
    slot = static_cast<uint32_t>(use - queue.uses.begin());
  }
  if (slot >= queue.uses.size() || queue.uses[slot].position != position) return absl::nullopt;
  return slot;
}

absl::optional<CellState> CellWriter::StateOf(int priority, uint64_t position) const {
  const absl::optional<uint32_t> slot = SlotOf(priority, position);
  if (!slot.has_value()) return absl::nullopt;
  return CellState::Unpack(states(priority)[*slot].load(std::memory_order_acquire));
}

bool CellWriter::Recall(int priority, uint32_t owner, uint64_t position) {
  const absl::optional<uint32_t> slot = SlotOf(priority, position);
  if (!slot.has_value()) return false;
  uint64_t seen = states(priority)[*slot].load();
  const CellState state = CellState::Unpack(seen);
  if ((state.phase != Phase::kDelayed && state.phase != Phase::kCondemned) ||
      state.sequence != static_cast<uint32_t>(position)) {
    return false;
  }
  const CellState recalled{state.sequence, owner, 0, Phase::kDone};
  return states(priority)[*slot].compare_exchange_strong(seen, recalled.Pack());
}

FutexWord CellWriter::ParkForRoom() {
  const uint32_t gate = state_header_->room_gate.load();
  header_->room_parks.fetch_add(1);
  // The looks that follow are weaker loads, and must not be taken before.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return {&state_header_->room_gate, gate};
}

bool CellWriter::Drained() {
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    if ((in_use_ >> priority & 1) == 0) continue;
    ReclaimAll(priority);
    if (!queues_[priority].outstanding.empty()) return false;
  }
  return true;
}

}  // namespace mailrail
