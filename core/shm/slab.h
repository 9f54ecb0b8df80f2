#ifndef MAILRAIL_CORE_SHM_SLAB_H_
#define MAILRAIL_CORE_SHM_SLAB_H_

#include <cstddef>
#include <cstdint>

#include "absl/container/btree_map.h"
#include "absl/types/optional.h"
#include "core/shm/reserve.h"

namespace mailrail {

// Hands out room for large bodies in a sender's memory. Its books are private to the sender, so
// nobody else can spoil them; after a restart they are made again from the lane (Reserve).
//
// First fit by address; blocks are whole cache lines. The last eighth is kept for urgent messages.
// Thread-compatible.
class SlabAllocator {
 public:
  explicit SlabAllocator(uint64_t bytes);

  // The offset of `bytes` of room, or nothing when there is none.
  absl::optional<uint64_t> Allocate(uint64_t bytes, bool urgent);

  // Takes exactly this room; false when a part of it is taken already or outside.
  bool Reserve(uint64_t offset, uint64_t bytes);

  // REQUIRES: the room was allocated or reserved with these numbers.
  void Free(uint64_t offset, uint64_t bytes);

  uint64_t free_bytes() const { return free_bytes_; }

  // The room that a body of this size takes.
  static uint64_t RoomFor(uint64_t bytes) { return bytes == 0 ? 64 : (bytes + 63) / 64 * 64; }

 private:
  // Takes [offset, offset + bytes) out of the free block `block`.
  void Take(absl::btree_map<uint64_t, uint64_t>::iterator block, uint64_t offset, uint64_t bytes);

  const uint64_t bulk_end_;
  uint64_t free_bytes_;
  absl::btree_map<uint64_t, uint64_t> free_;  // offset -> bytes, never adjacent
};

// A sender's slab: its memory and its books. It is used from its start, and what is used is
// reserved before, in steps; of what was never used the kernel has no page.
//
// Thread-compatible. `data` and `reserve` outlive it; without a reserve all memory is there.
class Slab {
 public:
  Slab(char* data, uint64_t bytes, Reserve* reserve);

  // The offset of `bytes` of room; nothing when there is none, or none can be reserved. Call it
  // again with `again` after what was let go of is freed: before, a slab that is large does not
  // grow.
  absl::optional<uint64_t> Allocate(uint64_t bytes, bool urgent, bool again);

  // After a restart: takes exactly this room, which is written already; false when a part of it is
  // taken or outside.
  bool Recover(uint64_t offset, uint64_t bytes);

  // REQUIRES: the room was allocated or recovered with these numbers.
  void Free(uint64_t offset, uint64_t bytes) { books_.Free(offset, bytes); }

  char* at(uint64_t offset) const { return data_ + offset; }
  // Whether the last Allocate had none because memory could not be reserved.
  bool short_of_memory() const { return short_of_memory_; }

 private:
  // Reserves up to `end` or beyond.
  bool Grow(uint64_t end);

  char* const data_;
  const uint64_t bytes_;
  Reserve* const reserve_;
  SlabAllocator books_;
  uint64_t reserved_;  // so much from the start
  bool short_of_memory_ = false;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_SLAB_H_
