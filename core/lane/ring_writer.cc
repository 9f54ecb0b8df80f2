#include "core/lane/ring_writer.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

// What is reserved first in a ring, in lines.
constexpr uint32_t kFirstStep = 64;

}  // namespace

RingWriter::RingWriter(const RingGeometry& geometry, char* own, const char* peer, Reserve* reserve)
    : geometry_(geometry),
      line_mask_(geometry.ring_lines() - 1),
      own_(own),
      peer_(peer),
      header_(reinterpret_cast<RingHeader*>(own)),
      peer_header_(reinterpret_cast<const RingHeader*>(peer)),
      reserve_(reserve),
      slab_(own + geometry.slab_offset(), geometry.slab_bytes, reserve),
      uses_(geometry.cells) {
  Step();
  header_->magic = kRingMagic;
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    rings_[priority].lines = own_ + geometry_.ring_offset(priority);
    if (reserve_ == nullptr) rings_[priority].end = geometry_.ring_lines();
  }
  if (reserve_ == nullptr) cells_ready_ = geometry_.cells;
  free_cells_.reserve(geometry.cells);
  for (uint32_t cell = geometry.cells; cell > 0; --cell) free_cells_.push_back(cell - 1);
}

bool RingWriter::LookForRoom(int priority, uint32_t lines) {
  Ring& ring = rings_[priority];
  short_of_memory_ = ring.starved;
  const uint32_t total = line_mask_ + 1;
  const auto* consumed = reinterpret_cast<const ConsumedMark*>(peer_ + 4096) + priority;
  // Acquire, partner of the receiver's exchange: what it read it has read before we overwrite it.
  const uint32_t seen = RingMark::Unpack(consumed->mark.load(std::memory_order_acquire)).line;
  if (ring.line - seen > total) return false;  // not a number that a sound receiver writes
  ring.consumed = seen;
  if (total - (ring.line - seen) > lines) return true;
  ring.lagged = true;
  return false;
}

bool RingWriter::GoBeyondEnd(int priority, uint32_t lines) {
  Ring& ring = rings_[priority];
  if (ring.end == line_mask_ + 1) return Wrap(priority, lines);
  const uint32_t index = ring.line & line_mask_;
  // It goes round only if it has room for two such records: else one in the middle would neither
  // fit before the end nor, as the padding that says so must stay until it is read, before itself.
  const uint32_t enough = std::max(index + lines, 2 * lines);
  const bool grows = ring.end < kGrowsFirst || ring.lagged;
  if (grows && Grow(priority, enough)) return HasRoom(priority, lines);
  if (ring.end >= 2 * lines && Wrap(priority, lines)) return true;
  if (index + lines > line_mask_ + 1) return false;
  if (Grow(priority, enough)) return HasRoom(priority, lines);
  short_of_memory_ = true;
  return false;
}

bool RingWriter::Grow(int priority, uint32_t index) {
  Ring& ring = rings_[priority];
  const uint32_t total = line_mask_ + 1;
  if (index > total || ring.end == total) return false;
  // One line more for the head after the last record, unless that is at the start of the ring.
  const uint32_t least = std::min(index + 1, total);
  const uint32_t reserved = ring.end == 0 ? 0 : ring.end + 1;
  uint32_t next = std::max(2 * reserved, kFirstStep);
  while (next < least) next *= 2;
  next = std::min(next, total);
  // By as little as is needed when there is not enough to double it.
  constexpr uint32_t kPageLines = 4096 / kLine;
  const uint32_t little = std::min((least + kPageLines - 1) / kPageLines * kPageLines, total);
  ring.starved = !GrowTo(&ring, next) && (little >= next || !GrowTo(&ring, little));
  return !ring.starved;
}

bool RingWriter::GrowTo(Ring* ring, uint32_t reserved_lines) {
  const uint32_t reserved = ring->end == 0 ? 0 : ring->end + 1;
  if (!reserve_->Take(ring->lines + size_t{reserved} * kLine,
                      size_t{reserved_lines - reserved} * kLine)) {
    return false;
  }
  ring->end = reserved_lines == line_mask_ + 1 ? reserved_lines : reserved_lines - 1;
  ring->lagged = false;
  return true;
}

bool RingWriter::Wrap(int priority, uint32_t lines) {
  Ring& ring = rings_[priority];
  const uint32_t to_end = line_mask_ + 1 - (ring.line & line_mask_);
  if (!HasRoom(priority, to_end + lines)) return false;
  RecordHead* padding = At(ring, ring.line);
  At(ring, ring.line + to_end)->head.store(0, std::memory_order_relaxed);
  // Release: whoever sees the padding sees the zero at the start of the ring.
  padding->head.store(PackHead(RecordKind::kPadding, false, 0, ring.sequence + 1),
                      std::memory_order_release);
  // In a small ring the record noted last may soon be written over, the padding not before another
  // record is noted. (There is one: a ring does not begin with padding.)
  header_->tail[priority].store(RingMark{ring.line, static_cast<uint32_t>(ring.sequence)}.Pack(),
                                std::memory_order_relaxed);
  ring.line += to_end;
  return true;
}

