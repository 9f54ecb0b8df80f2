#include "node/agent/broker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {

using internal::ToProto;

Broker::Broker(Options options, Loop* loop, Registry* registry, const Destination* carrier_bell)
    : options_(std::move(options)),
      loop_(loop),
      registry_(registry),
      carrier_bell_(carrier_bell),
      links_({options_.notify, options_.log, options_.link_ended, options_.budget}, registry,
             carrier_bell),
      mover_([this](LocalMailbox* mailbox) { return AgentLane(mailbox); }, registry),
      sweeper_({options_.log}, loop, registry, &mover_),
      browser_({[this](uint64_t mailbox, uint64_t lane, int priority, uint32_t slot,
                       const CellState& state) {
                 return sweeper_.EndOfLease(mailbox, lane, priority, slot, state);
               }},
               loop, registry, &mover_),
      distributor_(
          {options_.log,
           [this](uint64_t mailbox) { loop_->Post([this, mailbox] { LookAtMailbox(mailbox); }); },
           [this](uint64_t mailbox) {
             loop_->Post([this, mailbox] { OnDistributorDropped(mailbox); });
           }}) {}

Broker::~Broker() = default;

absl::StatusOr<MailboxLane*> Broker::JoinMailbox(LocalMailbox* mailbox, const Endpoint& sender,
                                                 const ProcessId& sender_id, uint32_t uid,
                                                 uint64_t origin_lane) {
  if (MailboxLane* lane = registry_->FindLane(mailbox->id, sender, origin_lane)) return lane;
  if (absl::Status status = CheckAssociate(*mailbox, sender_id); !status.ok()) return status;
  if (mailbox->broadcasts()) {
    if (absl::Status status = StartDistribution(mailbox); !status.ok()) return status;
  }
  absl::StatusOr<MailboxLane*> lane =
      registry_->AddLane(mailbox, sender, sender_id, uid, origin_lane);
  if (!lane.ok()) return lane;
  if (mailbox->options.pipe && sender.kind != Endpoint::Kind::kAgent && !mailbox->written) {
    mailbox->written = true;
    registry_->SaveMailbox(*mailbox);
  }
  // First every receiver has the lane in its socket, then the version says so, then the sender is
  // granted: so no receiver can miss a message of it.
  const uint32_t version = mailbox->destination.next_version();
  if (mailbox->broadcasts()) {
    absl::StatusOr<std::shared_ptr<IncomingCells>> incoming = MapCells(**lane);
    if (!incoming.ok()) {
      registry_->RemoveLane((*lane)->id);
      return incoming.status();
    }
    distributor_.Join(mailbox->id, *std::move(incoming), version);
  }
  for (const uint32_t number : mailbox->receivers) NotifyLane(*mailbox, **lane, number, version);
  for (const auto& [name, entry] : mailbox->remote_receivers) {
    const auto queue = remote_queues_.find(name);
    if (queue == remote_queues_.end()) continue;
    absl::StatusOr<std::shared_ptr<IncomingCells>> incoming = MapCells(**lane);
    if (incoming.ok()) {
      queue->second->Join(*std::move(incoming), version);
    } else {
      loop_->Post([this, name = name] { CatchUpRemoteReceiver(name.first, name.second); });
    }
  }
  // What is one queue, and not in one lane's order, needs stamps.
  if (mailbox->lanes.size() > 1 && mailbox->options.order == MailboxOrder::kQueue) {
    mailbox->destination.page()->stamped.store(1);
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
  options_.notify(number, std::move(notice),
                  [this, id = lane.id]() -> absl::StatusOr<std::vector<Fd>> {
                    const MailboxLane* joined_lane = registry_->FindLane(id);
                    if (joined_lane == nullptr) return absl::NotFoundError("the lane has ended");
                    return ReadingEnd(joined_lane->data, joined_lane->state);
                  });
}

absl::StatusOr<std::vector<Fd>> Broker::GrantLane(const LocalMailbox& mailbox,
                                                  const MailboxLane& lane,
                                                  control::LaneGrant* grant) {
  grant->set_lane_id(lane.id);
  Encode(lane.geometry, grant->mutable_geometry());
  ToProto(mailbox.options, grant->mutable_spec());
  grant->set_mailbox(PublicName(mailbox));
  absl::StatusOr<std::vector<Fd>> destination = mailbox.destination.GrantSender();
  if (!destination.ok()) return destination.status();
  std::vector<Fd> fds;
  fds.push_back(lane.data.Duplicate());
  fds.push_back(lane.state.Duplicate());
  for (Fd& fd : *destination) fds.push_back(std::move(fd));
  return AllOpen(std::move(fds));
}

absl::Status Broker::OpenReceiver(LocalProcess* process, LocalMailbox* mailbox, bool leases) {
  if (absl::Status status = CheckAssociate(*mailbox, process->id); !status.ok()) return status;
  if (!mailbox->receivers.contains(process->number)) {
    if (absl::Status status = CheckAssigned(*mailbox); !status.ok()) return status;
  }
  if (absl::Status status = registry_->AddReceiver(mailbox, process, leases); !status.ok()) {
    return status;
  }
  if (leases) sweeper_.Look(mailbox->id);
  const uint32_t version = mailbox->destination.version();
  for (const uint64_t id : mailbox->lanes) {
    NotifyLane(*mailbox, *registry_->FindLane(id), process->number, version);
  }
  OnReceiversChanged(mailbox);
  return absl::OkStatus();
}

void Broker::CloseReceiver(LocalProcess* process, uint64_t destination_id) {
  if (process->proxies.contains(destination_id)) {
    carrier_->RemoveProxy(registry_->FindProxy(destination_id)->node, destination_id);
    registry_->RemoveProxy(destination_id);
    return;
  }
  LocalMailbox* mailbox = registry_->FindMailbox(destination_id);
  if (mailbox == nullptr) return;
  if (mailbox->subscription()) {
    if (mailbox->receivers.contains(process->number)) DestroyMailbox(mailbox);
    return;
  }
  registry_->CloseReceiver(mailbox, process->number);
  // None of the process's receives of it is under way, or it would not have closed it.
  OnReceiversChanged(mailbox);
}

void Broker::LookAtLane(uint64_t lane_id) {
  if (const MailboxLane* lane = registry_->FindLane(lane_id)) return LookAtMailbox(lane->mailbox);
  // The lanes of a sender to all subscriptions go by the id of their mailbox.
  const LocalMailbox* const broadcast = registry_->FindMailbox(lane_id);
  if (broadcast == nullptr) return;
  for (const uint64_t id : broadcast->subscriptions) LookAtMailbox(id);
}

absl::Status Broker::ExtendLease(LocalProcess* process, const control::ExtendLease& lease) {
  if (process->proxies.contains(lease.destination_id())) {
    carrier_->ExtendLease(
        lease.destination_id(), static_cast<int>(lease.priority()), lease.sequence(),
        absl::Milliseconds(
            static_cast<int64_t>(std::min<uint64_t>(lease.time_ms(), uint64_t{1} << 40))));
    return absl::OkStatus();
  }
  return sweeper_.Extend(process->number, lease);
}

uint64_t Broker::DestroyMailbox(LocalMailbox* mailbox, CloseReason reason) {
  // First closed: who publishes later takes its message back. So what is counted is what is lost.
  mailbox->destination.Close(reason);
  carrier_->Poke();
  distributor_.RemoveTarget(mailbox->broadcast_mailbox, mailbox->id);
  distributor_.RemoveSource(mailbox->id);
  const CellReader::Counts counts = CountOwn(*mailbox);
  const uint64_t dropped = counts.left() + DestroySubscriptions(*mailbox, reason);
  // What a receiver leaves behind was nobody else's.
  if (dropped > 0 && !mailbox->subscription()) {
    options_.log(absl::StrCat("mailbox ", mailbox->name, " was destroyed",
                              reason == CloseReason::kOwnerGone ? ", as its owner is gone," : "",
                              " with ", dropped, " messages in it"));
  }
  for (const auto& [name, entry] : mailbox->remote_receivers) {
    carrier_->RemoveReceiver(name.first, name.second, /*tell=*/true);
    remote_queues_.erase(name);
  }
  sweeper_.ForgetMailbox(*mailbox);
  const std::set<uint64_t> lanes = mailbox->lanes;
  for (const uint64_t id : lanes) {
    // A lane of another node the carrier finds closed, and tells its origin.
    agent_lanes_.erase(id);
    swept_.erase(id);
    registry_->RemoveLane(id);
  }
  if (options_.mailbox_destroyed) options_.mailbox_destroyed(*mailbox);
  CountForBroadcast(*mailbox, counts);
  const uint64_t broadcast_id = mailbox->broadcast_mailbox;
  registry_->RemoveMailbox(mailbox->id);
  if (const LocalMailbox* const broadcast = registry_->FindMailbox(broadcast_id)) {
    CountSubscriptions(*broadcast);
    carrier_->Poke();
  }
  return dropped;
}

absl::Status Broker::StartRemoteReceiver(const LocalMailbox& mailbox, const std::string& node,
                                         uint64_t key, const RemoteReceiverEntry& entry) {
  RemoteReceiver receiver;
  receiver.key = key;
  receiver.peer_node = node;
  receiver.mailbox = mailbox.id;
  receiver.options = mailbox.options;
  receiver.leases = entry.leases;
  receiver.peer_incarnation = registry_->PeerIncarnation(node);
  receiver.queue = std::make_shared<MailboxQueue>(entry.number);
  receiver.queue->set_max_attempts(mailbox.options.max_attempts);
  receiver.queue->set_order(mailbox.options.order);
  // One that is cut off has no place: nobody else's number is its own.
  receiver.cut_off = entry.place == 0;
  const uint32_t number = receiver.cut_off ? entry.number : mailbox.order.at(entry.place);
  if (mailbox.options.policy == ReceivePolicy::kExclusive) receiver.queue->RequireHolder(number);
  receiver.queue->Distribute(mailbox.options.distribution, number);
  if (mailbox.options.hold_order) {
    absl::StatusOr<Mapping> mapped = mailbox.destination.MapGate();
    if (!mapped.ok()) return mapped.status();
    const auto gate = std::make_shared<Mapping>(*std::move(mapped));
    receiver.queue->HoldOrder(
        std::shared_ptr<GateWord>(gate, reinterpret_cast<GateWord*>(gate->data())));
  }
  absl::StatusOr<DestinationMemory> memory = mailbox.destination.MapSender(mailbox.destination);
  if (!memory.ok()) return memory.status();
  receiver.control = std::move(memory->control);
  receiver.bell = std::move(memory->bell);
  receiver.gate = std::move(memory->gate);
  const uint32_t version = mailbox.destination.version();
  receiver.queue->Reach(version);
  for (const uint64_t id : mailbox.lanes) {
    absl::StatusOr<std::shared_ptr<IncomingCells>> lane = MapCells(*registry_->FindLane(id));
    if (absl::IsResourceExhausted(lane.status())) return lane.status();
    if (!lane.ok()) continue;  // its sender has made it unusable, for itself
    receiver.queue->Join(*std::move(lane), version);
  }
  remote_queues_[{node, key}] = receiver.queue;
  carrier_->AddReceiver(std::move(receiver));
  return absl::OkStatus();
}

absl::Status Broker::OpenRemoteReceiver(LocalMailbox* mailbox, const std::string& node,
                                        uint64_t key, const ProcessId& receiver, bool leases) {
  if (mailbox->broadcasts()) {
    if (FindSubscription(*mailbox, node, key) != nullptr) return absl::OkStatus();
    const absl::StatusOr<LocalMailbox*> own = Subscribe(mailbox, 0, 0);
    if (!own.ok()) return own.status();
    const absl::Status status = OpenRemoteReceiver(*own, node, key, receiver, leases);
    if (!status.ok()) DestroyMailbox(*own);
    return status;
  }
  if (mailbox->remote_receivers.contains({node, key})) return absl::OkStatus();
  if (absl::Status status = CheckAssociate(*mailbox, receiver); !status.ok()) return status;
  if (absl::Status status = CheckAssigned(*mailbox); !status.ok()) return status;
  if (absl::Status status = registry_->AddRemoteReceiver(mailbox, node, key, receiver, leases);
      !status.ok()) {
    return status;
  }
  absl::Status status =
      StartRemoteReceiver(*mailbox, node, key, mailbox->remote_receivers.at({node, key}));
  if (!status.ok()) {
    registry_->RemoveRemoteReceiver(mailbox, node, key);
    return status;
  }
  OnReceiversChanged(mailbox);
  return absl::OkStatus();
}

void Broker::CatchUpRemoteReceiver(const std::string& node, uint64_t key) {
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    const auto entry = mailbox->remote_receivers.find({node, key});
    if (entry == mailbox->remote_receivers.end()) continue;
    const absl::Status status = StartRemoteReceiver(*mailbox, node, key, entry->second);
    if (status.ok()) return;
    options_.log(absl::StrCat("a receiver of node ", node, " waits for a lane of mailbox ",
                              mailbox->name, ": ", status.message()));
    loop_->RunAfter(absl::Seconds(1), [this, node, key] { CatchUpRemoteReceiver(node, key); });
    return;
  }
}

