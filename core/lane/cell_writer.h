#ifndef MAILRAIL_CORE_LANE_CELL_WRITER_H_
#define MAILRAIL_CORE_LANE_CELL_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "core/lane/cell_layout.h"
#include "core/lane/record.h"
#include "core/lane/ring_writer.h"
#include "core/shm/futex.h"
#include "core/shm/reserve.h"
#include "core/shm/slab.h"

namespace mailrail {

// The sending end of a mailbox lane. Its books (which slots are free, what room they hold) are
// private; from the shared state it reads which slots are done.
//
// What it writes it reserves first, in steps: slots begin with a page, and double when all of them
// are in use. What cannot be reserved is room that is not there.
//
// Thread-compatible. `data` and `state` are mappings that outlive it, as does `reserve`; without
// one all memory is there.
class CellWriter {
 public:
  // A writer for memory that is all zeros (or Recover it). At most `capacity` messages of one
  // priority are in the lane at a time.
  CellWriter(const CellGeometry& geometry, uint32_t capacity, char* data, char* state,
             Reserve* reserve = nullptr);

  // Takes up the work of a writer that died, at whatever instruction. kDataLoss when the memory is
  // not what a writer leaves.
  absl::Status Recover();

  // Publishes a payload of up to Slot::kInlineBytes; false when there is no room. With a `due_tick`
  // it is delayed until then.
  bool Append(int priority, const Payload& payload, uint64_t stamp,
              Publication publication = Publication::kFenced, uint32_t due_tick = DueTick::kAtOnce);

  // Room for a larger payload, or nothing when there is none for now. `cell` is not used.
  absl::optional<SlabRoom> Allocate(uint64_t bytes, bool urgent);

  // Publishes a payload of `length` bytes that was written to `room`; false when there is no free
  // slot, and then the room stays the caller's. REQUIRES: length <= room.bytes.
  bool AppendSlab(int priority, const SlabRoom& room, uint32_t length, bool has_prefix,
                  uint64_t stamp, uint32_t due_tick = DueTick::kAtOnce);

  // Gives room back that was not published.
  void Free(const SlabRoom& room) { slab_.Free(room.offset, room.bytes); }

  // Takes the last `count` messages of this priority back, the last one first, until one is not the
  // sender's any more, since somebody has claimed it. Returns how many nobody will receive. `owner`
  // is the sender's number.
  size_t Retract(int priority, uint32_t owner, size_t count = 1);

  // Takes a message back that its receiver has given back for later, or condemned; false when it is
  // not so.
  bool Recall(int priority, uint32_t owner, uint64_t position);

  enum class Dropped {
    kNone,   // it has none that nobody holds
    kOne,    // and its room is free
    kLater,  // one is condemned: its room is free when the agent has buried it
  };
  // Takes the oldest message of this priority back that nobody holds, to make room. `bury`: it is
  // condemned, one at a time. `owner` as above.
  Dropped DropOldest(int priority, uint32_t owner, bool bury);
  // A message was dropped that was never published.
  void CountDropped() {
    header_->dropped.store(header_->dropped.load(std::memory_order_relaxed) + 1,
                           std::memory_order_relaxed);
  }

  // What became of the message at `position`: its state, or nothing when its slot is used again.
  absl::optional<CellState> StateOf(int priority, uint64_t position) const;

  // Says that messages of this lane may expire or be delayed: before the first such one is
  // published.
  void SetExpires() { header_->expires.store(1, std::memory_order_release); }

  // Announces that the sender will sleep for room. Try again after this, and sleep on the word
  // returned only if there was none.
  FutexWord ParkForRoom();

  // What the first message of a priority takes of a budget.
  static uint64_t FirstStepBytes(const CellGeometry& geometry);
  // Whether the last thing that had no room had none because memory could not be reserved.
  bool short_of_memory() const { return short_of_memory_; }

  // The number of the last message published at this priority.
  uint64_t sequence(int priority) const { return queues_[priority].sequence; }

  // Whether every message is done and every room free.
  bool Drained();

 private:
  struct Use {
    uint64_t position = 0;
    uint64_t slab_at = 0;
    uint64_t slab_bytes = 0;  // 0: none
  };
  struct Queue {
    uint64_t sequence = 0;
    uint32_t fresh = 0;                // slots from here on were never used
    uint32_t ready = 0;                // slots up to here are reserved
    uint32_t order_ready = 0;          // as are order entries up to here
    bool counted = false;              // all order entries and states are, against the budget
    size_t look_at = 0;                // so many outstanding before the next look at done ones
    std::deque<uint32_t> free;         // in the order in which they became so
    std::deque<uint32_t> outstanding;  // in the order of their messages
    std::vector<Use> uses;             // by slot
  };

  // The slot of the message at `position`; nothing when it is used again.
  absl::optional<uint32_t> SlotOf(int priority, uint64_t position) const;
  SharedAtomic<uint64_t>* order(int priority) const;
  Slot* slots(int priority) const;
  SharedAtomic<uint64_t>* states(int priority) const;
  // Each reserves more; false when there is none.
  bool ReserveOrder(int priority, uint32_t index);
  bool GrowSlots(int priority);
  // Takes slots back, or reserves more: whether there is one now.
  bool FindSlots(int priority);
  // A slot for the next message, or nothing; makes sure that its order entry may be overwritten.
  absl::optional<uint32_t> FreeSlot(int priority);
  // Takes back slots that are done: some of the oldest, or every one.
  void ReclaimOldest(int priority);
  void ReclaimAll(int priority);
  // Writes the small body of a slot.
  static void Write(const Payload& payload, Slot* slot);
  bool Done(int priority, uint32_t slot) const;
  static bool Waits(const CellState& state, uint64_t position);
  void Release(int priority, uint32_t slot);
  void Publish(int priority, uint32_t slot, Publication publication = Publication::kFenced,
               uint32_t due_tick = DueTick::kAtOnce);
  absl::Status RecoverQueue(int priority);

  const CellGeometry geometry_;
  const uint32_t capacity_;
  char* const data_;
  char* const state_;
  CellHeader* const header_;
  StateHeader* const state_header_;
  Reserve* const reserve_;
  bool short_of_memory_ = false;
  uint32_t in_use_ = 0;
  Queue queues_[kPriorityCount];
  Slab slab_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_CELL_WRITER_H_
