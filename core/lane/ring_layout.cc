#include "core/lane/ring_layout.h"

#include <algorithm>

namespace mailrail {
namespace {

constexpr size_t kConsumedOffset = 4096;

}  // namespace

RingGeometry RingGeometry::For(size_t max_message_bytes) {
  RingGeometry geometry;
  geometry.ring_bytes = uint64_t{1} << 20;
  // Twice the largest body for bulk, so that one is written while another is read, and an eighth
  // more, which is kept for urgent messages.
  const uint64_t bulk = std::max<uint64_t>(2 * uint64_t{max_message_bytes}, uint64_t{4} << 20);
  geometry.slab_bytes = (bulk + bulk / 7 + 4095) / 4096 * 4096;
  geometry.cells = 1024;
  return geometry;
}

bool RingGeometry::Valid() const {
  return ring_bytes >= 16384 && ring_bytes <= (uint64_t{1} << 30) &&
         (ring_bytes & (ring_bytes - 1)) == 0 && slab_bytes <= (uint64_t{1} << 36) &&
         slab_bytes % 4096 == 0 && cells >= 1 && cells <= (1u << 20);
}

uint64_t CountPublished(const char* memory) {
  uint64_t sum = 0;
  for (const SharedAtomic<uint64_t>& tail : reinterpret_cast<const RingHeader*>(memory)->tail) {
    sum += RingMark::Unpack(tail.load(std::memory_order_relaxed)).sequence;
  }
  return sum;
}

uint64_t CountUnconsumed(const char* sender, const char* receiver) {
  const SharedAtomic<uint64_t>* const tails = reinterpret_cast<const RingHeader*>(sender)->tail;
  const auto* const consumed = reinterpret_cast<const ConsumedMark*>(receiver + kConsumedOffset);
  uint64_t sum = 0;
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    const uint32_t published =
        RingMark::Unpack(tails[priority].load(std::memory_order_relaxed)).sequence;
    const uint32_t done =
        RingMark::Unpack(consumed[priority].mark.load(std::memory_order_relaxed)).sequence;
    // The tail may lag behind what was published, and so behind what was consumed.
    sum += static_cast<uint64_t>(std::max<int32_t>(static_cast<int32_t>(published - done), 0));
  }
  return sum;
}

}  // namespace mailrail
