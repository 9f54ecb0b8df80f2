#include "core/lane/ring_reader.h"

#include <cstring>

#include "core/shm/futex.h"

namespace mailrail {

RingReader::RingReader(const RingGeometry& geometry, char* own, const char* peer)
    : geometry_(geometry),
      own_(own),
      peer_(peer),
      header_(reinterpret_cast<RingHeader*>(own)),
      peer_header_(reinterpret_cast<const RingHeader*>(peer)) {}

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
    ring.line = ring.told = ring.consumed.line;
    ring.sequence = ring.consumed_sequence;
  }
  ReleaseConsumedCells();
}

void RingReader::ReleaseConsumedCells() {
  const auto* entries = reinterpret_cast<const CellEntry*>(peer_ + geometry_.cell_offset());
  auto* done = reinterpret_cast<std::atomic<uint64_t>*>(own_ + geometry_.done_offset());
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

Look RingReader::Check(int priority, uint32_t line, uint64_t head, Record* record) const {
  const uint32_t total = geometry_.ring_lines();
  const uint32_t to_end = total - (line & (total - 1));
  const char* at = peer_ + geometry_.ring_offset(priority) + size_t{line & (total - 1)} * kLine;
  record->length = HeadLength(head);
  record->has_prefix = HeadHasPrefix(head);
  record->sequence = rings_[priority].sequence + 1;
  if (HeadSequence(head) != static_cast<uint32_t>(record->sequence)) return Look::kCorrupt;
  memcpy(&record->stamp, at + 8, sizeof(record->stamp));
  if (HeadKind(head) == RecordKind::kInline) {
    const uint32_t lines = LinesFor(record->length);
    if (record->length > kMaxInlineRecord || lines > to_end) return Look::kCorrupt;
    record->data = at + sizeof(RecordHead);
    record->in_slab = false;
    record->end_line = line + lines;
    return Look::kReady;
  }
  if (HeadKind(head) != RecordKind::kSlab) return Look::kCorrupt;
  SlabReference reference;
  memcpy(&reference, at + sizeof(RecordHead), sizeof(reference));
  // Keeps the compiler from reading it again after it was checked.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (reference.cell >= geometry_.cells || reference.offset > geometry_.slab_bytes ||
      geometry_.slab_bytes - reference.offset < record->length) {
    return Look::kCorrupt;
  }
  record->data = peer_ + geometry_.slab_offset() + reference.offset;
  record->cell = reference.cell;
  record->in_slab = true;
  record->end_line = line + LinesFor(sizeof(SlabReference));
  return Look::kReady;
}

Look RingReader::Peek(int priority, Record* record) {
  Ring& ring = rings_[priority];
  const uint32_t total = geometry_.ring_lines();
  // At most one padding comes before a record.
  for (int step = 0; step < 2; ++step) {
    const auto* at = reinterpret_cast<const RecordHead*>(peer_ + geometry_.ring_offset(priority) +
                                                         size_t{ring.line & (total - 1)} * kLine);
    // Acquire, partner of the sender's exchange: the record is whole.
    const uint64_t head = at->head.load(std::memory_order_acquire);
    if (HeadKind(head) == RecordKind::kNone) return Look::kEmpty;
    if (HeadKind(head) != RecordKind::kPadding) return Check(priority, ring.line, head, record);
    ring.line += total - (ring.line & (total - 1));
  }
  return Look::kCorrupt;
}

void RingReader::Advance(int priority, const Record& record) {
  rings_[priority].line = record.end_line;
  rings_[priority].sequence = record.sequence;
}

void RingReader::Consume(int priority, const Record& record) {
  Ring& ring = rings_[priority];
  ring.consumed = {record.end_line, static_cast<uint32_t>(record.sequence)};
  ring.consumed_sequence = record.sequence;
  untold_ |= 1u << priority;
  if (peer_header_->room_parks.load(std::memory_order_relaxed) !=
      last_room_rung_.load(std::memory_order_relaxed)) {
    Flush();  // of all rings: it may wait for room in another
  } else if (ring.consumed.line - ring.told >= geometry_.ring_lines() / 4) {
    Tell(priority);
    RingSender();
  }
}

void RingReader::Tell(int priority) {
  Ring& ring = rings_[priority];
  header_->consumed_sequence[priority].store(ring.consumed_sequence, std::memory_order_relaxed);
  // Sequentially consistent, partner of the sender's room_parks.fetch_add: either it sees the room
  // in its second look, or we see that it parked.
  reinterpret_cast<ConsumedMark*>(own_ + 4096)[priority].mark.exchange(ring.consumed.Pack());
  ring.told = ring.consumed.line;
  untold_ &= ~(1u << priority);
}

void RingReader::Flush() {
  if (untold_ == 0) return;
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    if ((untold_ >> priority & 1) != 0) Tell(priority);
  }
  RingSender();
}

void RingReader::ReleaseCell(int priority, uint32_t cell, uint64_t sequence) {
  auto* done = reinterpret_cast<std::atomic<uint64_t>*>(own_ + geometry_.done_offset());
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
