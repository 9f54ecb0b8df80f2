#include "core/lane/cell_reader.h"

#include <algorithm>
#include <cstring>

#include "core/base/seeded_bug.h"
#include "core/shm/futex.h"
#include "core/shm/prefetch.h"

namespace mailrail {
namespace {

// How many messages ahead of the one that is taken are fetched, if there are so many.
constexpr uint64_t kMessagesAhead = 4;

}  // namespace

CellReader::CellReader(const CellGeometry& geometry, const char* data, char* state)
    : geometry_(geometry),
      data_(data),
      state_(state),
      header_(reinterpret_cast<const CellHeader*>(data)),
      state_header_(reinterpret_cast<StateHeader*>(state)) {}

const SharedAtomic<uint64_t>* CellReader::order(int priority) const {
  return reinterpret_cast<const SharedAtomic<uint64_t>*>(data_ + geometry_.order_offset(priority));
}

const Slot* CellReader::slots(int priority) const {
  return reinterpret_cast<const Slot*>(data_ + geometry_.slot_offset(priority));
}

SharedAtomic<uint64_t>* CellReader::states(int priority) const {
  return reinterpret_cast<SharedAtomic<uint64_t>*>(state_ + geometry_.state_offset(priority));
}

bool CellReader::FindReturned(int priority, CellHead* head) {
  Queue& queue = queues_[priority];
  const uint64_t returns = state_header_->returns.load();
  if (returns == queue.returns_seen) return false;
  bool found = false;
  for (uint32_t slot = 0; slot < geometry_.slots; ++slot) {
    const uint64_t seen = states(priority)[slot].load(std::memory_order_acquire);
    const CellState state = CellState::Unpack(seen);
    if (state.phase != Phase::kReturned) continue;
    const uint64_t position = slots(priority)[slot].sequence.load(std::memory_order_acquire);
    if (found && position >= head->position) continue;
    found = true;
    const uint64_t stamp = slots(priority)[slot].stamp.load(std::memory_order_relaxed);
    *head = {position, slot, stamp, seen, state.attempts, true};
  }
  // Only a scan that found none settles the count: there may be more than one.
  if (!found) queue.returns_seen = returns;
  return found;
}

Look CellReader::Peek(int priority, CellHead* head) {
  if (ABSL_PREDICT_FALSE(choice_ != nullptr)) return PeekChosen(priority, head);
  if (FindReturned(priority, head)) return Look::kReady;
  Queue& queue = queues_[priority];
  const uint32_t entries = geometry_.order_entries();
  // The bound keeps a hostile sender from holding us here; a sound one is caught up with earlier.
  for (uint32_t step = 0; step < 2 * entries; ++step) {
    const OrderEntry entry = OrderEntry::Unpack(
        order(priority)[queue.next & (entries - 1)].load(std::memory_order_acquire));
    if (entry.position < queue.next) return Look::kEmpty;
    if (entry.position > queue.next) {
      if (((entry.position ^ queue.next) & (entries - 1)) != 0) return Look::kCorrupt;
      // Overtaken by a round: what was overwritten had been claimed, the rest is still there.
      queue.next = std::max(queue.next + 1, entry.position - entries + 1);
      continue;
    }
    if (entry.slot >= geometry_.slots) return Look::kCorrupt;
    // The state first, then the slot: see cell_layout.h.
    const uint64_t seen = states(priority)[entry.slot].load();
    const CellState state = CellState::Unpack(seen);
    const Slot& slot = slots(priority)[entry.slot];
    if (state.ClaimedSince(queue.next) || state.phase != Phase::kDone ||
        slot.sequence.load(std::memory_order_acquire) != queue.next) {
      ++queue.next;
      continue;
    }
    const uint64_t stamp = slot.stamp.load(std::memory_order_relaxed);
    *head = {queue.next, entry.slot, stamp, seen, 0, false};
    return Look::kReady;
  }
  return Look::kEmpty;
}

bool CellReader::Claim(int priority, const CellHead& head, uint32_t owner) {
  if (SEEDED_BUG(OWNER_NOT_NAMED)) owner = 0;
  const CellState claimed{static_cast<uint32_t>(head.position), owner, head.attempts,
                          Phase::kLeased};
  uint64_t expected = head.seen;
  if (SEEDED_BUG(NO_EPOCH_CHECK)) expected = states(priority)[head.slot].load();
  return states(priority)[head.slot].compare_exchange_strong(expected, claimed.Pack());
}

absl::optional<uint32_t> CellReader::TakeSmall(int priority, const CellHead& head, uint32_t owner,
                                               char* to) {
  const Slot& slot = slots(priority)[head.slot];
  const uint32_t length = slot.length.load(std::memory_order_relaxed);
  if (head.returned || length > Slot::kInlineBytes ||
      slot.flags.load(std::memory_order_relaxed) != 0) {
    return absl::nullopt;
  }
  for (uint32_t i = 0; i * 8 < length; ++i) {
    const uint64_t word = slot.inline_words[i].load(std::memory_order_relaxed);
    memcpy(to + size_t{i} * 8, &word, sizeof(word));
  }
  // If this succeeds the state has not changed since the look, so nobody has claimed the message
  // and its sender has not used the slot again: what was copied is the message.
  uint64_t expected = head.seen;
  const CellState done{static_cast<uint32_t>(head.position), owner, 0, Phase::kDone};
  if (!states(priority)[head.slot].compare_exchange_strong(expected, done.Pack())) {
    return absl::nullopt;
  }
  RingSender();
  if (SEEDED_BUG(COPY_AFTER_CLAIM)) {
    for (uint32_t i = 0; i * 8 < length; ++i) {
      const uint64_t word = slot.inline_words[i].load(std::memory_order_relaxed);
      memcpy(to + size_t{i} * 8, &word, sizeof(word));
    }
  }
  FetchAhead(priority, head.position);
  return length;
}

void CellReader::FetchAhead(int priority, uint64_t position) const {
  const uint64_t ahead = position + kMessagesAhead;
  const OrderEntry entry = OrderEntry::Unpack(
      order(priority)[ahead & (geometry_.order_entries() - 1)].load(std::memory_order_relaxed));
  if (entry.position != ahead || entry.slot >= geometry_.slots) return;
  const char* const slot = reinterpret_cast<const char*>(slots(priority) + entry.slot);
  __builtin_prefetch(slot);
  __builtin_prefetch(slot + 64);
  PrefetchForWriting(states(priority) + entry.slot);
}

bool CellReader::Overtaken(int priority, const CellHead& head) const {
  const uint32_t flags = slots(priority)[head.slot].flags.load(std::memory_order_relaxed);
  if ((flags & Slot::kSentForLater) != 0) return false;
  const uint64_t next = head.position + 1;
  const OrderEntry entry =
      OrderEntry::Unpack(order(priority)[next & (geometry_.order_entries() - 1)].load());
  // Not published yet; or overwritten, which only an entry of a claimed message is.
  if (entry.position != next) return entry.position > next;
  if (entry.slot >= geometry_.slots) return true;
  return CellState::Unpack(states(priority)[entry.slot].load()).ClaimedSince(next);
}

Look CellReader::Read(int priority, const CellHead& head, Record* record) const {
  const Slot& slot = slots(priority)[head.slot];
  const uint32_t flags = slot.flags.load(std::memory_order_relaxed);
  record->length = slot.length.load(std::memory_order_relaxed);
  record->has_prefix = (flags & Slot::kHasPrefix) != 0;
  record->in_slab = (flags & Slot::kInSlab) != 0;
  record->cell = head.slot;
  record->sequence = head.position;
  record->stamp = head.stamp;
  if (!record->in_slab) {
    if (record->length > Slot::kInlineBytes) return Look::kCorrupt;
    record->data = reinterpret_cast<const char*>(slot.inline_words);
    return Look::kReady;
  }
  const uint64_t at = slot.slab_at.load(std::memory_order_relaxed);
  const bool inside = at <= geometry_.slab_bytes && geometry_.slab_bytes - at >= record->length;
  if (!inside && !SEEDED_BUG(CELL_BODY_NOT_CHECKED)) return Look::kCorrupt;
  record->data = data_ + geometry_.slab_offset() + at;
  return Look::kReady;
}

bool CellReader::Move(int priority, uint32_t slot, uint64_t position, uint32_t owner,
                      const Change& change) {
  SharedAtomic<uint64_t>& word = states(priority)[slot];
  uint64_t seen = word.load();
  while (true) {
    CellState state = CellState::Unpack(seen);
    if (state.sequence != static_cast<uint32_t>(position) || state.owner != owner ||
        state.phase != change.from ||
        (change.attempts != kAnyAttempts && state.attempts != change.attempts)) {
      return false;
    }
    state.phase = change.to;
    if (change.to == Phase::kReturned || change.to == Phase::kDelayed ||
        change.to == Phase::kCondemned) {
      state.owner = change.new_owner;
      if (change.attempted) {
        state.attempts = std::min(state.attempts + 1, kMaxAttempts);
        if (max_attempts_ != 0 && state.attempts >= max_attempts_) {
          state.phase = Phase::kCondemned;
          state.owner = static_cast<uint32_t>(Condemned::kAttempts);
        }
      }
    } else if (change.new_owner != 0) {
      state.owner = change.new_owner;
    }
    if (word.compare_exchange_weak(seen, state.Pack())) return true;
  }
}

bool CellReader::Take(int priority, uint32_t slot, uint64_t position, uint32_t owner,
                      bool keep_room, uint32_t attempts) {
  if (!Move(priority, slot, position, owner,
            {.from = Phase::kLeased,
             .to = keep_room ? Phase::kTaken : Phase::kDone,
             .attempts = attempts})) {
    return false;
  }
  // Of a view the sender is told when its room is back; who waits for a receipt looks by itself.
  if (!keep_room) RingSender();
  return true;
}

void CellReader::Done(int priority, uint32_t slot, uint64_t position) {
  SharedAtomic<uint64_t>& word = states(priority)[slot];
  uint64_t seen = word.load();
  while (true) {
    CellState state = CellState::Unpack(seen);
    if (state.sequence != static_cast<uint32_t>(position) || state.phase != Phase::kTaken) return;
    state.phase = Phase::kDone;
    if (word.compare_exchange_weak(seen, state.Pack())) break;
  }
  RingSender();
}

bool CellReader::Return(int priority, uint32_t slot, uint64_t position, uint32_t owner,
                        bool attempted, uint32_t attempts) {
  state_header_->returns.fetch_add(1);
  const bool moved = Move(priority, slot, position, owner,
                          {.from = Phase::kLeased,
                           .to = Phase::kReturned,
                           .attempted = attempted,
                           .attempts = attempts});
  if (!SEEDED_BUG(RETURNS_BUMPED_ONCE)) state_header_->returns.fetch_add(1);
  return moved;
}

bool CellReader::ReturnLater(int priority, uint32_t slot, uint64_t position, uint32_t owner,
                             uint32_t due_tick, uint32_t attempts) {
  // Nobody looks for it before the agent has moved it on, which counts as a return.
  return Move(priority, slot, position, owner,
              {.from = Phase::kLeased,
               .to = Phase::kDelayed,
               .attempted = true,
               .new_owner = due_tick,
               .attempts = attempts});
}

bool CellReader::Condemn(int priority, uint32_t slot, uint64_t position, uint32_t owner,
                         Condemned why) {
  return Move(
      priority, slot, position, owner,
      {.from = Phase::kLeased, .to = Phase::kCondemned, .new_owner = static_cast<uint32_t>(why)});
}

void CellReader::ForEachKept(absl::FunctionRef<void(const Kept&)> each) const {
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    if ((rings_in_use() >> priority & 1) == 0) continue;
    for (uint32_t slot = 0; slot < geometry_.slots; ++slot) {
      const CellState state = CellState::Unpack(states(priority)[slot].load());
      if (state.phase != Phase::kLeased && state.phase != Phase::kDelayed &&
          state.phase != Phase::kCondemned) {
        continue;
      }
      const uint64_t position = slots(priority)[slot].sequence.load(std::memory_order_acquire);
      if (static_cast<uint32_t>(position) != state.sequence) continue;  // it has changed
      each({priority, slot, position, state});
    }
  }
}

