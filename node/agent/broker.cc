#include "node/agent/broker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"

namespace mailrail {
namespace {

using internal::ToProto;

void Encode(const RingGeometry& geometry, control::RingGeometry* value) {
  value->set_ring_bytes(geometry.ring_bytes);
  value->set_slab_bytes(geometry.slab_bytes);
  value->set_cells(geometry.cells);
}

void Encode(const CellGeometry& geometry, control::CellGeometry* value) {
  value->set_slots(geometry.slots);
  value->set_slab_bytes(geometry.slab_bytes);
}

absl::StatusOr<std::vector<Fd>> MemoryGrant(const Fd& own, const Fd& peer,
                                            absl::StatusOr<std::vector<Fd>> destination) {
  if (!destination.ok()) return destination.status();
  std::vector<Fd> fds;
  fds.push_back(own.Duplicate());
  absl::StatusOr<Fd> readable = OpenReadOnly(peer);
  if (!readable.ok()) return readable.status();
  fds.push_back(*std::move(readable));
  for (Fd& fd : *destination) fds.push_back(std::move(fd));
  for (const Fd& fd : fds) {
    if (!fd.valid()) return absl::ResourceExhaustedError("the agent has no descriptors left");
  }
  return fds;
}

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

}  // namespace

Broker::Broker(Options options, Loop* loop, Registry* registry, const Destination* carrier_bell)
    : options_(std::move(options)), loop_(loop), registry_(registry), carrier_bell_(carrier_bell) {}

Broker::~Broker() = default;

void Broker::NotifyLink(const Link& link, bool end_a) {
  const Endpoint& self = end_a ? link.a : link.b;
  const Endpoint& other = end_a ? link.b : link.a;
  LocalProcess* process = registry_->FindProcess(self.number);
  if (process == nullptr) return;
  control::Notice notice;
  control::LinkGrant* grant = notice.mutable_link_joined();
  absl::StatusOr<std::vector<Fd>> fds;
  if (other.remote()) {
    fds = GrantFar(link, grant);
  } else {
    LocalProcess* peer = registry_->FindProcess(other.number);
    grant->set_link_id(link.id);
    Encode(link.geometry, grant->mutable_geometry());
    ToProto(link.options, grant->mutable_spec());
    if (peer == nullptr && other.kind != Endpoint::Kind::kAgent) return;
    ToProto(peer == nullptr ? registry_->agent_id() : peer->id, grant->mutable_peer());
    grant->set_same_user(peer == nullptr || peer->uid == process->uid);
    grant->set_peer_is_agent(peer == nullptr);
    fds = MemoryGrant(end_a ? link.memory_a : link.memory_b, end_a ? link.memory_b : link.memory_a,
                      peer == nullptr ? carrier_bell_->GrantSender() : peer->inbox.GrantSender());
  }
  if (!fds.ok()) {
    options_.log(absl::StrCat("cannot tell process ", process->id.ToString(),
                              " of a link: ", fds.status().ToString()));
    return;
  }
  notice.set_destination_id(process->inbox_id);
  notice.set_members_version(process->inbox.next_version());
  options_.notify(process->number, std::move(notice), *std::move(fds));
  process->inbox.BumpVersion();
}

absl::StatusOr<Link*> Broker::LinkLocal(LocalProcess* a, LocalProcess* b) {
  if (Link* link = registry_->FindLink(ProcessEnd(a->number), ProcessEnd(b->number))) return link;
  absl::StatusOr<Link*> link =
      registry_->AddLink(ProcessEnd(a->number), ProcessEnd(b->number), MailboxOptions());
  if (!link.ok()) return link;
  NotifyLink(**link, true);
  if (a != b) NotifyLink(**link, false);
  return link;
}

absl::StatusOr<std::vector<Fd>> Broker::GrantFar(const Link& link, control::LinkGrant* grant) {
  grant->set_link_id(link.id);
  Encode(link.geometry, grant->mutable_geometry());
  ToProto(link.options, grant->mutable_spec());
  grant->set_same_user(true);  // what comes from another node the agent has written
  grant->set_peer_is_agent(true);
  if (link.b.kind == Endpoint::Kind::kRemoteProcess) {
    ToProto(link.b.process, grant->mutable_peer());
  } else {
    grant->set_mailbox(absl::StrCat(link.b.mailbox, "@", link.b.node));
  }
  // The control page is the far destination's own; the bell is the carrier's.
  absl::StatusOr<std::vector<Fd>> control = link.far.GrantSender();
  absl::StatusOr<std::vector<Fd>> bell = carrier_bell_->GrantSender();
  if (!control.ok()) return control.status();
  if (!bell.ok()) return bell.status();
  std::vector<Fd> destination;
  destination.push_back(std::move((*control)[0]));
  destination.push_back(std::move((*bell)[1]));
  destination.push_back(std::move((*bell)[2]));
  return MemoryGrant(link.memory_a, link.memory_b, std::move(destination));
}

absl::StatusOr<std::shared_ptr<LinkMemory>> Broker::MapEnd(const Link& link, bool end_a) const {
  const Fd& own = end_a ? link.memory_a : link.memory_b;
  const Fd& peer = end_a ? link.memory_b : link.memory_a;
  absl::StatusOr<Mapping> own_map =
      Mapping::Map(own, link.geometry.memory_bytes(), Access::kReadWrite);
  if (!own_map.ok()) return own_map.status();
  absl::StatusOr<Mapping> peer_map =
      Mapping::Map(peer, link.geometry.memory_bytes(), Access::kReadOnly);
  if (!peer_map.ok()) return peer_map.status();
  return std::make_shared<LinkMemory>(
      LinkMemory{link.geometry, *std::move(own_map), *std::move(peer_map)});
}

void Broker::StartOutbound(const Link& link, bool recover) {
  absl::StatusOr<std::shared_ptr<LinkMemory>> memory = MapEnd(link, false);
  if (!memory.ok()) {
    options_.log(absl::StrCat("cannot map link ", link.id, ": ", memory.status().ToString()));
    return;
  }
  OutboundLane lane;
  lane.id = link.id;
  lane.peer_node = link.b.peer_node();
  lane.memory = *std::move(memory);
  lane.recover = recover;
  lane.peer_incarnation = registry_->PeerIncarnation(lane.peer_node);
  lane.open.set_lane(link.id);
  const LocalProcess* process = registry_->FindProcess(link.a.number);
  ToProto(process == nullptr ? registry_->agent_id() : process->id, lane.open.mutable_sender());
  if (link.b.kind == Endpoint::Kind::kRemoteProcess) {
    ToProto(link.b.process, lane.open.mutable_process());
  } else {
    lane.open.set_mailbox(link.b.mailbox);
  }
  carrier_->AddOutbound(std::move(lane));
  if (link.finishing) carrier_->FinishOutbound(link.id);
}

absl::StatusOr<Link*> Broker::LinkRemote(LocalProcess* a, const ProcessId& remote,
                                         const MailboxOptions& options) {
  return LinkFar(ProcessEnd(a->number), RemoteEnd(remote), options);
}

absl::StatusOr<Link*> Broker::LinkAgent(const ProcessId& remote) {
  return LinkFar(Endpoint(), RemoteEnd(remote), MailboxOptions());
}

absl::StatusOr<Link*> Broker::LinkMailbox(const Endpoint& a, const std::string& node,
                                          const std::string& mailbox,
                                          const MailboxOptions& options) {
  Endpoint b;
  b.kind = Endpoint::Kind::kRemoteMailbox;
  b.node = node;
  b.mailbox = mailbox;
  return LinkFar(a, b, options);
}

absl::StatusOr<Link*> Broker::LinkFar(const Endpoint& a, const Endpoint& b,
                                      const MailboxOptions& options) {
  if (Link* link = registry_->FindLink(a, b); link != nullptr) {
    if (!link->far.closed()) return link;
    // Closed, and asked for again: a mailbox may have been created anew.
    EndOutbound(link->id, CloseReason::kDestroyed);
    registry_->RemoveLink(link->id);
  }
  absl::StatusOr<Link*> link = registry_->AddLink(a, b, options);
  if (!link.ok()) return link;
  if (b.kind == Endpoint::Kind::kRemoteProcess) NotifyLink(**link, true);
  StartOutbound(**link, false);
  return link;
}

uint64_t Broker::Unreceived(const Fd& sender_memory, const Fd& receiver_memory) const {
  absl::StatusOr<Mapping> sent = Mapping::Map(sender_memory, 8192, Access::kReadOnly);
  absl::StatusOr<Mapping> received = Mapping::Map(receiver_memory, 8192, Access::kReadOnly);
  uint64_t sum = 0;
  if (!sent.ok() || !received.ok()) return sum;
  const auto* tails = reinterpret_cast<const RingHeader*>(sent->data())->tail;
  const auto* consumed = reinterpret_cast<const ConsumedMark*>(received->data() + 4096);
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    sum += RingMark::Unpack(tails[priority].load(std::memory_order_relaxed)).sequence -
           RingMark::Unpack(consumed[priority].mark.load(std::memory_order_relaxed)).sequence;
  }
  return sum;
}

