// The broker's part when something ends: processes, lanes, links; and after a restart.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "node/agent/broker.h"

namespace mailrail {

void Broker::NotifyEnded(uint32_t number, Destination* destination, uint64_t destination_id,
                         uint64_t lane_id, bool bump) {
  control::Notice notice;
  notice.mutable_lane_ended()->set_lane_id(lane_id);
  notice.set_destination_id(destination_id);
  notice.set_members_version(destination->next_version());
  options_.notify(number, std::move(notice), {});
  if (!bump) return;
  destination->BumpVersion();
  destination->Ring();
}

absl::StatusOr<std::unique_ptr<CellReader>> Broker::MapReader(
    const MailboxLane& lane, std::vector<Mapping>* mappings) const {
  absl::StatusOr<Mapping> data =
      Mapping::Map(lane.data, lane.geometry.data_bytes(), Access::kReadOnly);
  if (!data.ok()) return data.status();
  absl::StatusOr<Mapping> state =
      Mapping::Map(lane.state, lane.geometry.state_bytes(), Access::kReadWrite);
  if (!state.ok()) return state.status();
  auto reader = std::make_unique<CellReader>(lane.geometry, data->data(), state->data());
  mappings->push_back(*std::move(data));
  mappings->push_back(*std::move(state));
  return reader;
}

void Broker::ReleaseClaims(const LocalMailbox& mailbox, uint32_t number) {
  for (const uint64_t id : mailbox.lanes) {
    std::vector<Mapping> mappings;
    absl::StatusOr<std::unique_ptr<CellReader>> reader =
        MapReader(*registry_->FindLane(id), &mappings);
    if (reader.ok()) (*reader)->ReleaseClaimsOf(number);
  }
  registry_->FindMailbox(mailbox.id)->destination.Ring();
}

uint64_t Broker::EndLink(uint64_t id, uint32_t gone_number) {
  Link* link = registry_->FindLink(id);
  if (link == nullptr) return 0;
  const bool a_gone = link->a.kind == Endpoint::Kind::kProcess && link->a.number == gone_number;
  const uint64_t unreceived = a_gone ? Unreceived(link->memory_b, link->memory_a)
                                     : Unreceived(link->memory_a, link->memory_b);
  if (link->b.remote()) {
    if (link->far.closed()) {
      carrier_->RemoveOutbound(id);
      registry_->RemoveLink(id);
    } else {
      // What the dead had sent is carried on; OnLaneFinished removes the link.
      link->finishing = true;
      registry_->SaveLink(*link);
      carrier_->FinishOutbound(id);
    }
    return unreceived;
  }
  for (const Endpoint* end : {&link->a, &link->b}) {
    LocalProcess* other = registry_->FindProcess(end->number);
    if (other == nullptr || other->number == gone_number) continue;
    // It has the memory mapped, or in its socket: what the dead had sent it still receives.
    NotifyEnded(other->number, &other->inbox, other->inbox_id, id, true);
  }
  agent_lanes_.erase(id);
  registry_->RemoveLink(id);
  return unreceived;
}

void Broker::ProcessGone(uint32_t number) {
  LocalProcess* process = registry_->FindProcess(number);
  if (process == nullptr) return;
  // First closed, so that senders find out; then its claims are void.
  process->inbox.Close(CloseReason::kProcessGone);
  carrier_->Poke();
  for (const uint64_t id :
       std::vector<uint64_t>(process->mailboxes.begin(), process->mailboxes.end())) {
    LocalMailbox* mailbox = registry_->FindMailbox(id);
    if (mailbox == nullptr) continue;
    mailbox->receivers.erase(number);
    registry_->SaveMailbox(*mailbox);
    ReleaseClaims(*mailbox, number);
  }
  for (const uint64_t id :
       std::vector<uint64_t>(process->proxies.begin(), process->proxies.end())) {
    carrier_->RemoveProxy(registry_->FindProxy(id)->node, id);
    registry_->RemoveProxy(id);
  }
  uint64_t unreceived = 0;
  for (const uint64_t id : std::vector<uint64_t>(process->links.begin(), process->links.end())) {
    unreceived += EndLink(id, number);
  }
  if (unreceived > 0) {
    options_.log(absl::StrCat("process ", process->id.ToString(), " is gone with up to ",
                              unreceived, " messages in its inbox"));
  }
  for (const uint64_t id : process->lanes) {
    MailboxLane* lane = registry_->FindLane(id);
    if (lane == nullptr) continue;
    lane->orphaned = true;
    registry_->SaveLane(*lane);
    ScheduleSweep(absl::Milliseconds(20));
    // A sender that was stopped between publishing and ringing has died: look now.
    if (LocalMailbox* mailbox = registry_->FindMailbox(lane->mailbox)) {
      mailbox->destination.Ring();
    }
  }
  registry_->RemoveProcess(number);
}

void Broker::ScheduleSweep(absl::Duration delay) {
  sweep_delay_ = delay;
  if (sweep_scheduled_) return;
  sweep_scheduled_ = true;
  loop_->RunAfter(delay, [this] {
    sweep_scheduled_ = false;
    Sweep();
  });
}

void Broker::Sweep() {
  std::vector<uint64_t> drained;
  bool left = false;
  for (const auto& [id, lane] : registry_->lanes()) {
    if (!lane->orphaned) continue;
    std::vector<Mapping> mappings;
    absl::StatusOr<std::unique_ptr<CellReader>> reader = MapReader(*lane, &mappings);
    const CellReader::Counts counts = reader.ok() ? (*reader)->Count() : CellReader::Counts();
    if (reader.ok() && counts.waiting + counts.leased == 0) {
      drained.push_back(id);
    } else {
      left = true;
    }
  }
  for (const uint64_t id : drained) EndLane(id);
  if (left) {
    ScheduleSweep(drained.empty() ? std::min(2 * sweep_delay_, absl::Duration(absl::Seconds(1)))
                                  : absl::Milliseconds(20));
  }
}

void Broker::EndLane(uint64_t lane_id) {
  const MailboxLane* lane = registry_->FindLane(lane_id);
  LocalMailbox* mailbox = registry_->FindMailbox(lane->mailbox);
  if (mailbox != nullptr) {
    const uint32_t version = mailbox->destination.next_version();
    for (const uint32_t number : mailbox->receivers) {
      NotifyEnded(number, &mailbox->destination, mailbox->id, lane_id, false);
    }
    for (const auto& [name, entry] : mailbox->remote_receivers) {
      const auto queue = remote_queues_.find(name);
      if (queue != remote_queues_.end()) queue->second->End(lane_id, version);
    }
    mailbox->destination.BumpVersion();
  }
  agent_lanes_.erase(lane_id);
  registry_->RemoveLane(lane_id);
}

CellReader::Counts Broker::Count(const LocalMailbox& mailbox) {
  CellReader::Counts sum;
  for (const uint64_t id : mailbox.lanes) {
    std::vector<Mapping> mappings;
    absl::StatusOr<std::unique_ptr<CellReader>> reader =
        MapReader(*registry_->FindLane(id), &mappings);
    if (!reader.ok()) continue;
    const CellReader::Counts counts = (*reader)->Count();
    sum.waiting += counts.waiting;
    sum.leased += counts.leased;
    sum.sent += counts.sent;
  }
  return sum;
}

uint64_t Broker::Purge(LocalMailbox* mailbox) {
  MailboxQueue queue(registry_->NewNumber());
  const uint32_t version = mailbox->destination.version();
  queue.Reach(version);
  for (const uint64_t id : mailbox->lanes) {
    absl::StatusOr<std::shared_ptr<IncomingLane>> lane = MapForQueue(*registry_->FindLane(id));
    if (lane.ok()) queue.Join(*std::move(lane), version);
  }
  uint64_t purged = 0;
  Lease lease;
  // Senders may send on while we purge: what was there at first is enough.
  const uint64_t waiting = Count(*mailbox).waiting;
  while (purged < waiting &&
         queue.TakeLease(*mailbox->destination.page(), &lease) == ReceiveQueue::Taken::kMessage) {
    queue.Finish(lease, MailboxQueue::Outcome::kReceived);
    ++purged;
  }
  return purged;
}

void Broker::Resume() {
  // What a death in the middle of a change has left.
  std::vector<uint64_t> lost_lanes;
  for (const auto& [id, lane] : registry_->lanes()) {
    if (registry_->FindMailbox(lane->mailbox) == nullptr) {
      lost_lanes.push_back(id);
    } else if (lane->sender.kind == Endpoint::Kind::kProcess &&
               registry_->FindProcess(lane->sender.number) == nullptr) {
      lane->orphaned = true;
    }
  }
  for (const uint64_t id : lost_lanes) registry_->RemoveLane(id);
  std::vector<uint64_t> links;
  for (const auto& [id, link] : registry_->links()) links.push_back(id);
  for (const uint64_t id : links) {
    Link* link = registry_->FindLink(id);
    const auto missing = [&](const Endpoint& end) {
      return end.kind == Endpoint::Kind::kProcess && registry_->FindProcess(end.number) == nullptr;
    };
    if (link->b.remote() && !link->far.closed()) StartOutbound(*link, true);
    if (missing(link->a)) {
      EndLink(id, link->a.number);
    } else if (missing(link->b)) {
      EndLink(id, link->b.number);
    }
  }
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    std::vector<uint32_t> missing;
    for (const uint32_t number : mailbox->receivers) {
      if (registry_->FindProcess(number) == nullptr) missing.push_back(number);
    }
    for (const uint32_t number : missing) {
      mailbox->receivers.erase(number);
      ReleaseClaims(*mailbox, number);
    }
    for (const auto& [name, entry] : mailbox->remote_receivers) {
      if (absl::Status status = StartRemoteReceiver(*mailbox, name.first, name.second, entry);
          !status.ok()) {
        options_.log(absl::StrCat("remote receiver of ", mailbox->name, ": ", status.ToString()));
      }
    }
  }
  for (const auto& [id, proxy] : registry_->proxies()) StartProxy(*proxy);

  // Notices that the agent before this one had not sent yet: all are sent again, and processes
  // leave out what they know.
  for (const auto& [id, link] : registry_->links()) {
    if (link->b.kind == Endpoint::Kind::kRemoteMailbox) continue;
    NotifyLink(*link, true);
    if (link->a.Key() != link->b.Key()) NotifyLink(*link, false);
  }
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    const uint32_t version = mailbox->destination.next_version();
    for (const uint32_t number : mailbox->receivers) {
      for (const uint64_t lane : mailbox->lanes) {
        NotifyLane(*mailbox, *registry_->FindLane(lane), number, version);
      }
      // A mailbox without lanes too: its receivers must reach the version.
      NotifyEnded(number, &mailbox->destination, id, 0, false);
    }
    for (const auto& [name, entry] : mailbox->remote_receivers) {
      const auto queue = remote_queues_.find(name);
      if (queue != remote_queues_.end()) queue->second->Reach(version);
    }
    mailbox->destination.BumpVersion();
    mailbox->destination.Ring();
  }
  for (const auto& [number, process] : registry_->processes()) {
    NotifyEnded(number, &process->inbox, process->inbox_id, 0, true);
  }
  ScheduleSweep(absl::Milliseconds(20));
}

}  // namespace mailrail