void RingWriter::Use(int priority) {
  in_use_ |= uint32_t{1} << priority;
  header_->rings_in_use.fetch_or(uint32_t{1} << priority);
}

bool RingWriter::ReserveCell(uint32_t cell) {
  if (cell < cells_ready_) return true;
  const uint32_t more = std::min(std::max(cells_ready_, 128u), geometry_.cells - cells_ready_);
  char* const entry = own_ + geometry_.cell_offset() + sizeof(CellEntry) * cells_ready_;
  if (!reserve_->Take(entry, sizeof(CellEntry) * more)) return false;
  cells_ready_ += more;
  return true;
}

absl::optional<SlabRoom> RingWriter::Allocate(uint64_t bytes, bool urgent) {
  short_of_memory_ = false;
  // Two looks: the second after taking back what the receiver has let go of.
  for (int look = 0; look < 2; ++look) {
    const size_t kept = urgent ? 0 : uses_.size() / 8;
    if (free_cells_.size() > kept) {
      const absl::optional<uint64_t> offset = slab_.Allocate(bytes, urgent, /*again=*/look == 1);
      short_of_memory_ = slab_.short_of_memory();
      if (offset.has_value() && ReserveCell(free_cells_.back())) {
        SlabRoom room;
        room.cell = free_cells_.back();
        free_cells_.pop_back();
        room.offset = *offset;
        room.bytes = bytes;
        room.data = slab_.at(*offset);
        uses_[room.cell] = {0, *offset, bytes};
        return room;
      }
      if (offset.has_value()) {
        slab_.Free(*offset, bytes);
        short_of_memory_ = true;
      }
    }
    if (look == 0) ReclaimCells();
  }
  return absl::nullopt;
}

bool RingWriter::AppendSlab(int priority, const SlabRoom& room, uint32_t length, bool has_prefix,
                            uint64_t stamp) {
  const uint32_t lines = LinesFor(sizeof(SlabReference));
  RecordHead* record = Begin(priority, lines);
  if (record == nullptr) return false;
  const uint64_t sequence = rings_[priority].sequence + 1;
  const uint64_t tag = CellTag(priority, sequence);
  auto* entries = reinterpret_cast<CellEntry*>(own_ + geometry_.cell_offset());
  if (!SEEDED_BUG(INTENT_NOT_WRITTEN)) {
    entries[room.cell].tag.store(tag, std::memory_order_relaxed);
  }
  Step();
  entries[room.cell].offset = room.offset;
  Step();
  entries[room.cell].bytes = room.bytes;
  uses_[room.cell].tag = tag;
  published_cells_.push_back(room.cell);
  Step();
  record->stamp = stamp;
  const SlabReference reference{room.offset, room.cell};
  Step();
  memcpy(reinterpret_cast<char*>(record + 1), &reference, sizeof(reference));
  Publish(priority, record, lines, PackHead(RecordKind::kSlab, has_prefix, length, sequence));
  return true;
}

void RingWriter::Free(const SlabRoom& room) {
  slab_.Free(room.offset, room.bytes);
  free_cells_.push_back(room.cell);
}

void RingWriter::ReclaimCells() {
  const auto* done =
      reinterpret_cast<const SharedAtomic<uint64_t>*>(peer_ + geometry_.done_offset());
  size_t kept = 0;
  for (const uint32_t cell : published_cells_) {
    const CellUse& use = uses_[cell];
    // Acquire, partner of the receiver's release store: it reads the room no more.
    if (done[cell].load(std::memory_order_acquire) == use.tag) {
      slab_.Free(use.offset, use.bytes);
      if (SEEDED_BUG(SLAB_FREED_TWICE)) slab_.Free(use.offset, use.bytes);
      free_cells_.push_back(cell);
    } else {
      published_cells_[kept++] = cell;
    }
  }
  published_cells_.resize(kept);
}

FutexWord RingWriter::ParkForRoom() {
  const uint32_t gate = peer_header_->room_gate.load();
  header_->room_parks.fetch_add(1);
  // The looks that follow are weaker loads, and must not be taken before.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (Ring& ring : rings_) ring.consumed = ring.line - geometry_.ring_lines();  // look again
  return {&peer_header_->room_gate, gate};
}

