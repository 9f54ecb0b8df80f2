#ifndef MAILRAIL_NODE_AGENT_MESSAGE_MOVER_H_
#define MAILRAIL_NODE_AGENT_MESSAGE_MOVER_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/mailbox/incoming_lane.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/message/prefix.h"
#include "node/agent/registry.h"

namespace mailrail {

// What is kept in shared memory about the last message that was moved to a mailbox, from before it
// is published there, for an agent that takes over: in the page of that mailbox's control page.
// Written field by field in program order, of which a death loses nothing that was executed.
struct MoveNote {
  static constexpr size_t kOffset = 4096 - 256;
  static volatile MoveNote* Of(const LocalMailbox& mailbox) {
    return reinterpret_cast<volatile MoveNote*>(
        reinterpret_cast<char*>(mailbox.destination.page()) + kOffset);
  }

  uint64_t lane;
  uint64_t sequence;
  uint64_t priority;
  uint64_t position;  // in the agent's lane; 0: nothing is being moved
  uint64_t tallied;   // the mailbox whose MoveTally counts it; 0: none
  uint64_t moved;     // what that says when it was moved
};
static_assert(MoveNote::kOffset >= ReceiverTable::kOffset + sizeof(ReceiverTable));

// Likewise, of a mailbox from which messages are moved: how many were, for the request with this
// token.
struct MoveTally {
  static constexpr size_t kOffset = 4096 - 128;
  static volatile MoveTally* Of(const LocalMailbox& mailbox) {
    return reinterpret_cast<volatile MoveTally*>(
        reinterpret_cast<char*>(mailbox.destination.page()) + kOffset);
  }

  uint64_t token;
  uint64_t moved;
};
static_assert(MoveTally::kOffset >= MoveNote::kOffset + sizeof(MoveNote));

// Moves messages from one mailbox of this node to another, so that each is in one of them, and in
// one alone, at whatever instruction the agent dies. One thread at a time: the loop's.
class MessageMover {
 public:
  // The agent's own lane to a mailbox.
  using AgentLane =
      std::function<absl::StatusOr<std::shared_ptr<OutgoingLane>>(LocalMailbox* mailbox)>;

  // `registry` outlives it.
  MessageMover(AgentLane agent_lane, Registry* registry)
      : agent_lane_(std::move(agent_lane)), registry_(registry) {}

  // OK when there is a lane to this mailbox, or can be.
  absl::Status Reach(LocalMailbox* to) const { return agent_lane_(to).status(); }

  // Sends a message that is the agent's to take out (`kept` is CONDEMNED or DELAYED) to `to`, with
  // this prefix and body, and frees it where it was. Else it is there still, and the status says
  // why: that of Reach; kDeadlineExceeded and kResourceExhausted when there is no room now; others:
  // it can never go there.
  // `tallied`: the mailbox whose MoveTally counts it, or null.
  absl::Status Move(IncomingCells* cells, const CellReader::Kept& kept, const Prefix& prefix,
                    absl::string_view body, LocalMailbox* to,
                    const LocalMailbox* tallied = nullptr);

  // After a restart, before anything is sent on the agent's lanes: settles what a death has cut in
  // two.
  void Resume();

 private:
  void Resume(LocalMailbox* to);

  const AgentLane agent_lane_;
  Registry* const registry_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_MESSAGE_MOVER_H_
