#include "core/lane/ring_layout.h"

#include <algorithm>

namespace mailrail {

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

}  // namespace mailrail
