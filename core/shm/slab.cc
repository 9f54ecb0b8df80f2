#include "core/shm/slab.h"

#include <algorithm>
#include <iterator>

namespace mailrail {
namespace {

// A slab grows by what it has, but by no more than this.
constexpr uint64_t kLargestStep = uint64_t{1} << 20;
// One that is smaller grows; of a larger one what was let go of is taken back before.
constexpr uint64_t kGrowsFirst = uint64_t{512} << 10;

uint64_t WholePages(uint64_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

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

Slab::Slab(char* data, uint64_t bytes, Reserve* reserve)
    : data_(data),
      bytes_(bytes),
      reserve_(reserve),
      books_(bytes),
      reserved_(reserve == nullptr ? bytes : 0) {}

absl::optional<uint64_t> Slab::Allocate(uint64_t bytes, bool urgent, bool again) {
  short_of_memory_ = false;
  const absl::optional<uint64_t> offset = books_.Allocate(bytes, urgent);
  if (!offset.has_value()) return absl::nullopt;
  const uint64_t end = *offset + SlabAllocator::RoomFor(bytes);
  if (end <= reserved_) return offset;
  const bool grows = again || reserved_ < kGrowsFirst;
  if (grows && Grow(end)) return offset;
  short_of_memory_ = grows;
  books_.Free(*offset, bytes);
  return absl::nullopt;
}

bool Slab::Grow(uint64_t end) {
  const uint64_t least = WholePages(end);
  const uint64_t more = reserved_ + std::min(reserved_, kLargestStep);
  for (const uint64_t next : {std::min(std::max(least, more), bytes_), least}) {
    if (!reserve_->Take(data_ + reserved_, next - reserved_)) continue;
    reserved_ = next;
    return true;
  }
  return false;
}

bool Slab::Recover(uint64_t offset, uint64_t bytes) {
  if (!books_.Reserve(offset, bytes)) return false;
  const uint64_t end = offset + SlabAllocator::RoomFor(bytes);
  if (end <= reserved_) return true;
  reserve_->Force(data_ + reserved_, WholePages(end) - reserved_);
  reserved_ = WholePages(end);
  return true;
}

}  // namespace mailrail
