#ifndef MAILRAIL_CORE_LANE_CELL_WRITER_H_
#define MAILRAIL_CORE_LANE_CELL_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "core/lane/cell_layout.h"
#include "core/lane/record.h"
#include "core/lane/ring_writer.h"
#include "core/shm/futex.h"
#include "core/shm/reserve.h"
#include "core/shm/slab.h"

namespace mailrail {

// How a message is to be handled, beside its priority.
struct CellOptions {
  // It is delayed until then.
  uint32_t due_tick = DueTick::kAtOnce;
  // Not 0: its end is to be told, by this number (TakeEnds).
  uint64_t receipt = 0;
};

// What became of a message whose end was to be told.
struct CellEnd {
  uint64_t receipt = 0;
  uint32_t owner = 0;  // the number of who received it, or a Condemned
  int priority = 0;
  uint64_t position = 0;  // 0: it was never published
};

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

  // From now on the room of a message whose end is to be told is not used again before ForgetEnd
  // while there is other room, so that a writer that takes up this one's work can tell it. Before
  // the first message.
  void KeepEnds() { keeps_ends_ = true; }

  // Takes up the work of a writer that died, at whatever instruction. `receipt_of`, with KeepEnds:
  // the number that a payload says (CellOptions). kDataLoss when the memory is not what a writer
  // leaves.
  absl::Status Recover(
      const std::function<uint64_t(absl::string_view payload)>& receipt_of = nullptr);

  // Publishes a payload of up to Slot::kInlineBytes; false when there is no room. `key`: of 16
  // bits, for receivers that choose by it; 0: none.
  bool Append(int priority, const Payload& payload, uint64_t stamp,
              Publication publication = Publication::kFenced, const CellOptions& options = {},
              uint32_t key = 0);

  // Room for a larger payload, or nothing when there is none for now. `cell` is not used.
  absl::optional<SlabRoom> Allocate(uint64_t bytes, bool urgent);

  // Publishes a payload of `length` bytes that was written to `room`; false when there is no free
  // slot, and then the room stays the caller's. REQUIRES: length <= room.bytes.
  bool AppendSlab(int priority, const SlabRoom& room, uint32_t length, bool has_prefix,
                  uint64_t stamp, const CellOptions& options = {}, uint32_t key = 0);

  // Whether there is a slot for a message of this priority. If so, the next one has it.
  bool HasSlot(int priority);

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
  // condemned, one at a time.
  Dropped DropOldest(int priority, bool bury);
  // A message is dropped instead of being published.
  void DropNew(int priority, const CellOptions& options) {
    CountDropped();
    SharedAtomic<uint64_t>& skipped = header_->skipped[priority];
    skipped.store(skipped.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (options.receipt != 0) {
      ends_.push_back({options.receipt, static_cast<uint32_t>(Condemned::kDropped)});
    }
  }

  // The ends that have come since the last call of messages whose end is to be told, in any order.
  void TakeEnds(std::vector<CellEnd>* ends);
  void ForgetEnd(int priority, uint64_t position);
  // All of them: nobody is to be told any more.
  void ForgetEnds();
  // The mailbox was destroyed: those of them that nobody holds are purged.
  void PurgeAsked();
  // Whether TakeEnds may have more some time.
  bool awaits_ends() const { return !asked_.empty() || !ends_.empty(); }

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
  // How many messages of this priority were published, or dropped instead.
  uint64_t accepted(int priority) const {
    return sequence(priority) + header_->skipped[priority].load(std::memory_order_relaxed);
  }

  // Whether every message is done and every room free.
  bool Drained();

 private:
  struct Use {
    uint64_t position = 0;
    uint64_t slab_at = 0;
    uint64_t slab_bytes = 0;  // 0: none
    uint64_t receipt = 0;     // as in CellOptions; its end was not taken, or is kept
  };
  // A message whose end was not taken.
  struct Asked {
    int priority;
    uint32_t slot;
    uint64_t position;
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
  void Publish(int priority, uint32_t slot, Publication publication, const CellOptions& options);
  void CountDropped() {
    header_->dropped.store(header_->dropped.load(std::memory_order_relaxed) + 1,
                           std::memory_order_relaxed);
  }
  // The end of this message is to be told.
  void Ask(int priority, uint32_t slot, uint64_t position, uint64_t receipt);
  void Forget(int priority, uint32_t slot);
  // There is no other room: gives up that of messages which are done and whose ends are kept.
  void ReleaseKept(int priority);
  // Whether the message in this slot has an end, and which.
  bool EndOf(int priority, uint32_t slot, CellEnd* end) const;
  absl::Status RecoverQueue(int priority,
                            const std::function<uint64_t(absl::string_view)>& receipt_of);
  // If the end of the last message of this slot is to be told, that is so still.
  void RecoverReceipt(int priority, uint32_t slot,
                      const std::function<uint64_t(absl::string_view)>& receipt_of);

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
  bool keeps_ends_ = false;
  std::deque<Asked> asked_;
  std::vector<CellEnd> ends_;  // of messages whose room is used again, or never was
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_CELL_WRITER_H_