bool RingWriter::Drained() {
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    if ((in_use_ >> priority & 1) == 0) continue;
    const auto* consumed = reinterpret_cast<const ConsumedMark*>(peer_ + 4096) + priority;
    if (RingMark::Unpack(consumed->mark.load(std::memory_order_acquire)).sequence !=
        static_cast<uint32_t>(rings_[priority].sequence)) {
      return false;
    }
  }
  ReclaimCells();
  return published_cells_.empty();
}

void RingWriter::RecoverReserved(int priority) {
  // What the writer before this one has written beyond that is reserved again when it is reached.
  Ring& ring = rings_[priority];
  if (reserve_ == nullptr) return;
  const uint32_t total = line_mask_ + 1;
  uint32_t reserved = kFirstStep;
  while (reserved < total && reserved <= (ring.line & line_mask_)) reserved *= 2;
  reserved = std::min(reserved, total);
  reserve_->Force(ring.lines, size_t{reserved} * kLine);
  ring.end = reserved == total ? total : reserved - 1;
}

absl::Status RingWriter::RecoverRing(int priority) {
  Ring& ring = rings_[priority];
  const uint32_t total = geometry_.ring_lines();
  const uint64_t word = header_->tail[priority].load(std::memory_order_relaxed);
  const RingMark tail = RingMark::Unpack(word);
  const auto* consumed = reinterpret_cast<const ConsumedMark*>(peer_ + 4096) + priority;
  const uint32_t seen = RingMark::Unpack(consumed->mark.load(std::memory_order_acquire)).line;
  uint32_t line = tail.line;
  uint32_t expected = word == 0 ? 1 : tail.sequence;  // a first record begins at line 0
  // What it notes last may be a padding that came after that record.
  if (word != 0 &&
      HeadKind(At(ring, line)->head.load(std::memory_order_relaxed)) == RecordKind::kPadding) {
    ++expected;
  }
  ring.sequence = expected - 1;
  uint32_t last = line;
  for (uint32_t walked = 0; walked <= total; ++walked) {
    const uint64_t head = At(ring, line)->head.load(std::memory_order_relaxed);
    if (HeadKind(head) == RecordKind::kNone) {
      ring.line = line;
      ring.consumed = line - seen > total ? line - total : seen;
      // The record noted before may be overwritten by the time that we note one, and if we die
      // before that, nobody could walk from there.
      header_->tail[priority].store(RingMark{last, static_cast<uint32_t>(ring.sequence)}.Pack(),
                                    std::memory_order_relaxed);
      return absl::OkStatus();
    }
    if (HeadKind(head) == RecordKind::kPadding) {
      last = line;
      line += total - (line & (total - 1));
      continue;
    }
    if (HeadSequence(head) != expected) break;
    last = line;
    line += LinesFor(HeadKind(head) == RecordKind::kInline
                         ? HeadLength(head)
                         : static_cast<uint32_t>(sizeof(SlabReference)));
    ring.sequence = expected++;
  }
  return absl::DataLossError(absl::StrCat("ring ", priority, " cannot be taken up again"));
}

absl::Status RingWriter::Recover() {
  in_use_ = header_->rings_in_use.load();
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    if ((in_use_ >> priority & 1) == 0) continue;
    if (absl::Status status = RecoverRing(priority); !status.ok()) return status;
    RecoverReserved(priority);
  }
  return RecoverCells();
}

absl::Status RingWriter::RecoverCells() {
  auto* entries = reinterpret_cast<CellEntry*>(own_ + geometry_.cell_offset());
  const auto* done =
      reinterpret_cast<const SharedAtomic<uint64_t>*>(peer_ + geometry_.done_offset());
  if (reserve_ != nullptr) {
    reserve_->Force(reinterpret_cast<char*>(entries), sizeof(CellEntry) * geometry_.cells);
    cells_ready_ = geometry_.cells;
  }
  free_cells_.clear();
  for (uint32_t cell = geometry_.cells; cell-- > 0;) {
    CellEntry& entry = entries[cell];
    const uint64_t tag = entry.tag.load(std::memory_order_relaxed);
    const uint64_t priority = (tag >> 32) - 1;
    // A writer that died before it published leaves the tag of the next message, which would come
    // true when that message is sent another way.
    const bool published =
        priority < kPriorityCount &&
        tag != CellTag(static_cast<int>(priority), rings_[priority].sequence + 1);
    if (!published) entry.tag.store(0, std::memory_order_relaxed);
    // In use: its message was published, and the receiver has not let it go.
    if (!published || done[cell].load(std::memory_order_acquire) == tag) {
      free_cells_.push_back(cell);
    } else if (slab_.Recover(entry.offset, entry.bytes)) {
      uses_[cell] = {tag, entry.offset, entry.bytes};
      published_cells_.push_back(cell);
    } else {
      return absl::DataLossError(absl::StrCat("cell ", cell, " overlaps another"));
    }
  }
  return absl::OkStatus();
}

}  // namespace mailrail