void Broker::Describe(const Link& link, control::LinkRow* row) const {
  const auto end = [&](const Endpoint& endpoint, proto::ProcessRef* ref) {
    if (endpoint.kind == Endpoint::Kind::kRemoteProcess) {
      ToProto(endpoint.process, ref);
    } else if (endpoint.kind == Endpoint::Kind::kRemoteMailbox) {
      row->set_mailbox(absl::StrCat(endpoint.mailbox, "@", endpoint.node));
    } else {
      const LocalProcess* process = registry_->FindProcess(endpoint.number);
      ToProto(process == nullptr ? registry_->agent_id() : process->id, ref);
    }
  };
  end(link.a, row->mutable_a());
  end(link.b, row->mutable_b());
  const auto sent = [&](const Fd& memory) {
    uint64_t sum = 0;
    absl::StatusOr<Mapping> map = Mapping::Map(memory, sizeof(RingHeader), Access::kReadOnly);
    if (!map.ok()) return sum;
    const auto* header = reinterpret_cast<const RingHeader*>(map->data());
    for (const std::atomic<uint64_t>& tail : header->tail) {
      sum += RingMark::Unpack(tail.load(std::memory_order_relaxed)).sequence;
    }
    return sum;
  };
  row->set_sent(sent(link.memory_a));
  row->set_received(sent(link.memory_b));
}