void CellReader::ForEachWaiting(
    absl::FunctionRef<void(int priority, const CellHead& head, const Record& record)> each) const {
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    if ((rings_in_use() >> priority & 1) == 0) continue;
    for (uint32_t i = 0; i < geometry_.order_entries(); ++i) {
      const OrderEntry entry =
          OrderEntry::Unpack(order(priority)[i].load(std::memory_order_acquire));
      if (entry.position == 0 || entry.slot >= geometry_.slots) continue;
      // As Peek; one that was returned has its entry no longer, perhaps, and is looked for below.
      const uint64_t seen = states(priority)[entry.slot].load();
      const Slot& slot = slots(priority)[entry.slot];
      if (CellState::Unpack(seen).ClaimedSince(entry.position) ||
          slot.sequence.load(std::memory_order_acquire) != entry.position) {
        continue;
      }
      const CellHead head = {entry.position, entry.slot, slot.stamp.load(std::memory_order_relaxed),
                             seen,           0,          false};
      Record record;
      if (Read(priority, head, &record) == Look::kReady) each(priority, head, record);
    }
    for (uint32_t i = 0; i < geometry_.slots; ++i) {
      const uint64_t seen = states(priority)[i].load(std::memory_order_acquire);
      const CellState state = CellState::Unpack(seen);
      if (state.phase != Phase::kReturned) continue;
      const Slot& slot = slots(priority)[i];
      const CellHead head = {slot.sequence.load(std::memory_order_acquire),
                             i,
                             slot.stamp.load(std::memory_order_relaxed),
                             seen,
                             state.attempts,
                             true};
      Record record;
      if (Read(priority, head, &record) == Look::kReady) each(priority, head, record);
    }
  }
}

