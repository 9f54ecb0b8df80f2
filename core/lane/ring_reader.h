#ifndef MAILRAIL_CORE_LANE_RING_READER_H_
#define MAILRAIL_CORE_LANE_RING_READER_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/base/optimization.h"
#include "core/lane/record.h"
#include "core/lane/ring_layout.h"
#include "core/shm/reserve.h"

namespace mailrail {

// The receiving end of a ring lane. Everything that it reads from the sender's memory is copied
// once and checked; a lane that is not well-formed is kCorrupt, and stays so.
//
// Thread-compatible, but for ReleaseCell, which is thread-safe. `own` and `peer` are mappings of
// geometry.memory_bytes() that outlive it, as does `reserve`, by which it has what it writes
// itself; without one all memory is there.
class RingReader {
 public:
  RingReader(const RingGeometry& geometry, char* own, const char* peer, Reserve* reserve = nullptr);

  // Goes on where a reader that died had said that it has consumed, and lets go of the slab room
  // of all messages before.
  void Recover();

  // The priorities that the sender has used so far, as bits.
  uint32_t rings_in_use() const {
    return peer_header_->rings_in_use.load(std::memory_order_acquire);
  }

  // Where they stand.
  const SharedAtomic<uint32_t>* rings_in_use_word() const { return &peer_header_->rings_in_use; }

  // The next record at this priority, which stays next until Advance.
  Look Peek(int priority, Record* record) {
    // Acquire, partner of the sender's exchange: the record is whole.
    const RecordHead* const next = At(rings_[priority]);
    const uint64_t head = next->head.load(std::memory_order_acquire);
    if (HeadKind(head) == RecordKind::kNone) {
      // What is like the record before comes with its first line: else the others would be asked
      // for only when that has come. Its sender writes no line beyond it.
      for (uint32_t line = 1; line <= rings_[priority].lines_behind; ++line) {
        __builtin_prefetch(reinterpret_cast<const char*>(next) + size_t{line} * kLine);
      }
      return Look::kEmpty;
    }
    return Check(priority, head, record);
  }

  // Moves on to the record after `record`, whose room stays taken.
  void Advance(int priority, const Record& record) {
    Ring& ring = rings_[priority];
    const uint32_t lines_behind = record.end_line - ring.line - 1;
    ring.lines_behind = lines_behind <= kMostLinesBehind ? lines_behind : 0;
    ring.line = record.end_line;
    ring.sequence = record.sequence;
  }

  // Gives back the room in the ring up to the end of `record`. A sender that sleeps for room finds
  // it when it looks again, and is woken when it is a sixteenth of the ring: of many senders that
  // wait for one receiver none should be woken for each message.
  void Consume(int priority, const Record& record) {
    Ring& ring = rings_[priority];
    ring.consumed = {record.end_line, static_cast<uint32_t>(record.sequence)};
    ring.consumed_sequence = record.sequence;
    unflushed_ |= uint32_t{1} << priority;
    if (ABSL_PREDICT_FALSE(record.end_line - ring.flushed >= line_mask_ / 16)) {
      Flush();
    } else if (ABSL_PREDICT_FALSE(peer_header_->room_parks.load(std::memory_order_relaxed) !=
                                  last_room_rung_.load(std::memory_order_relaxed))) {
      TellAll();  // of all rings: it may wait for room in another
    }
  }

  // Tells the sender of all room given back, and wakes it if it sleeps for some. Call when nothing
  // was found, and before a park.
  void Flush();

  // Gives back the slab room of a record, identified by its cell, priority and sequence number. A
  // reader that may be recovered flushes before: what it reads again must still be there.
  void ReleaseCell(int priority, uint32_t cell, uint64_t sequence);

  // Tells the sender that its lane is not read any more, because it is not well-formed.
  void Refuse();

  // How many messages were consumed at this priority.
  uint64_t consumed(int priority) const { return rings_[priority].consumed_sequence; }

 private:
  // So many lines behind a head are asked for before it has come; of a longer record none.
  static constexpr uint32_t kMostLinesBehind = 3;

  struct Ring {
    const char* lines = nullptr;
    uint32_t line = 0;          // of the next record
    uint64_t sequence = 0;      // of the last record advanced over
    uint32_t lines_behind = 0;  // of the head of that record, if they are few
    RingMark consumed;          // given back
    uint64_t consumed_sequence = 0;
    uint32_t flushed = 0;  // the line up to which it was told of by Flush
  };

  const RecordHead* At(const Ring& ring) const {
    return reinterpret_cast<const RecordHead*>(ring.lines + size_t{ring.line & line_mask_} * kLine);
  }
  // What the head read at the next line says, and what stands behind it.
  Look Check(int priority, uint64_t head, Record* record) {
    if (ABSL_PREDICT_TRUE(HeadKind(head) == RecordKind::kInline)) {
      return CheckInline(rings_[priority], head, record);
    }
    return CheckOther(priority, head, record);
  }
  Look CheckInline(const Ring& ring, uint64_t head, Record* record) const {
    const uint32_t index = ring.line & line_mask_;
    const char* at = ring.lines + size_t{index} * kLine;
    record->length = HeadLength(head);
    record->has_prefix = HeadHasPrefix(head);
    record->sequence = ring.sequence + 1;
    const uint32_t lines = LinesFor(record->length);
    if (ABSL_PREDICT_FALSE(HeadSequence(head) != static_cast<uint32_t>(record->sequence) ||
                           record->length > kMaxInlineRecord || lines > line_mask_ + 1 - index)) {
      return Look::kCorrupt;
    }
    memcpy(&record->stamp, at + offsetof(RecordHead, stamp), sizeof(record->stamp));
    record->data = at + sizeof(RecordHead);
    record->in_slab = false;
    record->end_line = ring.line + lines;
    return Look::kReady;
  }
  Look CheckOther(int priority, uint64_t head, Record* record);
  Look CheckSlab(const Ring& ring, uint64_t head, Record* record);
  void TellAll();
  // Of readers that died after they had consumed a message and before they let its body go.
  void ReleaseConsumedCells();
  // Wakes the sender if it sleeps for room.
  void RingSender();

  const RingGeometry geometry_;
  const uint32_t line_mask_;
  char* const own_;
  const char* const peer_;
  RingHeader* const header_;
  const RingHeader* const peer_header_;
  Reserve* const reserve_;
  uint32_t cells_ready_;  // so many words of done[] are reserved
  Ring rings_[kPriorityCount];
  uint32_t unflushed_ = 0;                   // priorities with room given back since the last Flush
  std::atomic<uint64_t> last_room_rung_{0};  // room_parks when the sender was last woken
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_RING_READER_H_