absl::StatusOr<MailboxLane*> Broker::JoinMailbox(LocalMailbox* mailbox, const Endpoint& sender,
                                                 const ProcessId& sender_id, uint32_t uid,
                                                 uint64_t origin_lane) {
  if (MailboxLane* lane = registry_->FindLane(mailbox->id, sender, origin_lane)) return lane;
  absl::StatusOr<MailboxLane*> lane =
      registry_->AddLane(mailbox, sender, sender_id, uid, origin_lane);
  if (!lane.ok()) return lane;
  // First every receiver has the lane in its socket, then the version says so, then the sender is
  // granted: so no receiver can miss a message of it.
  const uint32_t version = mailbox->destination.next_version();
  for (const uint32_t number : mailbox->receivers) NotifyLane(*mailbox, **lane, number, version);
  for (const auto& [name, entry] : mailbox->remote_receivers) {
    const auto queue = remote_queues_.find(name);
    if (queue == remote_queues_.end()) continue;
    absl::StatusOr<std::shared_ptr<IncomingLane>> incoming = MapForQueue(**lane);
    if (incoming.ok()) queue->second->Join(*std::move(incoming), version);
  }
  mailbox->destination.BumpVersion();
  return lane;
}

void Broker::NotifyLane(const LocalMailbox& mailbox, const MailboxLane& lane, uint32_t number,
                        uint32_t version) {
  const LocalProcess* process = registry_->FindProcess(number);
  if (process == nullptr) return;
  control::Notice notice;
  control::LaneJoined* joined = notice.mutable_lane_joined();
  joined->set_lane_id(lane.id);
  Encode(lane.geometry, joined->mutable_geometry());
  ToProto(lane.sender_id, joined->mutable_sender());
  joined->set_same_user(lane.sender.kind != Endpoint::Kind::kProcess ||
                        lane.sender_uid == process->uid);
  joined->set_by_agent(lane.sender.kind != Endpoint::Kind::kProcess);
  notice.set_destination_id(mailbox.id);
  notice.set_members_version(version);
  absl::StatusOr<Fd> data = OpenReadOnly(lane.data);
  std::vector<Fd> fds;
  if (data.ok()) fds.push_back(*std::move(data));
  fds.push_back(lane.state.Duplicate());
  options_.notify(number, std::move(notice), std::move(fds));
}

