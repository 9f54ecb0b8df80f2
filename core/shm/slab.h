#ifndef MAILRAIL_CORE_SHM_SLAB_H_
#define MAILRAIL_CORE_SHM_SLAB_H_

#include <cstddef>
#include <cstdint>

#include "absl/container/btree_map.h"
#include "absl/types/optional.h"

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

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_SLAB_H_
