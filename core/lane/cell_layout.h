// The memory of a mailbox lane: one sender, several competing receivers, room that comes back in
// any order. So a stopped receiver, a long lease or a delayed message holds up one message, not
// the lane.
//
// Data, written by the sender alone, mapped read-only by the receivers:
//
//   offset  size          what
//        0  4096          CellHeader
//     4096  32 x block    per priority: order[K], u64 each, then slot[N], 128 bytes each; K = 2 N
//      ...  slab_bytes    room for bodies that are larger than a slot
//
// State, written by the sender and the receivers of the mailbox, nobody else:
//
//        0  4096          StateHeader
//     4096  32 x 8 N      per priority: state[N], u64 each
//
// order[] is the queue: the entry at position h (from 1, at index h mod K) names a slot and repeats
// h. Publishing is one store of the entry. A position is the message's sequence number.
//
// state[x] is {seq 32, owner 24, attempts 5, phase 3}: who holds slot x, and for which position.
// Nobody ever writes "free": position h is unclaimed while state[x].seq is before h. A receiver
// reads the state first, then checks that slot x is still the message at h, then claims by one
// compare-and-swap from the value that it read: if the slot was used again in between, the state
// has changed. Owners are numbers given by the agent, so the claims of the dead are known.
//
//   unclaimed -> LEASED (claimed) -> TAKEN (received; a view holds the room) -> DONE (room free)
//                LEASED -> RETURNED (given back, attempts + 1) -> LEASED (claimed again)
//                LEASED -> DELAYED (given back for later; the owner field says when) -> RETURNED
//                LEASED -> CONDEMNED (handed out often enough, or expired) -> DONE
//   unclaimed -> DONE (a small body, which its receiver has copied before)
//   unclaimed or RETURNED -> DONE or CONDEMNED (dropped by its sender, to make room)
//   unclaimed, RETURNED or DELAYED -> DONE (purged by the agent)
//   unclaimed, RETURNED -> DELAYED, CONDEMNED (by the agent)
// What is to be received later is DELAYED from the start: its sender says so before it publishes.
//
// What is DELAYED or CONDEMNED is the agent's: it makes the first RETURNED when it is due, and
// takes the second to the dead letters. The owner of what is DONE is who received it, or why nobody
// did (Condemned): so its sender can tell.
//
// What a receiver passes over, of what nobody holds, is in cell_choice.h.
//
// The sender uses a slot again only when it is DONE. Who returns a message adds to `returns` before
// and after, so that a receiver that scans for returned messages cannot miss one.
#ifndef MAILRAIL_CORE_LANE_CELL_LAYOUT_H_
#define MAILRAIL_CORE_LANE_CELL_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "core/shm/step.h"
#include "mailrail/limits.h"

namespace mailrail {

inline constexpr uint64_t kCellMagic = 0x316c6c65634c524d;   // "MRLcell1"
inline constexpr uint64_t kStateMagic = 0x3174617473524d4c;  // "LMRstat1"

struct CellGeometry {
  uint32_t slots = 0;  // N, a power of two
  uint64_t slab_bytes = 0;

  // What an agent grants for a mailbox.
  static CellGeometry For(uint32_t capacity_messages, size_t max_message_bytes);
  bool Valid() const;

  uint32_t order_entries() const { return 2 * slots; }
  size_t block_bytes() const { return (size_t{16} + 128) * slots; }
  size_t order_offset(int priority) const {
    return 4096 + static_cast<size_t>(priority) * block_bytes();
  }
  size_t slot_offset(int priority) const { return order_offset(priority) + size_t{16} * slots; }
  size_t slab_offset() const { return order_offset(kPriorityCount); }
  size_t data_bytes() const { return slab_offset() + slab_bytes; }
  size_t state_offset(int priority) const {
    return 4096 + static_cast<size_t>(priority) * 8 * slots;
  }
  size_t state_bytes() const { return state_offset(kPriorityCount); }
};

// Shared between processes.
struct CellHeader {
  uint64_t magic;
  // Bit p is set before the first message of priority p is published.
  alignas(128) SharedAtomic<uint32_t> rings_in_use;
  // Not 0 since before the first message was published that may expire, or is for later.
  SharedAtomic<uint32_t> expires;
  // How many messages its sender has dropped to make room, or instead of others.
  SharedAtomic<uint64_t> dropped;
  // How many of each priority it has dropped instead of others, and so has accepted without a
  // position.
  alignas(128) SharedAtomic<uint64_t> skipped[kPriorityCount];
  // How often the sender went to sleep for want of room.
  alignas(128) SharedAtomic<uint64_t> room_parks;
};
static_assert(sizeof(CellHeader) == 640);

// Shared between processes.
struct StateHeader {
  uint64_t magic;
  // Changes before and after each return of a message.
  alignas(128) SharedAtomic<uint64_t> returns;
  // Changes when room came back to a sleeping sender, who waits on it.
  alignas(128) SharedAtomic<uint32_t> room_gate;
  // room_parks when the sender was last woken.
  alignas(128) SharedAtomic<uint64_t> last_room_rung;
};
static_assert(sizeof(StateHeader) == 512);

// One message, written by the sender before it is published. Shared between processes. Its numbers
// are atomic, because a receiver may look at a slot that is used again meanwhile (its claim then
// fails), and so that each is read once, whoever writes it.
struct Slot {
  static constexpr uint32_t kInlineBytes = 96;
  static constexpr uint32_t kHasPrefix = 1;
  static constexpr uint32_t kInSlab = 2;
  // It was delayed from the start: that later ones went before says nothing of who had it.
  static constexpr uint32_t kSentForLater = 4;
  // Its sender is to be told of its end: it uses the slot again only when it has been.
  static constexpr uint32_t kReceipt = 8;
  // The upper half of the flags is a hash of what the message is about, for receivers that choose
  // by it (cell_choice.h); 0: nothing.
  static constexpr int kKeyShift = 16;

