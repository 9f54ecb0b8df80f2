// The broker's part between nodes, and the agent's own lanes.
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "node/agent/broker.h"

namespace mailrail {
namespace {

using internal::FromProto;
using internal::ToProto;

Endpoint ProcessEnd(uint32_t number) {
  Endpoint end;
  end.kind = Endpoint::Kind::kProcess;
  end.number = number;
  return end;
}

Endpoint RemoteEnd(const ProcessId& id) {
  Endpoint end;
  end.kind = Endpoint::Kind::kRemoteProcess;
  end.process = id;
  return end;
}

// What a sender of the agent's maps of a destination of this node.
absl::StatusOr<DestinationMemory> MapSender(const Destination& control, const Destination& bell) {
  absl::StatusOr<Mapping> control_map = control.MapControl();
  if (!control_map.ok()) return control_map.status();
  absl::StatusOr<Mapping> bell_map = bell.MapBell();
  if (!bell_map.ok()) return bell_map.status();
  absl::StatusOr<Mapping> gate_map = bell.MapGate();
  if (!gate_map.ok()) return gate_map.status();
  return DestinationMemory{*std::move(control_map), *std::move(bell_map), *std::move(gate_map)};
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> RingSender(
    std::string name, const Link& link, absl::StatusOr<std::shared_ptr<LinkMemory>> memory,
    absl::StatusOr<DestinationMemory> destination) {
  if (!memory.ok()) return memory.status();
  if (!destination.ok()) return destination.status();
  auto lane = std::make_shared<OutgoingLane>(std::move(name), link.options, *std::move(memory),
                                             *std::move(destination));
  if (absl::Status status = lane->Recover(); !status.ok()) return status;
  return lane;
}

}  // namespace

absl::StatusOr<std::shared_ptr<OutgoingLane>> Broker::MapCellSender(const LocalMailbox& mailbox,
                                                                    const MailboxLane& lane) const {
  absl::StatusOr<Mapping> data =
      Mapping::Map(lane.data, lane.geometry.data_bytes(), Access::kReadWrite);
  if (!data.ok()) return data.status();
  absl::StatusOr<Mapping> state =
      Mapping::Map(lane.state, lane.geometry.state_bytes(), Access::kReadWrite);
  if (!state.ok()) return state.status();
  absl::StatusOr<DestinationMemory> destination =
      MapSender(mailbox.destination, mailbox.destination);
  if (!destination.ok()) return destination.status();
  auto sender = std::make_shared<OutgoingLane>(
      absl::StrCat("mailbox ", mailbox.name), mailbox.options, lane.geometry, *std::move(data),
      *std::move(state), /*number=*/0, *std::move(destination));
  if (absl::Status status = sender->Recover(); !status.ok()) return status;
  return sender;
}

absl::StatusOr<InboundLane> Broker::AcceptLane(const std::string& node,
                                               const proto::LaneOpen& open) {
  const ProcessId sender = FromProto(open.sender());
  if (sender.node() != node) {
    return absl::PermissionDeniedError(
        absl::StrCat("node ", node, " may not send as process ", sender.ToString()));
  }
  InboundLane inbound;
  inbound.peer_node = node;
  inbound.peer_incarnation = registry_->PeerIncarnation(node);
  inbound.id = open.lane();
  inbound.state.set_lane(open.lane());
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = absl::InvalidArgumentError("no target");
  if (open.has_process()) {
    LocalProcess* target = registry_->FindProcess(FromProto(open.process()));
    if (target == nullptr) {
      return absl::UnavailableError(
          absl::StrCat("process ", FromProto(open.process()).ToString(), " is gone"));
    }
    const Endpoint self = ProcessEnd(target->number);
    Link* link = registry_->FindLink(self, RemoteEnd(sender));
    if (link == nullptr) {
      absl::StatusOr<Link*> added = registry_->AddLink(self, RemoteEnd(sender), MailboxOptions());
      if (!added.ok()) return added.status();
      link = *added;
      NotifyLink(*link, true);
      StartOutbound(*link, false);
    }
    if (link->inbound_lane != 0 && link->inbound_lane != open.lane()) {
      return absl::FailedPreconditionError("this pair has a link already");
    }
    if (link->inbound_lane == 0) {
      link->inbound_lane = open.lane();
      registry_->SaveLink(*link);
    }
    lane = RingSender(absl::StrCat("process ", target->id.ToString()), *link, MapEnd(*link, false),
                      MapSender(target->inbox, target->inbox));
    ToProto(target->id, inbound.state.mutable_process());
    ToProto(link->options, inbound.state.mutable_spec());
  } else if (!open.mailbox().empty()) {
    LocalMailbox* mailbox = registry_->FindMailbox(open.mailbox());
    if (mailbox == nullptr) {
      return absl::UnavailableError(absl::StrCat("mailbox ", open.mailbox(), " was destroyed"));
    }
    absl::StatusOr<MailboxLane*> cells =
        JoinMailbox(mailbox, RemoteEnd(sender), sender, 0, open.lane());
    if (!cells.ok()) return cells.status();
    lane = MapCellSender(*mailbox, **cells);
    ToProto(mailbox->options, inbound.state.mutable_spec());
  }
  if (!lane.ok()) return lane.status();
  inbound.lane = *std::move(lane);
  return inbound;
}

void Broker::EndInbound(const std::string& node, uint64_t lane) {
  for (const auto& [id, link] : registry_->links()) {
    if (link->b.kind != Endpoint::Kind::kRemoteProcess || link->b.peer_node() != node ||
        link->inbound_lane != lane) {
      continue;
    }
    EndOutbound(id, CloseReason::kProcessGone);
    if (LocalProcess* process = registry_->FindProcess(link->a.number)) {
      NotifyEnded(process->number, &process->inbox, process->inbox_id, id, true);
    }
    registry_->RemoveLink(id);
    return;
  }
  for (const auto& [id, cells] : registry_->lanes()) {
    if (cells->sender.kind == Endpoint::Kind::kRemoteProcess && cells->sender.peer_node() == node &&
        cells->origin_lane == lane) {
      cells->orphaned = true;
      registry_->SaveLane(*cells);
      ScheduleSweep(absl::Milliseconds(20));
      return;
    }
  }
}

void Broker::EndOutbound(uint64_t link_id, CloseReason reason) {
  Link* link = registry_->FindLink(link_id);
  if (link == nullptr || !link->b.remote()) return;
  link->far.Close(reason);
  carrier_->RemoveOutbound(link_id);
  agent_lanes_.erase(link_id);
  // Its sender is gone too: nobody needs it.
  if (link->finishing) registry_->RemoveLink(link_id);
}

void Broker::ForgetNode(const std::string& node) {
  carrier_->ForgetPeer(node);
  std::vector<uint64_t> links;
  for (const auto& [id, link] : registry_->links()) {
    if (link->b.remote() && link->b.peer_node() == node) links.push_back(id);
  }
  for (const uint64_t id : links) {
    Link* link = registry_->FindLink(id);
    link->far.Close(CloseReason::kNodeGone);
    LocalProcess* process = registry_->FindProcess(link->a.number);
    if (process != nullptr && link->b.kind == Endpoint::Kind::kRemoteProcess) {
      NotifyEnded(process->number, &process->inbox, process->inbox_id, id, true);
    }
    agent_lanes_.erase(id);
    registry_->RemoveLink(id);
  }
  for (const auto& [id, lane] : registry_->lanes()) {
    if (lane->sender.kind != Endpoint::Kind::kRemoteProcess || lane->sender.peer_node() != node) {
      continue;
    }
    lane->orphaned = true;
    registry_->SaveLane(*lane);
    ScheduleSweep(absl::Milliseconds(20));
  }
  std::vector<std::pair<std::string, uint64_t>> receivers;
  for (const auto& [name, queue] : remote_queues_) {
    if (name.first == node) receivers.push_back(name);
  }
  for (const auto& [peer, key] : receivers) CloseRemoteReceiver(peer, key);
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
  absl::StatusOr<Mapping> data =
      Mapping::Map(proxy.data, proxy.geometry.data_bytes(), Access::kReadWrite);
  absl::StatusOr<Mapping> state =
      Mapping::Map(proxy.state, proxy.geometry.state_bytes(), Access::kReadWrite);
  absl::StatusOr<DestinationMemory> destination = MapSender(proxy.destination, proxy.destination);
  absl::StatusOr<Mapping> bell = proxy.destination.MapBell();
  absl::StatusOr<Mapping> control = proxy.destination.MapControl();
  if (!data.ok() || !state.ok() || !destination.ok() || !bell.ok() || !control.ok()) {
    options_.log(absl::StrCat("cannot map the proxy of mailbox ", proxy.mailbox));
    return;
  }
  ReceiverProxy receiver;
  receiver.key = proxy.id;
  receiver.peer_node = proxy.node;
  receiver.peer_incarnation = registry_->PeerIncarnation(proxy.node);
  receiver.bell = *std::move(bell);
  receiver.control = *std::move(control);
  MailboxOptions options = proxy.options;
  options.capacity_messages = 16;
  options.when_full = FullPolicy::kBlock;
  receiver.lane = std::make_shared<OutgoingLane>(
      absl::StrCat("mailbox ", proxy.mailbox), options, proxy.geometry, *std::move(data),
      *std::move(state), /*number=*/0, *std::move(destination));
  if (absl::Status status = receiver.lane->Recover(); !status.ok()) {
    options_.log(absl::StrCat("proxy of mailbox ", proxy.mailbox, ": ", status.ToString()));
    return;
  }
  carrier_->AddProxy(std::move(receiver));
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> Broker::AgentLane(LocalProcess* process) {
  const Endpoint other = ProcessEnd(process->number);
  Link* link = registry_->FindLink(Endpoint(), other);
  if (link == nullptr) {
    absl::StatusOr<Link*> added = registry_->AddLink(Endpoint(), other, MailboxOptions());
    if (!added.ok()) return added.status();
    link = *added;
    NotifyLink(*link, false);
  }
  std::shared_ptr<OutgoingLane>& lane = agent_lanes_[link->id];
  if (lane == nullptr) {
    absl::StatusOr<std::shared_ptr<OutgoingLane>> mapped =
        RingSender(absl::StrCat("process ", process->id.ToString()), *link, MapEnd(*link, true),
                   MapSender(process->inbox, process->inbox));
    if (!mapped.ok()) return mapped.status();
    lane = *std::move(mapped);
  }
  return lane;
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> Broker::AgentLane(LocalMailbox* mailbox) {
  absl::StatusOr<MailboxLane*> cells =
      JoinMailbox(mailbox, Endpoint(), registry_->agent_id(), 0, 0);
  if (!cells.ok()) return cells.status();
  std::shared_ptr<OutgoingLane>& lane = agent_lanes_[(*cells)->id];
  if (lane == nullptr) {
    absl::StatusOr<std::shared_ptr<OutgoingLane>> mapped = MapCellSender(*mailbox, **cells);
    if (!mapped.ok()) return mapped.status();
    lane = *std::move(mapped);
  }
  return lane;
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> Broker::AgentLane(const Link& link) {
  std::shared_ptr<OutgoingLane>& lane = agent_lanes_[link.id];
  if (lane == nullptr) {
    absl::StatusOr<std::shared_ptr<OutgoingLane>> mapped =
        RingSender(absl::StrCat("mailbox ", link.b.mailbox, "@", link.b.node), link,
                   MapEnd(link, true), MapSender(link.far, *carrier_bell_));
    if (!mapped.ok()) return mapped.status();
    lane = *std::move(mapped);
  }
  return lane;
}

}  // namespace mailrail
