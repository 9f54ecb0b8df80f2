// The broker's part between nodes, and the agent's own lanes to mailboxes.
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "node/agent/broker.h"
#include "node/agent/mapped_lanes.h"
#include "node/carrier/proxy_note.h"

namespace mailrail {

using internal::FromProto;
using internal::ToProto;

absl::StatusOr<InboundLane> Broker::AcceptLane(const std::string& node,
                                               const proto::LaneOpen& open) {
  // Before ids are made of what it says: the names of nodes in them are kept for good.
  if (open.sender().node() != node) {
    return absl::PermissionDeniedError(
        absl::StrCat("node ", node, " may not send as a process of another node"));
  }
  const ProcessId sender = FromProto(open.sender());
  InboundLane inbound;
  inbound.peer_node = node;
  inbound.peer_incarnation = registry_->PeerIncarnation(node);
  inbound.id = open.lane();
  inbound.state.set_lane(open.lane());
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = absl::InvalidArgumentError("no target");
  if (open.has_process()) {
    if (open.process().node() != registry_->node()) {
      return absl::InvalidArgumentError("the process is not of this node");
    }
    LocalProcess* target = registry_->FindProcess(FromProto(open.process()));
    if (target == nullptr) {
      return absl::UnavailableError(
          absl::StrCat("process ", FromProto(open.process()).ToString(), " is gone"));
    }
    MailboxOptions options;
    lane = links_.AcceptLane(target, sender, open.lane(), open.one_way(), &options);
    ToProto(target->id, inbound.state.mutable_process());
    ToProto(options, inbound.state.mutable_spec());
  } else if (!open.mailbox().empty()) {
    LocalMailbox* mailbox = registry_->FindMailbox(open.mailbox());
    if (mailbox == nullptr) {
      return absl::UnavailableError(absl::StrCat("mailbox ", open.mailbox(), " was destroyed"));
    }
    if (absl::Status status = CheckPublic(*mailbox); !status.ok()) return status;
    absl::StatusOr<MailboxLane*> cells =
        JoinMailbox(mailbox, Endpoint::OfRemoteProcess(sender), sender, 0, open.lane());
    if (!cells.ok()) return cells.status();
    lane =
        MapCellSender(absl::StrCat("mailbox ", mailbox->name), mailbox->options, (*cells)->geometry,
                      (*cells)->data, (*cells)->state, mailbox->destination, options_.budget);
    ToProto(mailbox->options, inbound.state.mutable_spec());
  }
  if (!lane.ok()) return lane.status();
  inbound.lane = *std::move(lane);
  return inbound;
}

MailboxLane* Broker::FindOriginLane(const std::string& node, uint64_t origin_lane) {
  for (const auto& [id, lane] : registry_->lanes()) {
    if (lane->sender.kind == Endpoint::Kind::kRemoteProcess && lane->sender.peer_node() == node &&
        lane->origin_lane == origin_lane && !lane->orphaned) {
      return lane.get();
    }
  }
  return nullptr;
}

void Broker::OnInboundLook(const std::string& node, uint64_t lane) {
  if (const MailboxLane* cells = FindOriginLane(node, lane)) LookAtMailbox(cells->mailbox);
}

void Broker::EndInbound(const std::string& node, uint64_t lane, EndReason reason) {
  // The carrier has it still when its end came while we were asked whether it may be opened.
  carrier_->RemoveInbound(node, lane);
  if (links_.EndInbound(node, lane, reason)) return;
  if (MailboxLane* cells = FindOriginLane(node, lane)) OrphanLane(cells);
}

bool Broker::InboundClosed(const std::string& node, uint64_t lane) {
  if (const Link* link = registry_->FindInbound(node, lane)) {
    const LocalProcess* process = registry_->FindProcess(link->a.number);
    if (process == nullptr || process->inbox.closed()) return true;
    links_.InboundRefused(node, lane);
    return false;
  }
  MailboxLane* cells = FindOriginLane(node, lane);
  // A mailbox that was destroyed has taken its lanes with it.
  if (cells == nullptr) return true;
  OrphanLane(cells);
  return false;
}

void Broker::ForgetNode(const std::string& node) {
  carrier_->ForgetPeer(node);
  links_.ForgetNode(node);
  for (const auto& [id, lane] : registry_->lanes()) {
    if (lane->sender.kind == Endpoint::Kind::kRemoteProcess && lane->sender.peer_node() == node) {
      OrphanLane(lane.get());
    }
  }
  std::vector<uint64_t> keys;
  for (const auto& [name, queue] : remote_queues_) {
    if (name.first == node) keys.push_back(name.second);
  }
  for (const uint64_t key : keys) CloseRemoteReceiver(node, key);
  for (const auto& [id, proxy] : registry_->proxies()) {
    if (proxy->node == node) proxy->destination.Close(CloseReason::kNodeGone);
  }
}

void Broker::CloseProxy(const std::string& node, uint64_t key) {
  Proxy* proxy = registry_->FindProxy(key);
  if (proxy == nullptr || proxy->node != node) return;
  proxy->destination.Close(CloseReason::kDestroyed);
  carrier_->RemoveProxy(node, key);
}

void Broker::StartProxy(const Proxy& proxy) {
  MailboxOptions options = proxy.options;
  options.capacity_messages = proxy.geometry.slots;
  options.when_full = FullPolicy::kBlock;
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane =
      MapCellSender(absl::StrCat("mailbox ", proxy.mailbox), options, proxy.geometry, proxy.data,
                    proxy.state, proxy.destination, options_.budget);
  absl::StatusOr<Mapping> bell = proxy.destination.MapBell();
  absl::StatusOr<Mapping> control = proxy.destination.MapControl(kProxyControlBytes);
  if (!lane.ok() || !bell.ok() || !control.ok()) {
    options_.log(absl::StrCat("cannot map the proxy of mailbox ", proxy.mailbox, ": ",
                              lane.status().ToString()));
    return;
  }
  ReceiverProxy receiver;
  receiver.key = proxy.id;
  receiver.peer_node = proxy.node;
  receiver.peer_incarnation = registry_->PeerIncarnation(proxy.node);
  receiver.leases = proxy.leases;
  receiver.bell = *std::move(bell);
  receiver.control = *std::move(control);
  receiver.lane = *std::move(lane);
  carrier_->AddProxy(std::move(receiver));
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> Broker::AgentLane(LocalMailbox* mailbox) {
  absl::StatusOr<MailboxLane*> cells =
      JoinMailbox(mailbox, Endpoint::OfAgent(), registry_->agent_id(), 0, 0);
  if (!cells.ok()) return cells.status();
  std::shared_ptr<OutgoingLane>& lane = agent_lanes_[(*cells)->id];
  if (lane == nullptr) {
    absl::StatusOr<std::shared_ptr<OutgoingLane>> mapped =
        MapCellSender(absl::StrCat("mailbox ", mailbox->name), mailbox->options, (*cells)->geometry,
                      (*cells)->data, (*cells)->state, mailbox->destination, options_.budget);
    if (!mapped.ok()) return mapped.status();
    lane = *std::move(mapped);
  }
  return lane;
}

}  // namespace mailrail