  SharedAtomic<uint64_t> sequence;  // the position that it stands for
  SharedAtomic<uint64_t> stamp;
  SharedAtomic<uint32_t> length;
  SharedAtomic<uint32_t> flags;
  SharedAtomic<uint64_t> slab_at;
  SharedAtomic<uint64_t> inline_words[kInlineBytes / 8];  // the bytes, as they stand in memory
};
static_assert(sizeof(Slot) == 128);

// An entry of order[].
struct OrderEntry {
  uint64_t position = 0;  // 48 bits
  uint32_t slot = 0;      // 16 bits

  static OrderEntry Unpack(uint64_t word) {
    return {word >> 16, static_cast<uint32_t>(word & 0xffff)};
  }
  uint64_t Pack() const { return position << 16 | slot; }
};

enum class Phase : uint32_t {
  kDone = 0,
  kLeased = 1,
  kTaken = 2,
  kReturned = 3,
  kDelayed = 4,
  kCondemned = 5,
};

inline constexpr uint32_t kMaxAttempts = 31;
inline constexpr uint32_t kMaxOwner = 0xffffff;
// Numbers of owners are at most this.
inline constexpr uint32_t kMaxNumber = kMaxOwner - 0xff;

// Why nobody receives a message, in its owner field.
enum class Condemned : uint32_t {
  kAttempts = kMaxNumber + 1,
  kExpired,
  kDropped,
  kPurged,
};

// When a delayed message is due, in the 24 bits of its owner field: in ticks of 64 ms, modulo 2^24.
// So nothing is delayed for longer than half of that, 6.2 days.
struct DueTick {
  static constexpr int64_t kNanoseconds = 64000000;
  static constexpr uint32_t kLongest = kMaxOwner / 2;
  // No tick: it is not delayed.
  static constexpr uint32_t kAtOnce = ~uint32_t{0};

  // The first tick that is not before this time.
  static uint32_t At(int64_t time_ns) {
    return static_cast<uint32_t>((time_ns + kNanoseconds - 1) / kNanoseconds) & kMaxOwner;
  }
  // The tick of what is due so long after `now_ns`; of 0, one that is past.
  static uint32_t After(int64_t now_ns, int64_t delay_ns) {
    return delay_ns == 0 ? (At(now_ns) - 1) & kMaxOwner : At(now_ns + delay_ns);
  }
  // How many nanoseconds are left until `tick`; 0 or less when it is due.
  static int64_t Left(uint32_t tick, int64_t now_ns) {
    const auto now = static_cast<uint32_t>(now_ns / kNanoseconds) & kMaxOwner;
    const uint32_t ahead = (tick - now) & kMaxOwner;
    if (ahead > kLongest + 1) return 0;
    return static_cast<int64_t>(ahead) * kNanoseconds - now_ns % kNanoseconds;
  }
};

// A value of state[].
struct CellState {
  uint32_t sequence = 0;
  uint32_t owner = 0;  // when DELAYED: a DueTick; when CONDEMNED, or DONE for nobody: a Condemned
  uint32_t attempts = 0;
  Phase phase = Phase::kDone;

  static CellState Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word >> 8) & kMaxOwner,
            static_cast<uint32_t>(word >> 3) & kMaxAttempts, static_cast<Phase>(word & 7)};
  }
  uint64_t Pack() const {
    return uint64_t{sequence} << 32 | uint64_t{owner & kMaxOwner} << 8 |
           uint64_t{attempts & kMaxAttempts} << 3 | static_cast<uint64_t>(phase);
  }
  // Whether the message at `position` was claimed, now or before.
  bool ClaimedSince(uint64_t position) const {
    return static_cast<int32_t>(sequence - static_cast<uint32_t>(position)) >= 0;
  }
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_CELL_LAYOUT_H_
