#ifndef MAILRAIL_NODE_AGENT_BROKER_H_
#define MAILRAIL_NODE_AGENT_BROKER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/mailbox/receive_queue.h"
#include "node/agent/loop.h"
#include "node/agent/registry.h"
#include "node/carrier/carrier.h"
#include "proto/agent.pb.h"

namespace mailrail {

// Introduces processes, mailboxes and nodes to each other, and then steps aside: it makes links and
// lanes, tells the members, hands what concerns other nodes to the carrier, and cleans up after the
// dead. The registry knows; the broker acts.
//
// One thread at a time: the loop's.
class Broker {
 public:
  struct Options {
    // Sends a notice to an attached process; nothing happens when it has no connection now.
    std::function<void(uint32_t number, control::Notice notice, std::vector<Fd> fds)> notify;
    std::function<void(absl::string_view)> log;
  };

  // All outlive it. `carrier_bell` is the bell of all lanes that the carrier reads.
  Broker(Options options, Loop* loop, Registry* registry, const Destination* carrier_bell);
  ~Broker();

  void set_carrier(Carrier* carrier) { carrier_ = carrier; }

  // --- Direct channels. The link of a pair, made on first use.
  absl::StatusOr<Link*> LinkLocal(LocalProcess* a, LocalProcess* b);
  // To a process of another node; the lane is handed to the carrier, which opens it there.
  absl::StatusOr<Link*> LinkRemote(LocalProcess* a, const ProcessId& remote,
                                   const MailboxOptions& options);

  // --- Mailboxes of this node.
  absl::StatusOr<MailboxLane*> JoinMailbox(LocalMailbox* mailbox, const Endpoint& sender,
                                           const ProcessId& sender_id, uint32_t uid,
                                           uint64_t origin_lane);
  // The descriptors for the sending end.
  absl::StatusOr<std::vector<Fd>> GrantLane(const LocalMailbox& mailbox, const MailboxLane& lane,
                                            control::LaneGrant* grant);
  // Makes a process a receiver: tells it of all lanes.
  absl::Status OpenReceiver(LocalProcess* process, LocalMailbox* mailbox);
  void CloseReceiver(LocalProcess* process, uint64_t destination_id);
  // A receiver of another node. Idempotent for one key of one node.
  absl::Status OpenRemoteReceiver(LocalMailbox* mailbox, const std::string& node, uint64_t key,
                                  const ProcessId& receiver);
  // Hands it lanes that it has not got; tries again until it has them.
  void CatchUpRemoteReceiver(const std::string& node, uint64_t key);
  void CloseRemoteReceiver(const std::string& node, uint64_t key);
  // Returns how many messages were in it.
  uint64_t DestroyMailbox(LocalMailbox* mailbox);

  // --- Mailboxes of other nodes.
  // The one-way lane of a process (or of the agent) to a mailbox of another node.
  absl::StatusOr<Link*> LinkMailbox(const Endpoint& a, const std::string& node,
                                    const std::string& mailbox, const MailboxOptions& options);
  // The descriptors for end a of a link with a remote end b.
  absl::StatusOr<std::vector<Fd>> GrantFar(const Link& link, control::LinkGrant* grant);
  absl::StatusOr<Proxy*> AddProxy(LocalProcess* process, const std::string& node,
                                  const std::string& mailbox, const MailboxOptions& options);
  void StartProxy(const Proxy& proxy);

  // --- Lanes of other nodes to destinations of this one (RemoteService).
  absl::StatusOr<InboundLane> AcceptLane(const std::string& node, const proto::LaneOpen& open);
  // The other end of a link, or the sender of a lane, is gone for good.
  void EndInbound(const std::string& node, uint64_t lane);
  // Our lane to another node cannot go on: `reason` is what its senders are told.
  void EndOutbound(uint64_t link_id, CloseReason reason);
  // Everything of a node that started anew.
  void ForgetNode(const std::string& node);

  // The mailbox that a proxy of this node stands for was destroyed at its home.
  void CloseProxy(const std::string& node, uint64_t key);
  // Which life of a node was met last.
  void SavePeer(const std::string& node, uint64_t incarnation) {
    registry_->SavePeer(node, incarnation);
  }

  // A process is gone: nothing it writes counts from now on.
  void ProcessGone(uint32_t number);

  // The agent's own lane to a destination, for one-shot senders.
  absl::StatusOr<Link*> LinkAgent(const ProcessId& remote);
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AgentLane(LocalProcess* process);
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AgentLane(LocalMailbox* mailbox);
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AgentLane(const Link& link);

  // After a restart: makes whole what a death cut in two, hands everything to the carrier again,
  // and tells every process again what it may have missed.
  void Resume();

  Fd DuplicateCarrierGate() const { return carrier_bell_->DuplicateGate(); }

  // Whether all that end a has sent to a remote end b is acknowledged.
  bool Carried(const Link& link) const { return Unreceived(link.memory_a, link.memory_b) == 0; }

  // Counts what is in a mailbox, for display. Purge drops it.
  CellReader::Counts Count(const LocalMailbox& mailbox);
  uint64_t Purge(LocalMailbox* mailbox);
  void Describe(const Link& link, control::LinkRow* row) const;

 private:
  absl::StatusOr<Link*> LinkFar(const Endpoint& a, const Endpoint& b,
                                const MailboxOptions& options);
  // How many messages of a ring lane were published and not consumed.
  uint64_t Unreceived(const Fd& sender_memory, const Fd& receiver_memory) const;
  void NotifyLink(const Link& link, bool end_a);
  void NotifyLane(const LocalMailbox& mailbox, const MailboxLane& lane, uint32_t number,
                  uint32_t version);
  void NotifyEnded(uint32_t number, Destination* destination, uint64_t destination_id,
                   uint64_t lane_id, bool bump);
  // The agent's mappings of a link's memory: as its end b, or as its end a.
  absl::StatusOr<std::shared_ptr<LinkMemory>> MapEnd(const Link& link, bool end_a) const;
  absl::StatusOr<std::unique_ptr<CellReader>> MapReader(const MailboxLane& lane,
                                                        std::vector<Mapping>* mappings) const;
  absl::StatusOr<std::shared_ptr<OutgoingLane>> MapCellSender(const LocalMailbox& mailbox,
                                                              const MailboxLane& lane) const;
  void StartOutbound(const Link& link, bool recover);
  absl::StatusOr<std::shared_ptr<IncomingLane>> MapForQueue(const MailboxLane& lane) const;
  absl::Status StartRemoteReceiver(const LocalMailbox& mailbox, const std::string& node,
                                   uint64_t key, const RemoteReceiverEntry& entry);
  // Returns how many messages the process that is gone had not received.
  uint64_t EndLink(uint64_t id, uint32_t gone_number);
  void ReleaseClaims(const LocalMailbox& mailbox, uint32_t number);
  void ScheduleSweep(absl::Duration delay);
  // Ends the lanes of dead senders that are drained.
  void Sweep();
  void EndLane(uint64_t lane_id);

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  const Destination* const carrier_bell_;
  Carrier* carrier_ = nullptr;
  bool sweep_scheduled_ = false;
  absl::Duration sweep_delay_;
  std::map<std::pair<std::string, uint64_t>, std::shared_ptr<MailboxQueue>> remote_queues_;
  absl::flat_hash_map<uint64_t, std::shared_ptr<OutgoingLane>> agent_lanes_;  // by link or lane
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_BROKER_H_
