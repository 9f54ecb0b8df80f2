// What the parts of the broker tell processes.
#ifndef MAILRAIL_NODE_AGENT_NOTICES_H_
#define MAILRAIL_NODE_AGENT_NOTICES_H_

#include <cstdint>
#include <functional>

#include "core/lane/cell_layout.h"
#include "core/lane/ring_layout.h"
#include "mailrail/message.h"
#include "node/agent/destination.h"
#include "node/agent/fd_source.h"
#include "proto/agent.pb.h"

namespace mailrail {

// Sends a notice to an attached process; nothing happens when it has no connection now.
using Notify = std::function<void(uint32_t number, control::Notice notice, FdSource fds)>;

// Tells a process that a lane of `destination`, which it receives from, gets no more messages, and
// why its sender is not there any more. The version changes with the caller's next BumpVersion.
void NotifyEnded(const Notify& notify, uint32_t number, const Destination& destination,
                 uint64_t destination_id, uint64_t lane_id, EndReason reason = EndReason::kNone);

void Encode(const RingGeometry& geometry, control::RingGeometry* value);
void Encode(const CellGeometry& geometry, control::CellGeometry* value);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_NOTICES_H_
