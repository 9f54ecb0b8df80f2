#ifndef MAILRAIL_CORE_LANE_RING_WRITER_H_
#define MAILRAIL_CORE_LANE_RING_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "core/base/seeded_bug.h"
#include "core/lane/record.h"
#include "core/lane/ring_layout.h"
#include "core/shm/futex.h"
#include "core/shm/prefetch.h"
#include "core/shm/reserve.h"
#include "core/shm/slab.h"

namespace mailrail {

// Room for one large payload in a sender's slab.
struct SlabRoom {
  char* data = nullptr;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint32_t cell = 0;
};

// The sending end of a ring lane. It reads nothing from the receiver's memory but how much room
// came back, and checks that: a broken receiver can only make it wait.
//
// What it writes it reserves first, in steps: a ring begins with a page, and doubles when it is
// used. While it is small it goes round early, by padding, which is its own decision: to the
// receiver it is a ring like any other. What cannot be reserved is room that is not there.
//
// Thread-compatible. `own` and `peer` are mappings of geometry.memory_bytes() that outlive it, as
// does `reserve`; without one all memory is there.
class RingWriter {
 public:
  // A writer for memory that is all zeros (or Recover it).
  RingWriter(const RingGeometry& geometry, char* own, const char* peer, Reserve* reserve = nullptr);

  // Takes up the work of a writer that died, at whatever instruction. kDataLoss when the memory is
  // not what a writer leaves.
  absl::Status Recover();

  // Publishes a payload of up to kMaxInlineRecord bytes; false when the ring has no room.
  // REQUIRES: payload.size() <= kMaxInlineRecord.
  bool Append(int priority, const Payload& payload, uint64_t stamp,
              Publication publication = Publication::kFenced) {
    const auto length = static_cast<uint32_t>(payload.size());
    const uint32_t lines = LinesFor(length);
    RecordHead* const record = Begin(priority, lines);
    if (ABSL_PREDICT_FALSE(record == nullptr)) return false;
    char* body = reinterpret_cast<char*>(record + 1);
    StepsOfCopy(body + payload.prefix.size(), payload.body.data(), payload.body.size());
    if (ABSL_PREDICT_FALSE(!payload.prefix.empty())) {
      memcpy(body, payload.prefix.data(), payload.prefix.size());
      body += payload.prefix.size();
      if (!payload.body.empty()) memcpy(body, payload.body.data(), payload.body.size());
    } else if (length <= kFirstLine) {
      CopySmall(body, payload.body.data(), length);
    } else {
      // The line with the head last, and all of it at once: the receiver looks at it.
      memcpy(body + kFirstLine, payload.body.data() + kFirstLine, length - kFirstLine);
      memcpy(body, payload.body.data(), kFirstLine);
    }
    Step();
    record->stamp = stamp;
    Publish(priority, record, lines,
            PackHead(RecordKind::kInline, !payload.prefix.empty(), length,
                     rings_[priority].sequence + 1),
            publication);
    return true;
  }

  // Room for a larger payload, or nothing when there is none for now.
  absl::optional<SlabRoom> Allocate(uint64_t bytes, bool urgent);

  // Publishes a payload of `length` bytes that was written to `room`; false when the ring has no
  // room, and then the room stays the caller's. REQUIRES: length <= room.bytes.
  bool AppendSlab(int priority, const SlabRoom& room, uint32_t length, bool has_prefix,
                  uint64_t stamp);

  // Gives room back that was not published.
  void Free(const SlabRoom& room);

  // Announces that the sender will sleep for room. Try again after this, and sleep on the word
  // returned only if there was none.
  FutexWord ParkForRoom();

  // Whether the last thing that had no room had none because memory could not be reserved.
  bool short_of_memory() const { return short_of_memory_; }

  // Whether the receiver has refused this lane.
  bool refused() const { return peer_header_->refused.load(std::memory_order_relaxed) != 0; }

  // The number of the last message published at this priority.
  uint64_t sequence(int priority) const { return rings_[priority].sequence; }

  // Whether the receiver has read everything, and has let go of every large body.
  bool Drained();

 private:
  // How many lines ahead of the next record the writer fetches.
  static constexpr uint32_t kLinesAhead = 16;
  // How much of a payload stands in the line of the head.
  static constexpr uint32_t kFirstLine = kLine - sizeof(RecordHead);
  // A ring that is smaller grows rather than goes round.
  static constexpr uint32_t kGrowsFirst = 1023;

