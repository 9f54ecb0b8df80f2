#include "core/lane/ring_reader.h"

#include "core/base/seeded_bug.h"
#include "core/shm/futex.h"

namespace mailrail {

RingReader::RingReader(const RingGeometry& geometry, char* own, const char* peer, Reserve* reserve)
    : geometry_(geometry),
      line_mask_(geometry.ring_lines() - 1),
      own_(own),
      peer_(peer),
      header_(reinterpret_cast<RingHeader*>(own)),
      peer_header_(reinterpret_cast<const RingHeader*>(peer)),
      reserve_(reserve),
      cells_ready_(reserve == nullptr ? geometry.cells : 0) {
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    rings_[priority].lines = peer_ + geometry_.ring_offset(priority);
  }
}

void RingReader::Recover() {
  const auto* consumed = reinterpret_cast<const ConsumedMark*>(own_ + 4096);
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    Ring& ring = rings_[priority];
    ring.consumed = RingMark::Unpack(consumed[priority].mark.load(std::memory_order_relaxed));
    // The whole number nearest to the one noted, with the low half that counts.
    const uint64_t noted = header_->consumed_sequence[priority].load(std::memory_order_relaxed);
    ring.consumed_sequence =
        noted + static_cast<uint64_t>(static_cast<int64_t>(
                    static_cast<int32_t>(ring.consumed.sequence - static_cast<uint32_t>(noted))));
    ring.line = ring.flushed = ring.consumed.line;
    ring.sequence = ring.consumed_sequence;
  }
  ReleaseConsumedCells();
}

void RingReader::ReleaseConsumedCells() {
  const auto* entries = reinterpret_cast<const CellEntry*>(peer_ + geometry_.cell_offset());
  auto* done = reinterpret_cast<SharedAtomic<uint64_t>*>(own_ + geometry_.done_offset());
  for (uint32_t cell = 0; cell < geometry_.cells; ++cell) {
    const uint64_t tag = entries[cell].tag.load(std::memory_order_relaxed);
    const uint64_t priority = (tag >> 32) - 1;
    if (priority >= kPriorityCount) continue;
    const uint32_t ahead =
        static_cast<uint32_t>(tag) - static_cast<uint32_t>(rings_[priority].consumed_sequence);
    if (static_cast<int32_t>(ahead) <= 0) done[cell].exchange(tag);
  }
  RingSender();
}

Look RingReader::CheckOther(int priority, uint64_t head, Record* record) {
  Ring& ring = rings_[priority];
  if (HeadKind(head) == RecordKind::kSlab) return CheckSlab(ring, head, record);
  if (HeadKind(head) != RecordKind::kPadding) return Look::kCorrupt;
  ring.line += line_mask_ + 1 - (ring.line & line_mask_);
  const uint64_t next = At(ring)->head.load(std::memory_order_acquire);
  switch (HeadKind(next)) {
    case RecordKind::kNone:
      return Look::kEmpty;
    case RecordKind::kInline:
      return CheckInline(ring, next, record);
    case RecordKind::kSlab:
      return CheckSlab(ring, next, record);
    default:  // At most one padding comes before a record.
      return Look::kCorrupt;
  }
}

Look RingReader::CheckSlab(const Ring& ring, uint64_t head, Record* record) {
  const char* at = reinterpret_cast<const char*>(At(ring));
  record->length = HeadLength(head);
  record->has_prefix = HeadHasPrefix(head);
  record->sequence = ring.sequence + 1;
  if (HeadSequence(head) != static_cast<uint32_t>(record->sequence)) return Look::kCorrupt;
  memcpy(&record->stamp, at + offsetof(RecordHead, stamp), sizeof(record->stamp));
  SlabReference reference;
  memcpy(&reference, at + sizeof(RecordHead), sizeof(reference));
  // Keeps the compiler from reading it again after it was checked.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const bool inside = reference.offset <= geometry_.slab_bytes &&
                      geometry_.slab_bytes - reference.offset >= record->length;
  if (reference.cell >= geometry_.cells || (!inside && !SEEDED_BUG(RING_BODY_NOT_CHECKED))) {
    return Look::kCorrupt;
  }
  if (ABSL_PREDICT_FALSE(reference.cell >= cells_ready_)) {
    // Whatever the budget says: what was received must be let go of.
    reserve_->Force(own_ + geometry_.done_offset() + size_t{8} * cells_ready_,
                    size_t{8} * (geometry_.cells - cells_ready_));
    cells_ready_ = geometry_.cells;
  }
  record->data = peer_ + geometry_.slab_offset() + reference.offset;
  record->cell = reference.cell;
  record->in_slab = true;
  record->end_line = ring.line + LinesFor(sizeof(SlabReference));
  return Look::kReady;
}

void RingReader::TellAll() {
  auto* const consumed = reinterpret_cast<ConsumedMark*>(own_ + 4096);
  for (uint32_t left = unflushed_; left != 0; left &= left - 1) {
    const int priority = __builtin_ctz(left);
    const Ring& ring = rings_[priority];
    header_->consumed_sequence[priority].store(ring.consumed_sequence, std::memory_order_relaxed);
    // Sequentially consistent, partner of the sender's room_parks.fetch_add: either it sees the
    // room in its second look, or we see that it parked.
    consumed[priority].mark.exchange(ring.consumed.Pack());
  }
}

void RingReader::Flush() {
  if (unflushed_ == 0) return;
  TellAll();
  for (; unflushed_ != 0; unflushed_ &= unflushed_ - 1) {
    Ring& ring = rings_[__builtin_ctz(unflushed_)];
    ring.flushed = ring.consumed.line;
  }
  RingSender();
}

void RingReader::ReleaseCell(int priority, uint32_t cell, uint64_t sequence) {
  auto* done = reinterpret_cast<SharedAtomic<uint64_t>*>(own_ + geometry_.done_offset());
  done[cell].exchange(CellTag(priority, sequence));
  RingSender();
}

void RingReader::Refuse() {
  header_->refused.store(1);
  header_->room_gate.fetch_add(1);
  FutexWakeAll(&header_->room_gate);
}

void RingReader::RingSender() {
  const uint64_t parks = peer_header_->room_parks.load();
  if (parks == last_room_rung_.load(std::memory_order_relaxed)) return;
  last_room_rung_.store(parks, std::memory_order_relaxed);
  header_->room_gate.fetch_add(1);
  FutexWakeAll(&header_->room_gate);
}

}  // namespace mailrail
