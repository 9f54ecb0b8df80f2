// The memory of a link, for lanes with one receiver: inboxes, and lanes that an agent carries on.
//
// A link joins two parties with one memory each. Each party writes its own memory only, and maps
// the other's read-only. A party's memory holds the ring lane that it sends on, and what it tells
// the other as the receiver of the other's lane:
//
//   offset  size              what
//        0  4096              RingHeader: identification, hints, recovery
//     4096  32 x 128          consumed[p]: receiver part, how far ring p of the *other* is read
//     8192  8 x cells         done[c]: receiver part, which use of the other's cell c is let go
//      ...  24 x cells        cell[c]: sender part, the room in the slab that cell c stands for
//      ...  32 x ring_bytes   one byte ring per priority
//      ...  slab_bytes        room for large bodies
//
// The file is sparse: rings and room that are never used cost no memory.
//
// A ring is an array of 64-byte lines. A record takes whole lines and begins with its head:
//   bits 0-31   the low half of the record's sequence number, from 1
//   bits 32-59  length of the payload, prefix included
//   bits 60-62  kind: 0 not published, 1 inline, 2 in the slab, 3 padding to the end of the ring
//   bit  63     the payload begins with a prefix
// then the stamp and, from byte 16 on, the payload or the cell. Since there is one producer, it
// zeroes the head after a record before it publishes that record, with one store of its head. It
// may go round at any place, by padding: a sender that has not reserved all of the ring does so
// early.
//
// Positions count lines, and wrap at 2^32; so do sequence numbers in shared words. A position and a
// sequence number that belong together are one word, so no death can tear them.
#ifndef MAILRAIL_CORE_LANE_RING_LAYOUT_H_
#define MAILRAIL_CORE_LANE_RING_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "core/shm/step.h"
#include "mailrail/limits.h"

namespace mailrail {

inline constexpr uint64_t kRingMagic = 0x31676e69724c524d;  // "MRLring1"
inline constexpr uint32_t kLine = 64;

// Payloads up to this size stand in the ring, larger ones in the slab.
inline constexpr uint32_t kMaxInlineRecord = 4096 - 16;

struct RingGeometry {
  uint64_t ring_bytes = 0;  // a power of two
  uint64_t slab_bytes = 0;
  uint32_t cells = 0;

  // What an agent grants for a destination with bodies up to `max_message_bytes`.
  static RingGeometry For(size_t max_message_bytes);

  // Whether the numbers are within bounds, so that nothing computed from them overflows.
  bool Valid() const;

  uint32_t ring_lines() const { return static_cast<uint32_t>(ring_bytes / kLine); }
  size_t done_offset() const { return 8192; }
  size_t cell_offset() const { return done_offset() + size_t{8} * cells; }
  size_t ring_offset(int priority) const {
    return (cell_offset() + size_t{24} * cells + 4095) / 4096 * 4096 +
           static_cast<size_t>(priority) * ring_bytes;
  }
  size_t slab_offset() const { return ring_offset(kPriorityCount); }
  size_t memory_bytes() const { return slab_offset() + slab_bytes; }
};

// A position and the sequence number of the message that ends (consumed) or begins (tail) there.
struct RingMark {
  uint32_t line = 0;
  uint32_t sequence = 0;

  static RingMark Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word)};
  }
  uint64_t Pack() const { return uint64_t{line} << 32 | sequence; }
};

// Shared between processes: written by the memory's owner, read by the other party.
struct RingHeader {
  uint64_t magic;
  // Sender part: bit p is set before the first record is published in ring p.
  alignas(128) SharedAtomic<uint32_t> rings_in_use;
  // Sender part: how often this party went to sleep for want of room.
  alignas(128) SharedAtomic<uint64_t> room_parks;
  // Receiver part: changes when this party gave room back to a sleeping sender, who waits on it.
  alignas(128) SharedAtomic<uint32_t> room_gate;
  // Receiver part, beside it: not 0 when this party refuses the other's lane as not well-formed.
  SharedAtomic<uint32_t> refused;
  // Sender part: where the last record of each ring begins, or the padding after it, with the
  // number of that record, written after they were published, for a sender that is started again.
  // It may lag behind by one record, or the padding.
  alignas(128) SharedAtomic<uint64_t> tail[kPriorityCount];
  // Receiver part: the high half of the sequence numbers in consumed[], likewise.
  alignas(128) SharedAtomic<uint64_t> consumed_sequence[kPriorityCount];
};
static_assert(sizeof(RingHeader) == 1024);

struct ConsumedMark {
  alignas(128) SharedAtomic<uint64_t> mark;
};
static_assert(sizeof(ConsumedMark) == 128);

// The part of a link's memory that says how much was published and consumed is so long.
inline constexpr size_t kRingCountsBytes = 8192;

// How many messages the owner of `memory` has published, and how many of them the owner of
// `receiver` has not consumed yet; both point to kRingCountsBytes. For display and for counting
// what is lost: a snapshot, and what the memories' owners claim. What their deaths have left may be
// one off.
uint64_t CountPublished(const char* memory);
uint64_t CountUnconsumed(const char* sender, const char* receiver);

// Which message uses a cell: (priority + 1) << 32 | low half of its sequence number.
inline uint64_t CellTag(int priority, uint64_t sequence) {
  return uint64_t{static_cast<uint32_t>(priority) + 1} << 32 | static_cast<uint32_t>(sequence);
}

struct CellEntry {
  SharedAtomic<uint64_t> tag;
  uint64_t offset;
  uint64_t bytes;
};
static_assert(sizeof(CellEntry) == 24);

struct RecordHead {
  SharedAtomic<uint64_t> head;
  uint64_t stamp;
};
static_assert(sizeof(RecordHead) == 16);

// What follows the head of a record in the slab.
struct SlabReference {
  uint64_t offset;
  uint32_t cell;
};

enum class RecordKind : uint32_t { kNone = 0, kInline = 1, kSlab = 2, kPadding = 3 };

inline uint64_t PackHead(RecordKind kind, bool has_prefix, uint32_t length, uint64_t sequence) {
  return uint64_t{has_prefix} << 63 | uint64_t{static_cast<uint32_t>(kind)} << 60 |
         uint64_t{length} << 32 | static_cast<uint32_t>(sequence);
}
inline RecordKind HeadKind(uint64_t head) { return static_cast<RecordKind>(head >> 60 & 7); }
inline uint32_t HeadLength(uint64_t head) { return static_cast<uint32_t>(head >> 32) & 0xfffffff; }
inline uint32_t HeadSequence(uint64_t head) { return static_cast<uint32_t>(head); }
inline bool HeadHasPrefix(uint64_t head) { return (head >> 63) != 0; }

// The lines of a record whose bytes in the ring are `bytes`.
inline uint32_t LinesFor(uint32_t bytes) {
  return (static_cast<uint32_t>(sizeof(RecordHead)) + bytes + kLine - 1) / kLine;
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_RING_LAYOUT_H_
