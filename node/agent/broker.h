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
#include "core/mailbox/mailbox_queue.h"
#include "node/agent/distributor.h"
#include "node/agent/links.h"
#include "node/agent/loop.h"
#include "node/agent/mailbox_browser.h"
#include "node/agent/mailbox_sweeper.h"
#include "node/agent/message_mover.h"
#include "node/agent/notices.h"
#include "node/agent/registry.h"
#include "node/carrier/carrier.h"
#include "proto/agent.pb.h"

namespace mailrail {

// Introduces processes, mailboxes and nodes to each other, and then steps aside: it makes lanes to
// mailboxes, tells the members, hands what concerns other nodes to the carrier, and cleans up after
// the dead; links it leaves to Links. The registry knows; the broker acts.
//
// One thread at a time: the loop's.
class Broker {
 public:
  struct Options {
    Notify notify;
    std::function<void(absl::string_view)> log;
    // As of Links.
    std::function<void(uint64_t link, const absl::Status& why)> link_ended;
    // A process is gone, and its links and lanes with it; a mailbox was closed, and goes. Null when
    // nobody wants to know.
    std::function<void(const LocalProcess& process, EndReason reason)> process_gone;
    std::function<void(const LocalMailbox& mailbox)> mailbox_destroyed;
    std::shared_ptr<Budget> budget;
  };

  // All outlive it. `carrier_bell` is the bell of all lanes that the carrier reads.
  Broker(Options options, Loop* loop, Registry* registry, const Destination* carrier_bell);
  ~Broker();

  void set_carrier(Carrier* carrier) {
    carrier_ = carrier;
    links_.set_carrier(carrier);
  }

  // --- Direct channels, and the ways to other nodes (see Links).
  absl::StatusOr<Link*> LinkLocal(LocalProcess* a, LocalProcess* b,
                                  LinkWish wish = LinkWish::kTwoWay) {
    return links_.Between(a, b, wish);
  }
  absl::StatusOr<Link*> LinkRemote(LocalProcess* a, const ProcessId& remote,
                                   const MailboxOptions& options,
                                   LinkWish wish = LinkWish::kTwoWay) {
    return links_.ToRemote(Endpoint::OfProcess(a->number), Endpoint::OfRemoteProcess(remote),
                           options, wish);
  }
  absl::StatusOr<Link*> LinkAgent(const ProcessId& remote) {
    return links_.ToRemote(Endpoint::OfAgent(), Endpoint::OfRemoteProcess(remote),
                           MailboxOptions());
  }
  // The one-way lane of a process (or of the agent) to a mailbox of another node.
  absl::StatusOr<Link*> LinkMailbox(const Endpoint& a, const std::string& node,
                                    const std::string& mailbox, const MailboxOptions& options) {
    return links_.ToRemote(a, Endpoint::OfRemoteMailbox(node, mailbox), options);
  }
  absl::StatusOr<std::vector<Fd>> GrantFar(const Link& link, control::LinkGrant* grant) {
    return links_.GrantFar(link, grant);
  }
  void Describe(const Link& link, control::LinkRow* row) const { links_.Describe(link, row); }

  // --- Mailboxes of this node.
  absl::StatusOr<MailboxLane*> JoinMailbox(LocalMailbox* mailbox, const Endpoint& sender,
                                           const ProcessId& sender_id, uint32_t uid,
                                           uint64_t origin_lane);
  // The descriptors for the sending end.
  absl::StatusOr<std::vector<Fd>> GrantLane(const LocalMailbox& mailbox, const MailboxLane& lane,
                                            control::LaneGrant* grant);
  // Makes a process a receiver: tells it of all lanes. `leases`: one that acknowledges by hand.
  absl::Status OpenReceiver(LocalProcess* process, LocalMailbox* mailbox, bool leases);
  // --- Broadcast mailboxes of this node.
  // A subscription for one open of a process (`creator`, `request`), or, when these are 0, of a
  // process of another node. The caller opens it as any mailbox, or destroys it. Idempotent for one
  // request of one process. kResourceExhausted.
  absl::StatusOr<LocalMailbox*> Subscribe(LocalMailbox* mailbox, uint32_t creator,
                                          uint64_t request);
  // That of a receiver of another node; null when there is none.
  LocalMailbox* FindSubscription(const LocalMailbox& mailbox, const std::string& node,
                                 uint64_t key);
  // Whether its senders send to the subscriptions by themselves.
  static bool SentByGroup(const LocalMailbox& mailbox) {
    return mailbox.broadcasts() && mailbox.options.order != MailboxOrder::kLog;
  }
  absl::StatusOr<std::vector<Fd>> GrantGroup(const LocalMailbox& mailbox,
                                             control::BroadcastGrant* grant);
  // kInvalidArgument for a subscription: it is its receiver's alone.
  absl::Status CheckPublic(const LocalMailbox& mailbox);
  // By what name its users know a mailbox: of a subscription that of its broadcast mailbox.
  const std::string& PublicName(const LocalMailbox& mailbox);
  // Of a broadcast mailbox, for display.
  void DescribeSubscriptions(const LocalMailbox& mailbox, control::MailboxRow* row);

