#ifndef MAILRAIL_NODE_AGENT_MAILBOX_SWEEPER_H_
#define MAILRAIL_NODE_AGENT_MAILBOX_SWEEPER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "core/mailbox/incoming_lane.h"
#include "node/agent/loop.h"
#include "node/agent/message_mover.h"
#include "node/agent/registry.h"
#include "proto/agent.pb.h"

namespace mailrail {

// Looks after what stands in this node's mailboxes and is for no receiver to take: leases that have
// ended go back to their places, delayed messages become due, and what has expired or was handed
// out often enough goes to the dead letters.
//
// When a lease began is known to within an eighth of the mailbox's lease_time: a lease is found by
// a look, and ends lease_time after that; never earlier. After a restart all begin anew. A time to
// which a lease was extended is known exactly, and forgotten with a restart.
//
// One thread at a time: the loop's.
class MailboxSweeper {
 public:
  struct Options {
    std::function<void(absl::string_view)> log;
  };

  // All outlive it.
  MailboxSweeper(Options options, Loop* loop, Registry* registry, MessageMover* mover)
      : options_(std::move(options)), loop_(loop), registry_(registry), mover_(mover) {}

  // Something may have changed in it: looks, and looks again when that is needed.
  void Look(uint64_t mailbox);
  // The lease that process `number` has ends so long from now. kFailedPrecondition when it has
  // ended.
  absl::Status Extend(uint32_t number, const control::ExtendLease& lease);

  // When a lease ends, whose cell has this state; nothing when that is not known.
  absl::optional<absl::Time> EndOfLease(uint64_t mailbox, uint64_t lane, int priority,
                                        uint32_t slot, const CellState& state) const;

  // A lane, or a mailbox with all of its lanes, is gone.
  void ForgetLane(uint64_t lane) { cells_.erase(lane); }
  void ForgetMailbox(const LocalMailbox& mailbox);

  // After a restart, and after the mover's: looks everywhere.
  void Resume();

 private:
  using Key = std::tuple<uint64_t, int, uint32_t>;  // lane, priority, slot
  // A lease that a look has found.
  struct Seen {
    uint64_t state = 0;  // of the cell
    absl::Time ends;
  };
  struct Watched {
    Loop::TimerId timer = 0;
    absl::Time next = absl::InfiniteFuture();
    absl::flat_hash_map<Key, Seen> leases;
  };
  // One look at one mailbox.
  struct Round;

  void LookAt(uint64_t id);
  void LookAtLane(uint64_t id, Round* round);
  static void LookForExpired(CellReader* reader, Round* round);
  void LookAtLease(const CellReader::Kept& kept, uint64_t lane, CellReader* reader, Round* round);
  void LookBy(uint64_t id, absl::Time time);
  IncomingCells* Cells(uint64_t lane);

  // Takes a condemned message to the dead letters; false when they have no room for it now.
  bool Bury(LocalMailbox* mailbox, IncomingCells* cells, const CellReader::Kept& kept);
  void Drop(LocalMailbox* mailbox, absl::string_view why);

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  MessageMover* const mover_;
  absl::flat_hash_map<uint64_t, Watched> watched_;                       // by mailbox
  absl::flat_hash_map<uint64_t, std::shared_ptr<IncomingCells>> cells_;  // by lane
  uint64_t dropped_ = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_MAILBOX_SWEEPER_H_
