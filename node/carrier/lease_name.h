// How the carriers of two nodes speak of one message and its sender.
#ifndef MAILRAIL_NODE_CARRIER_LEASE_NAME_H_
#define MAILRAIL_NODE_CARRIER_LEASE_NAME_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/mailbox/mailbox_queue.h"
#include "mailrail/process_id.h"
#include "proto/peer.pb.h"

namespace mailrail {

// The name of a lease that is out by this number.
proto::LeaseName NameOf(const Lease& lease, uint64_t delivery);

// Whether two leases are of one message.
bool SameMessage(const proto::LeaseName& a, const proto::LeaseName& b);

// kInvalidArgument when it is none with a node and an incarnation.
absl::StatusOr<ProcessId> ToProcessId(const proto::ProcessRef& process);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_LEASE_NAME_H_
