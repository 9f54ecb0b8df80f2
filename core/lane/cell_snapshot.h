#ifndef MAILRAIL_CORE_LANE_CELL_SNAPSHOT_H_
#define MAILRAIL_CORE_LANE_CELL_SNAPSHOT_H_

#include <cstddef>

#include "core/lane/cell_testing.h"
#include "core/lane/child_process.h"

namespace mailrail {

// Copies of the parts of a mailbox lane's memory that messages of one priority use.
struct CellSnapshot : Snapshot {
  CellSnapshot(const CellLane& lane, int priority) {
    const CellGeometry& geometry = lane.geometry;
    Add(lane.data.readable(), geometry.data_bytes(),
        {{0, 4096},
         {geometry.order_offset(priority), geometry.block_bytes()},
         {geometry.slab_offset(), geometry.slab_bytes}});
    Add(lane.state.readable(), geometry.state_bytes(),
        {{0, 4096}, {geometry.state_offset(priority), size_t{8} * geometry.slots}});
  }
  char* data() const { return copy(0); }
  char* state() const { return copy(1); }
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_CELL_SNAPSHOT_H_
