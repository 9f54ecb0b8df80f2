#include "core/lane/cell_layout.h"

#include <algorithm>

namespace mailrail {

CellGeometry CellGeometry::For(uint32_t capacity_messages, size_t max_message_bytes) {
  CellGeometry geometry;
  geometry.slots = 16;
  while (geometry.slots < capacity_messages) geometry.slots *= 2;
  const uint64_t bulk = std::max<uint64_t>(2 * uint64_t{max_message_bytes}, uint64_t{4} << 20);
  geometry.slab_bytes = (bulk + bulk / 7 + 4095) / 4096 * 4096;
  return geometry;
}

bool CellGeometry::Valid() const {
  return slots >= 16 && slots <= 65536 && (slots & (slots - 1)) == 0 &&
         slab_bytes <= (uint64_t{1} << 36) && slab_bytes % 4096 == 0;
}

}  // namespace mailrail