void Broker::CloseRemoteReceiver(const std::string& node, uint64_t key) {
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    const auto entry = mailbox->remote_receivers.find({node, key});
    if (entry == mailbox->remote_receivers.end()) continue;
    remote_queues_.erase({node, key});
    carrier_->RemoveReceiver(node, key, /*tell=*/false);
    WithdrawRight(mailbox.get(), entry->second);
    // First its claims: an agent that dies in between knows whose they are.
    ReleaseClaims(*mailbox, entry->second.number);
    registry_->RemoveRemoteReceiver(mailbox.get(), node, key);
    if (mailbox->subscription()) {
      DestroyMailbox(mailbox.get());
      return;
    }
    OnReceiversChanged(mailbox.get());
    return;
  }
}

absl::StatusOr<Proxy*> Broker::AddProxy(LocalProcess* process, const std::string& node,
                                        const std::string& mailbox, const MailboxOptions& options,
                                        bool leases) {
  absl::StatusOr<Proxy*> proxy = registry_->AddProxy(process, node, mailbox, options, leases);
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
  absl::StatusOr<std::vector<Fd>> fds = ReadingEnd((*proxy)->data, (*proxy)->state);
  if (!fds.ok()) {
    registry_->RemoveProxy((*proxy)->id);
    return fds.status();
  }
  options_.notify(process->number, std::move(notice), OpenedFds(*std::move(fds)));
  (*proxy)->destination.BumpVersion();
  return proxy;
}

}  // namespace mailrail
