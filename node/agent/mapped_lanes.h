// Lanes as the agent itself maps them: to count, to clean up, to send on.
#ifndef MAILRAIL_NODE_AGENT_MAPPED_LANES_H_
#define MAILRAIL_NODE_AGENT_MAPPED_LANES_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/mailbox/receive_queue.h"
#include "node/agent/registry.h"

namespace mailrail {

// Each returns new mappings, which need nothing of what they were made from. kDataLoss when a
// memory is not what it should be, else the kernel's error: a process may have sealed its own
// memory so that it cannot be mapped. What the agent writes there it reserves by `budget`, unless
// that is null.

// A lane to a mailbox, as a receiver sees it.
absl::StatusOr<std::shared_ptr<IncomingCells>> MapCells(const MailboxLane& lane);

// The sending end of a cell lane of the agent's own, taken up where the agent before this one left
// it. `name` is for error messages.
absl::StatusOr<std::shared_ptr<OutgoingLane>> MapCellSender(
    std::string name, const MailboxOptions& options, const CellGeometry& geometry, const Fd& data,
    const Fd& state, const Destination& destination, const std::shared_ptr<Budget>& budget);

// The memory of a link, as its end a or b has it.
absl::StatusOr<std::shared_ptr<LinkMemory>> MapLinkEnd(const Link& link, bool end_a,
                                                       const std::shared_ptr<Budget>& budget);

// The sending end of a link whose end a or b the agent is, likewise. The destination is `control`,
// which is rung by the bell of `bell`.
absl::StatusOr<std::shared_ptr<OutgoingLane>> MapLinkSender(std::string name, const Link& link,
                                                            bool end_a, const Destination& control,
                                                            const Destination& bell,
                                                            const std::shared_ptr<Budget>& budget);

// How many messages a link's end (a or b) has published that were not consumed at the other.
uint64_t CountUnconsumed(const Link& link, bool of_end_a);
// How many it has published.
uint64_t CountPublished(const Link& link, bool of_end_a);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_MAPPED_LANES_H_