  // kResourceExhausted when the mailbox is a link of two other processes.
  absl::Status CheckAssociate(const LocalMailbox& mailbox, const ProcessId& process) const;
  // kResourceExhausted when it assigns its messages to as many receivers as it can.
  static absl::Status CheckAssigned(const LocalMailbox& mailbox);
  // The process lets go of a receiver, or of its lane to a mailbox: as control::Request::close.
  void Close(LocalProcess* process, uint64_t id);
  // Of a mailbox here, or of a proxy. Messages that the process still holds stay its own.
  void CloseReceiver(LocalProcess* process, uint64_t destination_id);
  // A receiver of another node. Idempotent for one key of one node.
  absl::Status OpenRemoteReceiver(LocalMailbox* mailbox, const std::string& node, uint64_t key,
                                  const ProcessId& receiver, bool leases);
  // Hands it lanes that it has not got; tries again until it has them.
  void CatchUpRemoteReceiver(const std::string& node, uint64_t key);
  void CloseRemoteReceiver(const std::string& node, uint64_t key);
  // Its node was not reached for the mailbox's cutoff: its place is another's; and is reached
  // again.
  void CutOffRemoteReceiver(const std::string& node, uint64_t key);
  void ReachRemoteReceiver(const std::string& node, uint64_t key);
  // Returns how many messages were in it.
  uint64_t DestroyMailbox(LocalMailbox* mailbox, CloseReason reason = CloseReason::kDestroyed);
  // Somebody has given a message back that is not to be received at once, or not again.
  void LookAtMailbox(uint64_t id) {
    if (registry_->FindMailbox(id) != nullptr) sweeper_.Look(id);
  }
  // Messages of a lane to a mailbox of this node may expire, are for later or are to be buried.
  void LookAtLane(uint64_t lane_id);
  void OnInboundLook(const std::string& node, uint64_t lane);
  absl::Status ExtendLease(LocalProcess* process, const control::ExtendLease& lease);

  // --- Mailboxes of other nodes.
  absl::StatusOr<Proxy*> AddProxy(LocalProcess* process, const std::string& node,
                                  const std::string& mailbox, const MailboxOptions& options,
                                  bool leases);
  void StartProxy(const Proxy& proxy);
  // The mailbox that a proxy of this node stands for was destroyed at its home.
  void CloseProxy(const std::string& node, uint64_t key);

  // --- What other nodes say, and what the carrier has found (RemoteService).
  absl::StatusOr<InboundLane> AcceptLane(const std::string& node, const proto::LaneOpen& open);
  // The other end of a link, or the sender of a lane, is gone for good.
  void EndInbound(const std::string& node, uint64_t lane, EndReason reason);
  // The carrier can put nothing more into a lane of another node; the node was told. True when that
  // is what the end of its destination brings with it, false when something is wrong with the lane.
  bool InboundClosed(const std::string& node, uint64_t lane);
  // So many processes receive from the mailbox of another node that this link leads to.
  void SetFarReceivers(uint64_t link_id, uint32_t count);
  // Our lane to another node cannot go on: `reason` is what its senders are told.
  void EndOutbound(uint64_t link_id, CloseReason reason) { links_.EndOutbound(link_id, reason); }
  // The other node has opened it.
  void OutboundOpened(uint64_t link_id) { links_.OutboundOpened(link_id); }
  // All that its end had sent was carried on.
  void OutboundDone(uint64_t link_id) { links_.OutboundDone(link_id); }
  // Everything of a node that started anew.
  void ForgetNode(const std::string& node);
  // Which life of a node was met last.
  void SavePeer(const std::string& node, uint64_t incarnation) {
    registry_->SavePeer(node, incarnation);
  }

  // A process is gone: nothing it writes counts from now on.
  void ProcessGone(uint32_t number, EndReason reason);
  // Before that, of one that runs on and does not know it yet: releases its claims once more when
  // it has ended.
  void AwaitEnd(const LocalProcess& process);

  // The agent's own lane to a destination, for one-shot senders.
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AgentLane(LocalProcess* process) {
    return links_.AgentLane(process);
  }
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AgentLane(LocalMailbox* mailbox);
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AgentLane(const Link& link) {
    return links_.AgentLane(link);
  }

  // After a restart: makes whole what a death cut in two, hands everything to the carrier again,
  // and tells every process again what it may have missed.
  void Resume();

