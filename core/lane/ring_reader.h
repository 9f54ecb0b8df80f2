#ifndef MAILRAIL_CORE_LANE_RING_READER_H_
#define MAILRAIL_CORE_LANE_RING_READER_H_

#include <atomic>
#include <cstdint>

#include "core/lane/record.h"
#include "core/lane/ring_layout.h"

namespace mailrail {

// The receiving end of a ring lane. Everything that it reads from the sender's memory is copied
// once and checked; a lane that is not well-formed is kCorrupt, and stays so.
//
// Thread-compatible, but for ReleaseCell, which is thread-safe. `own` and `peer` are mappings of
// geometry.memory_bytes() that outlive it.
class RingReader {
 public:
  RingReader(const RingGeometry& geometry, char* own, const char* peer);

  // Goes on where a reader that died had said that it has consumed, and lets go of the slab room
  // of all messages before.
  void Recover();

  // The priorities that the sender has used so far, as bits.
  uint32_t rings_in_use() const {
    return peer_header_->rings_in_use.load(std::memory_order_acquire);
  }

  // The next record at this priority, which stays next until Advance.
  Look Peek(int priority, Record* record);

  // Moves on to the record after `record`, whose room stays taken.
  void Advance(int priority, const Record& record);

  // Gives back the room in the ring up to the end of `record`; the sender is told when a good part
  // of the ring is free, or at once when it sleeps for room.
  void Consume(int priority, const Record& record);

  // Tells the sender of all room given back. Call when nothing was found, and before a park.
  void Flush();

  // Gives back the slab room of a record, identified by its cell, priority and sequence number. A
  // reader that may be recovered flushes before: what it reads again must still be there.
  void ReleaseCell(int priority, uint32_t cell, uint64_t sequence);

  // Tells the sender that its lane is not read any more, because it is not well-formed.
  void Refuse();

  // How many messages were consumed at this priority.
  uint64_t consumed(int priority) const { return rings_[priority].consumed_sequence; }

 private:
  struct Ring {
    uint32_t line = 0;      // of the next record
    uint64_t sequence = 0;  // of the last record advanced over
    RingMark consumed;      // given back
    uint64_t consumed_sequence = 0;
    uint32_t told = 0;  // the line up to which the sender knows
  };

  Look Check(int priority, uint32_t line, uint64_t head, Record* record) const;
  void Tell(int priority);
  // Of readers that died after they had consumed a message and before they let its body go.
  void ReleaseConsumedCells();
  // Wakes the sender if it sleeps for room.
  void RingSender();

  const RingGeometry geometry_;
  char* const own_;
  const char* const peer_;
  RingHeader* const header_;
  const RingHeader* const peer_header_;
  Ring rings_[kPriorityCount];
  uint32_t untold_ = 0;  // priorities with room that the sender does not know of
  std::atomic<uint64_t> last_room_rung_{0};  // room_parks when the sender was last woken
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_RING_READER_H_
