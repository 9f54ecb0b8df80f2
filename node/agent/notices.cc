#include "node/agent/notices.h"

#include <utility>

namespace mailrail {

void NotifyEnded(const Notify& notify, uint32_t number, const Destination& destination,
                 uint64_t destination_id, uint64_t lane_id, EndReason reason) {
  control::Notice notice;
  notice.mutable_lane_ended()->set_lane_id(lane_id);
  notice.mutable_lane_ended()->set_end_reason(static_cast<uint32_t>(reason));
  notice.set_destination_id(destination_id);
  notice.set_members_version(destination.next_version());
  notify(number, std::move(notice), nullptr);
}

void Encode(const RingGeometry& geometry, control::RingGeometry* value) {
  value->set_ring_bytes(geometry.ring_bytes);
  value->set_slab_bytes(geometry.slab_bytes);
  value->set_cells(geometry.cells);
}

void Encode(const CellGeometry& geometry, control::CellGeometry* value) {
  value->set_slots(geometry.slots);
  value->set_slab_bytes(geometry.slab_bytes);
}

}  // namespace mailrail