absl::StatusOr<std::vector<Fd>> Broker::GrantLane(const LocalMailbox& mailbox,
                                                  const MailboxLane& lane,
                                                  control::LaneGrant* grant) {
  grant->set_lane_id(lane.id);
  Encode(lane.geometry, grant->mutable_geometry());
  ToProto(mailbox.options, grant->mutable_spec());
  grant->set_mailbox(mailbox.name);
  absl::StatusOr<std::vector<Fd>> destination = mailbox.destination.GrantSender();
  if (!destination.ok()) return destination.status();
  std::vector<Fd> fds;
  fds.push_back(lane.data.Duplicate());
  fds.push_back(lane.state.Duplicate());
  for (Fd& fd : *destination) fds.push_back(std::move(fd));
  return fds;
}

absl::Status Broker::OpenReceiver(LocalProcess* process, LocalMailbox* mailbox) {
  if (mailbox->receivers.insert(process->number).second) {
    process->mailboxes.insert(mailbox->id);
    registry_->SaveMailbox(*mailbox);
  }
  const uint32_t version = mailbox->destination.version();
  for (const uint64_t id : mailbox->lanes) {
    NotifyLane(*mailbox, *registry_->FindLane(id), process->number, version);
  }
  return absl::OkStatus();
}

void Broker::CloseReceiver(LocalProcess* process, uint64_t destination_id) {
  if (process->proxies.contains(destination_id)) {
    carrier_->RemoveProxy(destination_id);
    registry_->RemoveProxy(destination_id);
    return;
  }
  LocalMailbox* mailbox = registry_->FindMailbox(destination_id);
  if (mailbox == nullptr || mailbox->receivers.erase(process->number) == 0) return;
  process->mailboxes.erase(destination_id);
  registry_->SaveMailbox(*mailbox);
}

uint64_t Broker::DestroyMailbox(LocalMailbox* mailbox) {
  // First closed: who publishes later takes its message back. So what is counted is what is lost.
  mailbox->destination.Close(CloseReason::kDestroyed);
  const CellReader::Counts counts = Count(*mailbox);
  const uint64_t dropped = counts.waiting + counts.leased;
  if (dropped > 0) {
    options_.log(absl::StrCat("mailbox ", mailbox->name, " was destroyed with ", dropped,
                              " messages in it"));
  }
  for (const auto& [name, entry] : mailbox->remote_receivers) {
    carrier_->RemoveReceiver(name.first, name.second, /*tell=*/true);
    remote_queues_.erase(name);
  }
  for (const uint32_t number : mailbox->receivers) {
    if (LocalProcess* process = registry_->FindProcess(number)) {
      process->mailboxes.erase(mailbox->id);
    }
  }
  const std::set<uint64_t> lanes = mailbox->lanes;
  for (const uint64_t id : lanes) {
    // A lane of another node the carrier finds closed, and tells its origin.
    agent_lanes_.erase(id);
    registry_->RemoveLane(id);
  }
  registry_->RemoveMailbox(mailbox->id);
  return dropped;
}

absl::StatusOr<std::shared_ptr<IncomingLane>> Broker::MapForQueue(const MailboxLane& lane) const {
  absl::StatusOr<Mapping> data =
      Mapping::Map(lane.data, lane.geometry.data_bytes(), Access::kReadOnly);
  if (!data.ok()) return data.status();
  absl::StatusOr<Mapping> state =
      Mapping::Map(lane.state, lane.geometry.state_bytes(), Access::kReadWrite);
  if (!state.ok()) return state.status();
  return std::make_shared<IncomingCells>(lane.id, lane.sender_id, /*same_user=*/false,
                                         std::make_shared<const CellMemory>(CellMemory{
                                             lane.geometry, *std::move(data), *std::move(state)}),
                                         /*by_agent=*/lane.sender.kind != Endpoint::Kind::kProcess);
}