bool CellReader::CondemnWaiting(int priority, const CellHead& head, Condemned why) {
  const CellState condemned{static_cast<uint32_t>(head.position), static_cast<uint32_t>(why),
                            head.attempts, Phase::kCondemned};
  uint64_t expected = head.seen;
  return states(priority)[head.slot].compare_exchange_strong(expected, condemned.Pack());
}

bool CellReader::PurgeWaiting(int priority, const CellHead& head) {
  const CellState purged{static_cast<uint32_t>(head.position),
                         static_cast<uint32_t>(Condemned::kPurged), 0, Phase::kDone};
  uint64_t expected = head.seen;
  if (!states(priority)[head.slot].compare_exchange_strong(expected, purged.Pack())) return false;
  RingSender();
  return true;
}

bool CellReader::Withhold(int priority, const CellHead& head, uint32_t due_tick, Kept* kept) {
  *kept = {
      priority, head.slot, head.position,
      CellState{static_cast<uint32_t>(head.position), due_tick, head.attempts, Phase::kDelayed}};
  uint64_t expected = head.seen;
  return states(priority)[head.slot].compare_exchange_strong(expected, kept->state.Pack());
}

bool CellReader::MakeDue(const Kept& kept) {
  state_header_->returns.fetch_add(1);
  const bool moved = Move(kept.priority, kept.slot, kept.position, kept.state.owner,
                          {.from = Phase::kDelayed, .to = Phase::kReturned});
  state_header_->returns.fetch_add(1);
  return moved;
}