  struct Ring {
    char* lines = nullptr;
    uint32_t line = 0;  // where the next record begins
    // Records end at or before this index. It is the end of the ring, or the last line of what is
    // reserved, which is left for the head that stays zero, or says that the rest is padding.
    uint32_t end = 0;
    bool starved = false;   // the last time that more was to be reserved, there was none
    bool lagged = false;    // there was no room once since it grew: it does not suffice
    uint64_t sequence = 0;  // of the last record
    uint32_t consumed = 0;  // as last seen; room may have come back since
  };
  struct CellUse {
    uint64_t tag = 0;
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  // In steps of 16 bytes, the last of which may overlap: quicker than memcpy for what is so small.
  static void CopySmall(char* to, const char* from, uint32_t bytes) {
    if (ABSL_PREDICT_FALSE(bytes < 16)) {
      if (bytes > 0) memcpy(to, from, bytes);
      return;
    }
    for (uint32_t at = 0; at + 16 < bytes; at += 16) memcpy(to + at, from + at, 16);
    memcpy(to + bytes - 16, from + bytes - 16, 16);
  }
  RecordHead* At(const Ring& ring, uint32_t line) const {
    return reinterpret_cast<RecordHead*>(ring.lines + size_t{line & line_mask_} * kLine);
  }
  // Whether `lines` more lines can be written, with one left for the head that stays zero.
  bool HasRoom(int priority, uint32_t lines) {
    const Ring& ring = rings_[priority];
    return ABSL_PREDICT_TRUE(line_mask_ + 1 - (ring.line - ring.consumed) > lines) ||
           LookForRoom(priority, lines);
  }
  // The same after a look at how much was consumed.
  bool LookForRoom(int priority, uint32_t lines);
  // For a record that does not fit before the end: reserves more, or goes round.
  bool GoBeyondEnd(int priority, uint32_t lines);
  // Goes on at the start of the ring, if there is room for `lines` lines.
  bool Wrap(int priority, uint32_t lines);
  // Moves the end to `index` or beyond, if that can be reserved.
  bool Grow(int priority, uint32_t index);
  bool GrowTo(Ring* ring, uint32_t reserved_lines);
  // Where a record of `lines` lines begins, after padding if it would not fit before the end of
  // the ring; nullptr when there is no room. The head after it is zeroed.
  RecordHead* Begin(int priority, uint32_t lines) {
    Ring& ring = rings_[priority];
    if (ABSL_PREDICT_TRUE((ring.line & line_mask_) + lines <= ring.end)) {
      if (!HasRoom(priority, lines)) return nullptr;
    } else if (!GoBeyondEnd(priority, lines)) {
      return nullptr;
    }
    if (!SEEDED_BUG(HEAD_NOT_ZEROED_AHEAD)) {
      At(ring, ring.line + lines)->head.store(0, std::memory_order_relaxed);
    }
    return At(ring, ring.line);
  }
  // Publishes the record, and moves on.
  void Publish(int priority, RecordHead* record, uint32_t lines, uint64_t head,
               Publication publication = Publication::kFenced) {
    Ring& ring = rings_[priority];
    if (ABSL_PREDICT_FALSE((in_use_ >> priority & 1) == 0)) Use(priority);
    if (SEEDED_BUG(MISSING_RELEASE)) {
      record->head.store(head, std::memory_order_relaxed);
    } else if (publication == Publication::kFenced) {
      record->head.exchange(head);
    } else {
      record->head.store(head, std::memory_order_release);
    }
    ++ring.sequence;
    // For Recover alone; relaxed, because a death loses no store that was executed.
    header_->tail[priority].store(RingMark{ring.line, static_cast<uint32_t>(ring.sequence)}.Pack(),
                                  std::memory_order_relaxed);
    ring.line += lines;
    // Lines to come are fetched for writing before they are needed: the receiver has them.
    for (uint32_t i = 0; i < lines; ++i) PrefetchForWriting(At(ring, ring.line + kLinesAhead + i));
  }
  // Says that this ring is used from now on.
  void Use(int priority);
  // Takes back the room of cells that the receiver has let go of.
  void ReclaimCells();
  // Whether the entry of this cell is reserved, now at least.
  bool ReserveCell(uint32_t cell);
  absl::Status RecoverRing(int priority);
  void RecoverReserved(int priority);
  absl::Status RecoverCells();

  const RingGeometry geometry_;
  const uint32_t line_mask_;
  char* const own_;
  const char* const peer_;
  RingHeader* const header_;
  const RingHeader* const peer_header_;
  Reserve* const reserve_;
  bool short_of_memory_ = false;
  uint32_t in_use_ = 0;
  Ring rings_[kPriorityCount];
  Slab slab_;
  uint32_t cells_ready_ = 0;          // the entries of so many cells are reserved
  std::vector<CellUse> uses_;         // by cell; tag 0: allocated, not published
  std::vector<uint32_t> free_cells_;  // used last first
  std::vector<uint32_t> published_cells_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_RING_WRITER_H_
