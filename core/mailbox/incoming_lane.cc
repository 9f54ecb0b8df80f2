#include "core/mailbox/incoming_lane.h"

#include <utility>

namespace mailrail {

IncomingRing::IncomingRing(uint64_t id, const ProcessId& sender, bool same_user,
                           std::shared_ptr<LinkMemory> link, bool by_agent, bool mute)
    : IncomingLane(id, sender, same_user, by_agent),
      link_(std::move(link)),
      mute_(mute),
      reader_(link_->geometry, link_->own.data(), link_->peer.data(), link_->reserve.get()) {}

IncomingCells::IncomingCells(uint64_t id, const ProcessId& sender, bool same_user,
                             std::shared_ptr<const CellMemory> memory, bool by_agent)
    : IncomingLane(id, sender, same_user, by_agent),
      memory_(std::move(memory)),
      reader_(memory_->geometry, memory_->data.data(), memory_->state.data()) {}

}  // namespace mailrail