Look CellReader::ReadKept(const Kept& kept, Record* record) const {
  CellHead head;
  head.position = kept.position;
  head.slot = kept.slot;
  head.stamp = slots(kept.priority)[kept.slot].stamp.load(std::memory_order_relaxed);
  return Read(kept.priority, head, record);
}

bool CellReader::Discard(const Kept& kept) {
  const bool condemned = kept.state.phase == Phase::kCondemned;
  if (!Move(kept.priority, kept.slot, kept.position, kept.state.owner,
            {.from = kept.state.phase,
             .to = Phase::kDone,
             .new_owner = condemned ? 0 : static_cast<uint32_t>(Condemned::kPurged)})) {
    return false;
  }
  RingSender();
  return true;
}

int CellReader::ReleaseClaimsOf(uint32_t owner) {
  return ReleaseClaimsIf([owner](uint32_t other) { return other == owner; });
}

int CellReader::ReleaseClaimsIf(const std::function<bool(uint32_t owner)>& gone) {
  int returned = 0;
  state_header_->returns.fetch_add(1);
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    if ((rings_in_use() >> priority & 1) == 0) continue;
    for (uint32_t slot = 0; slot < geometry_.slots; ++slot) {
      const CellState state = CellState::Unpack(states(priority)[slot].load());
      const bool held = state.phase == Phase::kLeased || state.phase == Phase::kTaken;
      if (!held || !gone(state.owner)) continue;
      const uint64_t position = slots(priority)[slot].sequence.load(std::memory_order_acquire);
      if (state.phase == Phase::kLeased) {
        returned += Move(priority, slot, position, state.owner,
                         {.from = Phase::kLeased, .to = Phase::kReturned, .attempted = true});
      } else {
        Move(priority, slot, position, state.owner, {.from = Phase::kTaken, .to = Phase::kDone});
      }
    }
  }
  state_header_->returns.fetch_add(1);
  RingSender();
  return returned;
}

