// From what the agent grants (protobuf and descriptors) to mapped memory. Descriptors are closed
// once they are mapped.
#ifndef MAILRAIL_CORE_PROCESS_GRANTS_H_
#define MAILRAIL_CORE_PROCESS_GRANTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/mailbox/receive_queue.h"
#include "mailrail/mailbox.h"
#include "mailrail/process_id.h"
#include "proto/agent.pb.h"

namespace mailrail::internal {

ProcessId FromProto(const proto::ProcessRef& ref);
void ToProto(const ProcessId& id, proto::ProcessRef* ref);
MailboxOptions FromProto(const proto::MailboxSpec& spec);
void ToProto(const MailboxOptions& options, proto::MailboxSpec* spec);
// kEnded for a number that is not known.
EndReason EndReasonOf(uint32_t number);
// The mailbox of this node to which the answers of a process's calls go. Nobody else makes one
// whose name begins so.
inline constexpr absl::string_view kReplyMailboxPrefix = "_replies.";
std::string ReplyMailboxOf(const ProcessId& process);
// kDataLoss when the numbers are out of bounds.
absl::StatusOr<RingGeometry> FromProto(const control::RingGeometry& geometry);
absl::StatusOr<CellGeometry> FromProto(const control::CellGeometry& geometry);

// Control RO, bell RO, gate RW: how a sender maps a destination. REQUIRES: 3 descriptors.
absl::StatusOr<DestinationMemory> MapDestination(absl::Span<const Fd> fds);

struct MappedLink {
  std::shared_ptr<LinkMemory> memory;
  std::shared_ptr<OutgoingLane> lane;
};
// Maps a link, and seals the process's own memory against every other writer. What it writes it
// reserves by `budget`, unless that is null.
absl::StatusOr<MappedLink> MapLink(const control::LinkGrant& grant, absl::Span<const Fd> fds,
                                   const std::shared_ptr<Budget>& budget = nullptr);

// Maps the sending end of a mailbox lane, likewise. `number` is the process's. kResourceExhausted
// when the budget has no room for its first step.
absl::StatusOr<std::shared_ptr<OutgoingLane>> MapLane(
    const control::LaneGrant& grant, uint32_t number, absl::Span<const Fd> fds,
    const std::shared_ptr<Budget>& budget = nullptr);

// What a sender of a broadcast mailbox has instead of a lane. REQUIRES: as MapDestination.
absl::StatusOr<std::shared_ptr<OutgoingLane>> MapGroup(const control::BroadcastGrant& grant,
                                                       absl::Span<const Fd> fds,
                                                       OutgoingLane::FetchLanes fetch);

// Maps the receiving end of a mailbox lane.
absl::StatusOr<std::shared_ptr<const CellMemory>> MapIncoming(const control::LaneJoined& joined,
                                                              absl::Span<const Fd> fds);

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_GRANTS_H_
