#include "core/shm/slab.h"

#include <iterator>

namespace mailrail {

SlabAllocator::SlabAllocator(uint64_t bytes)
    : bulk_end_(bytes - bytes / 8 / 64 * 64), free_bytes_(bytes) {
  if (bytes > 0) free_[0] = bytes;
}

absl::optional<uint64_t> SlabAllocator::Allocate(uint64_t bytes, bool urgent) {
  const uint64_t room = RoomFor(bytes);
  for (auto block = free_.begin(); block != free_.end(); ++block) {
    const uint64_t offset = block->first;
    if (!urgent && offset + room > bulk_end_) break;
    if (block->second < room) continue;
    Take(block, offset, room);
    return offset;
  }
  return absl::nullopt;
}

bool SlabAllocator::Reserve(uint64_t offset, uint64_t bytes) {
  auto block = free_.upper_bound(offset);
  if (offset % 64 != 0 || block == free_.begin()) return false;
  --block;
  const uint64_t end = block->first + block->second;
  // In this order nothing overflows, whatever the numbers are.
  if (offset > end || bytes > end - offset) return false;
  const uint64_t room = RoomFor(bytes);
  if (room > end - offset) return false;
  Take(block, offset, room);
  return true;
}

void SlabAllocator::Take(absl::btree_map<uint64_t, uint64_t>::iterator block, uint64_t offset,
                         uint64_t bytes) {
  const uint64_t begin = block->first;
  const uint64_t end = begin + block->second;
  free_.erase(block);
  if (offset > begin) free_[begin] = offset - begin;
  if (offset + bytes < end) free_[offset + bytes] = end - offset - bytes;
  free_bytes_ -= bytes;
}

void SlabAllocator::Free(uint64_t offset, uint64_t bytes) {
  uint64_t room = RoomFor(bytes);
  free_bytes_ += room;
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && next->first == offset + room) {
    room += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      previous->second += room;
      return;
    }
  }
  free_[offset] = room;
}

}  // namespace mailrail