  // An orderly stop, in two steps: first nothing more is accepted for other nodes, and AllCarried
  // says when what was accepted is there; then, when the carrier has stopped, every destination is
  // closed, so that no sender goes on into memory that nobody reads, and what is left is logged.
  void StopOutbound() { links_.CloseOutbound(CloseReason::kAgentGone); }
  bool AllCarried() const { return links_.AllCarried(); }
  void CloseAll();
  // Whether nothing would be lost if this agent left: no mailbox holds a message, and nothing is on
  // its way to another node.
  bool Empty();

  Fd DuplicateCarrierGate() const { return carrier_bell_->DuplicateGate(); }

  // Counts what is in a mailbox, for display. Purge drops what waits in it or is delayed, and
  // returns how much that was. Of a broadcast mailbox over all its subscriptions.
  CellReader::Counts Count(const LocalMailbox& mailbox);
  // How many messages its sender has dropped.
  static uint64_t CountDropped(const MailboxLane& lane);
  void Describe(const LocalMailbox& mailbox, proto::MailboxState* state);
  uint64_t Purge(LocalMailbox* mailbox);
  // For who looks into mailboxes, and moves dead letters.
  MailboxBrowser& browser() { return browser_; }

 private:
  // Who has it open has changed: says how many there are, and, of an exclusive one, who may
  // receive. REQUIRES: who was the holder, and is not any more, has no claims, and nothing claims
  // for it.
  void OnReceiversChanged(LocalMailbox* mailbox);
  // Takes the exclusive right from a receiver, before its claims are taken from it: so it finds out
  // what it claims after that is not its own.
  void WithdrawRight(LocalMailbox* mailbox, uint32_t number);
  // Unless its process has another receiver.
  void WithdrawRight(LocalMailbox* mailbox, const RemoteReceiverEntry& entry);
  void DestroyMailboxesOf(uint32_t owner);
  // Says how many there are.
  void CountSubscriptions(const LocalMailbox& mailbox);
  // A broadcast mailbox's and, when it is destroyed, a subscription's part.
  uint64_t DestroySubscriptions(const LocalMailbox& mailbox, CloseReason reason);
  void CountForBroadcast(const LocalMailbox& subscription, const CellReader::Counts& counts);
  // What is sent to a broadcast mailbox itself is given to its subscriptions from now on.
  absl::Status StartDistribution(LocalMailbox* mailbox);
  absl::StatusOr<Distributor::Target> TargetOf(LocalMailbox* subscription);
  // After a restart: where there was one.
  void ResumeDistribution(uint64_t mailbox);
  void OnDistributorDropped(uint64_t mailbox);
  // After a restart: those whose receiver or mailbox is gone.
  void DestroyLostSubscriptions();
  void NotifyLane(const LocalMailbox& mailbox, const MailboxLane& lane, uint32_t number,
                  uint32_t version);
  // Every receiver is told of the lanes again, and of the version.
  void NotifyMembers(LocalMailbox* mailbox);
  absl::Status StartRemoteReceiver(const LocalMailbox& mailbox, const std::string& node,
                                   uint64_t key, const RemoteReceiverEntry& entry);
  // The mailbox of this remote receiver; null when there is no such receiver.
  LocalMailbox* FindMailboxOf(const std::string& node, uint64_t key);
  // The lane of another node's process to a mailbox of this one; null when there is none.
  MailboxLane* FindOriginLane(const std::string& node, uint64_t origin_lane);
  void OrphanLane(MailboxLane* lane);
  // Of a pipe that nobody writes to any more, and somebody did: adds the end of file.
  void CheckWriters(LocalMailbox* mailbox);
  CellReader::Counts CountOwn(const LocalMailbox& mailbox);
  void ReleaseClaims(const LocalMailbox& mailbox, uint32_t number);
  // After a restart: those of all numbers that nobody has.
  void ReleaseLostClaims();
  void RemoveLostLanes();
  void ScheduleSweep(absl::Duration delay);
  // Ends the lanes of dead senders that are drained.
  void Sweep();
  void EndLane(uint64_t lane_id);

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  const Destination* const carrier_bell_;
  Carrier* carrier_ = nullptr;
  Links links_;
  MessageMover mover_;
  MailboxSweeper sweeper_;
  MailboxBrowser browser_;
  bool sweep_scheduled_ = false;
  absl::Duration sweep_delay_;
  std::map<std::pair<std::string, uint64_t>, std::shared_ptr<MailboxQueue>> remote_queues_;
  absl::flat_hash_map<uint64_t, std::shared_ptr<OutgoingLane>> agent_lanes_;  // by lane
  // Receivers that are gone, and whose processes run on, by number.
  struct Survivor {
    Fd pidfd;
    std::vector<uint64_t> mailboxes;
  };
  std::map<uint32_t, Survivor> survivors_;
  // Lanes of dead senders, which are looked at until they are drained.
  absl::flat_hash_map<uint64_t, std::shared_ptr<IncomingCells>> swept_;
  Distributor distributor_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_BROKER_H_