absl::Status Broker::StartRemoteReceiver(const LocalMailbox& mailbox, const std::string& node,
                                         uint64_t key, const RemoteReceiverEntry& entry) {
  RemoteReceiver receiver;
  receiver.key = key;
  receiver.peer_node = node;
  receiver.peer_incarnation = registry_->PeerIncarnation(node);
  receiver.queue = std::make_shared<MailboxQueue>(entry.number);
  absl::StatusOr<Mapping> control = mailbox.destination.MapControl();
  if (!control.ok()) return control.status();
  absl::StatusOr<Mapping> bell = mailbox.destination.MapBell();
  if (!bell.ok()) return bell.status();
  absl::StatusOr<Mapping> gate = mailbox.destination.MapGate();
  if (!gate.ok()) return gate.status();
  receiver.control = *std::move(control);
  receiver.bell = *std::move(bell);
  receiver.gate = *std::move(gate);
  const uint32_t version = mailbox.destination.version();
  receiver.queue->Reach(version);
  for (const uint64_t id : mailbox.lanes) {
    absl::StatusOr<std::shared_ptr<IncomingLane>> lane = MapForQueue(*registry_->FindLane(id));
    if (!lane.ok()) return lane.status();
    receiver.queue->Join(*std::move(lane), version);
  }
  remote_queues_[{node, key}] = receiver.queue;
  carrier_->AddReceiver(std::move(receiver));
  return absl::OkStatus();
}

absl::Status Broker::OpenRemoteReceiver(LocalMailbox* mailbox, const std::string& node,
                                        uint64_t key, const ProcessId& receiver) {
  const auto [entry, added] = mailbox->remote_receivers.try_emplace({node, key});
  if (!added) return absl::OkStatus();
  entry->second.number = registry_->NewNumber();
  entry->second.process = receiver;
  registry_->SaveMailbox(*mailbox);
  absl::Status status = StartRemoteReceiver(*mailbox, node, key, entry->second);
  if (!status.ok()) mailbox->remote_receivers.erase(entry);
  return status;
}

void Broker::CloseRemoteReceiver(const std::string& node, uint64_t key) {
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    const auto entry = mailbox->remote_receivers.find({node, key});
    if (entry == mailbox->remote_receivers.end()) continue;
    const uint32_t number = entry->second.number;
    mailbox->remote_receivers.erase(entry);
    remote_queues_.erase({node, key});
    carrier_->RemoveReceiver(node, key, /*tell=*/false);
    registry_->SaveMailbox(*mailbox);
    ReleaseClaims(*mailbox, number);
    return;
  }
}

absl::StatusOr<Proxy*> Broker::AddProxy(LocalProcess* process, const std::string& node,
                                        const std::string& mailbox, const MailboxOptions& options) {
  absl::StatusOr<Proxy*> proxy = registry_->AddProxy(process, node, mailbox, options);
  if (!proxy.ok()) return proxy;
  control::Notice notice;
  control::LaneJoined* joined = notice.mutable_lane_joined();
  joined->set_lane_id((*proxy)->lane_id);
  Encode((*proxy)->geometry, joined->mutable_geometry());
  ToProto(registry_->agent_id(), joined->mutable_sender());
  joined->set_same_user(true);
  joined->set_by_agent(true);
  notice.set_destination_id((*proxy)->id);
  notice.set_members_version((*proxy)->destination.next_version());
  std::vector<Fd> fds;
  absl::StatusOr<Fd> data = OpenReadOnly((*proxy)->data);
  if (!data.ok()) return data.status();
  fds.push_back(*std::move(data));
  fds.push_back((*proxy)->state.Duplicate());
  options_.notify(process->number, std::move(notice), std::move(fds));
  (*proxy)->destination.BumpVersion();
  return proxy;
}

}  // namespace mailrail
