#ifndef MAILRAIL_CORE_LANE_RING_WRITER_H_
#define MAILRAIL_CORE_LANE_RING_WRITER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "core/lane/record.h"
#include "core/lane/ring_layout.h"
#include "core/shm/futex.h"
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
// Thread-compatible. `own` and `peer` are mappings of geometry.memory_bytes() that outlive it.
class RingWriter {
 public:
  // A writer for memory that is all zeros (or Recover it).
  RingWriter(const RingGeometry& geometry, char* own, const char* peer);

  // Takes up the work of a writer that died, at whatever instruction. kDataLoss when the memory is
  // not what a writer leaves.
  absl::Status Recover();

  // Publishes a payload of up to kMaxInlineRecord bytes; false when the ring has no room. The
  // store that publishes is a sequentially consistent exchange, as the bell needs it.
  // REQUIRES: payload.size() <= kMaxInlineRecord.
  bool Append(int priority, const Payload& payload, uint64_t stamp);

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

  // Whether the receiver has refused this lane.
  bool refused() const { return peer_header_->refused.load(std::memory_order_relaxed) != 0; }

  // The number of the last message published at this priority.
  uint64_t sequence(int priority) const { return rings_[priority].sequence; }

  // Whether the receiver has read everything, and has let go of every large body.
  bool Drained();

 private:
  struct Ring {
    uint32_t line = 0;      // where the next record begins
    uint64_t sequence = 0;  // of the last record
    uint32_t consumed = 0;  // as last seen; room may have come back since
  };
  struct Use {
    uint64_t tag = 0;
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };

  RecordHead* At(int priority, uint32_t line) const;
  // Whether `lines` more lines can be written, with one left for the head that stays zero.
  bool HasRoom(int priority, uint32_t lines);
  // Where a record of `lines` lines begins, after padding if it would not fit before the end of
  // the ring; nullptr when there is no room. The head after it is zeroed.
  RecordHead* Begin(int priority, uint32_t lines);
  void Publish(int priority, RecordHead* record, uint32_t lines, uint64_t head);
  // Takes back the room of cells that the receiver has let go of.
  void ReclaimCells();
  absl::Status RecoverRing(int priority);
  absl::Status RecoverCells();

  const RingGeometry geometry_;
  char* const own_;
  const char* const peer_;
  RingHeader* const header_;
  const RingHeader* const peer_header_;
  uint32_t in_use_ = 0;
  Ring rings_[kPriorityCount];
  SlabAllocator slab_;
  std::vector<Use> uses_;             // by cell; tag 0: allocated, not published
  std::vector<uint32_t> free_cells_;  // used last first
  std::vector<uint32_t> published_cells_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_RING_WRITER_H_