std::vector<CellHead> CellReader::HeldBy(int priority, uint32_t owner) const {
  std::vector<CellHead> held;
  if ((rings_in_use() >> priority & 1) == 0) return held;
  for (uint32_t slot = 0; slot < geometry_.slots; ++slot) {
    const uint64_t seen = states(priority)[slot].load();
    const CellState state = CellState::Unpack(seen);
    if (state.owner != owner || state.phase != Phase::kLeased) continue;
    const Slot& at = slots(priority)[slot];
    held.push_back({at.sequence.load(std::memory_order_acquire), slot,
                    at.stamp.load(std::memory_order_relaxed), seen, state.attempts, false});
  }
  return held;
}

CellReader::Counts CellReader::Count() const {
  Counts counts;
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    if ((rings_in_use() >> priority & 1) == 0) continue;
    uint64_t last = 0;
    for (uint32_t i = 0; i < geometry_.order_entries(); ++i) {
      const OrderEntry entry = OrderEntry::Unpack(order(priority)[i].load());
      last = std::max(last, entry.position);
      if (entry.position == 0 || entry.slot >= geometry_.slots) continue;
      const CellState state = CellState::Unpack(states(priority)[entry.slot].load());
      counts.waiting += !state.ClaimedSince(entry.position);
    }
    // What was claimed may have outlived its entry.
    for (uint32_t slot = 0; slot < geometry_.slots; ++slot) {
      const CellState state = CellState::Unpack(states(priority)[slot].load());
      counts.waiting += state.phase == Phase::kReturned;
      counts.leased += state.phase == Phase::kLeased;
      counts.delayed += state.phase == Phase::kDelayed;
      counts.condemned += state.phase == Phase::kCondemned;
    }
    counts.sent += last;
  }
  counts.dropped = header_->dropped.load(std::memory_order_relaxed);
  return counts;
}

void CellReader::RingSender() {
  const uint64_t parks = header_->room_parks.load();
  if (state_header_->last_room_rung.load(std::memory_order_relaxed) == parks) return;
  if (SEEDED_BUG(RUNG_BEFORE_RING)) state_header_->last_room_rung.store(parks);
  state_header_->room_gate.fetch_add(1);
  FutexWakeAll(&state_header_->room_gate);
  // Last: a receiver that dies or is stopped before leaves the ringing to the others.
  state_header_->last_room_rung.store(parks, std::memory_order_relaxed);
}

}  // namespace mailrail
