// The broker's part when something ends: processes, lanes, and this agent.
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/message/prefix.h"
#include "core/process/grants.h"
#include "node/agent/broker.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

// So many receivers that are gone are waited for, each with a descriptor; of more the one that has
// been gone for longest is not.
constexpr size_t kMaxSurvivors = 256;

void AddTo(CellReader::Counts* sum, const CellReader::Counts& counts) {
  sum->waiting += counts.waiting;
  sum->leased += counts.leased;
  sum->delayed += counts.delayed;
  sum->condemned += counts.condemned;
  sum->dropped += counts.dropped;
  sum->sent += counts.sent;
}

}  // namespace

void Broker::ReleaseClaims(const LocalMailbox& mailbox, uint32_t number) {
  for (const uint64_t id : mailbox.lanes) {
    absl::StatusOr<std::shared_ptr<IncomingCells>> cells = MapCells(*registry_->FindLane(id));
    if (cells.ok()) (*cells)->reader().ReleaseClaimsOf(number);
  }
  registry_->FindMailbox(mailbox.id)->destination.Ring();
  if (mailbox.options.max_attempts != 0) sweeper_.Look(mailbox.id);
}

// It may be in the midst of a claim, which it gives back when it sees that it is gone, unless it
// dies before.
void Broker::AwaitEnd(const LocalProcess& process) {
  if (process.mailboxes.empty() || !process.pidfd.valid()) return;
  if (survivors_.size() >= kMaxSurvivors) {
    loop_->Unwatch(survivors_.begin()->second.pidfd.get());
    survivors_.erase(survivors_.begin());
  }
  const uint32_t number = process.number;
  Survivor& survivor = survivors_[number];
  survivor.pidfd = process.pidfd.Duplicate();
  survivor.mailboxes.assign(process.mailboxes.begin(), process.mailboxes.end());
  loop_->Watch(survivor.pidfd.get(), EPOLLIN, [this, number](uint32_t) {
    const auto ended = survivors_.extract(number);
    loop_->Unwatch(ended.mapped().pidfd.get());
    if (registry_->FindProcess(number) != nullptr) return;  // of another by now
    for (const uint64_t id : ended.mapped().mailboxes) {
      if (const LocalMailbox* mailbox = registry_->FindMailbox(id)) ReleaseClaims(*mailbox, number);
    }
  });
}

void Broker::ProcessGone(uint32_t number, EndReason reason) {
  LocalProcess* process = registry_->FindProcess(number);
  if (process == nullptr) return;
  // First closed, so that senders find out; then its claims are void.
  process->inbox.Close(CloseReason::kProcessGone);
  carrier_->Poke();
  DestroyMailboxesOf(number);
  for (const uint64_t id :
       std::vector<uint64_t>(process->mailboxes.begin(), process->mailboxes.end())) {
    LocalMailbox* mailbox = registry_->FindMailbox(id);
    if (mailbox == nullptr) continue;
    if (mailbox->subscription()) {
      DestroyMailbox(mailbox);
      continue;
    }
    WithdrawRight(mailbox, number);
    // First its claims: an agent that dies in between still knows that it may have some.
    ReleaseClaims(*mailbox, number);
    registry_->RemoveReceiver(mailbox, number);
    OnReceiversChanged(mailbox);
  }
  for (const uint64_t id :
       std::vector<uint64_t>(process->proxies.begin(), process->proxies.end())) {
    carrier_->RemoveProxy(registry_->FindProxy(id)->node, id);
    registry_->RemoveProxy(id);
  }
  if (const uint64_t unreceived = links_.EndProcess(*process, reason); unreceived > 0) {
    options_.log(absl::StrCat("process ", process->id.ToString(), " is gone with up to ",
                              unreceived, " messages in its inbox"));
  }
  for (const uint64_t id : process->lanes) {
    MailboxLane* lane = registry_->FindLane(id);
    if (lane == nullptr) continue;
    OrphanLane(lane);
    // A sender that was stopped between publishing and ringing has died: look now.
    if (LocalMailbox* mailbox = registry_->FindMailbox(lane->mailbox)) {
      mailbox->destination.Ring();
    }
  }
  if (options_.process_gone) options_.process_gone(*process, reason);
  registry_->RemoveProcess(number);
}

void Broker::OrphanLane(MailboxLane* lane) {
  registry_->OrphanLane(lane);
  if (LocalMailbox* mailbox = registry_->FindMailbox(lane->mailbox)) CheckWriters(mailbox);
  ScheduleSweep(absl::Milliseconds(20));
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
    std::shared_ptr<IncomingCells>& cells = swept_[id];
    if (cells == nullptr) {
      absl::StatusOr<std::shared_ptr<IncomingCells>> mapped = MapCells(*lane);
      if (mapped.ok()) cells = *std::move(mapped);
    }
    if (cells != nullptr) {
      const CellReader::Counts counts = cells->reader().Count();
      if (counts.left() > 0) {
        left = true;
        // It may have died before it said so.
        if (counts.delayed + counts.condemned > 0) LookAtMailbox(lane->mailbox);
        continue;
      }
    } else {
      options_.log(absl::StrCat("lane ", id, " of ", lane->sender_id.ToString(),
                                ", which is gone, cannot be mapped: it is dropped"));
    }
    drained.push_back(id);
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
    if (const uint64_t dropped = CountDropped(*lane); dropped > 0) {
      mailbox->dropped += dropped;
      registry_->SaveMailbox(*mailbox);
    }
    const uint32_t version = mailbox->destination.next_version();
    for (const uint32_t number : mailbox->receivers) {
      NotifyEnded(options_.notify, number, mailbox->destination, mailbox->id, lane_id);
    }
    for (const auto& [name, entry] : mailbox->remote_receivers) {
      const auto queue = remote_queues_.find(name);
      if (queue != remote_queues_.end()) queue->second->End(lane_id, version);
    }
    distributor_.End(mailbox->id, lane_id, version);
    mailbox->destination.BumpVersion();
  }
  agent_lanes_.erase(lane_id);
  swept_.erase(lane_id);
  sweeper_.ForgetLane(lane_id);
  registry_->RemoveLane(lane_id);
}

uint64_t Broker::CountDropped(const MailboxLane& lane) {
  absl::StatusOr<std::shared_ptr<IncomingCells>> cells = MapCells(lane);
  return cells.ok() ? (*cells)->reader().Count().dropped : 0;
}

CellReader::Counts Broker::Count(const LocalMailbox& mailbox) {
  CellReader::Counts sum = CountOwn(mailbox);
  for (const uint64_t id : mailbox.subscriptions) {
    AddTo(&sum, CountOwn(*registry_->FindMailbox(id)));
  }
  return sum;
}

CellReader::Counts Broker::CountOwn(const LocalMailbox& mailbox) {
  CellReader::Counts sum;
  for (const uint64_t id : mailbox.lanes) {
    const auto swept = swept_.find(id);
    absl::StatusOr<std::shared_ptr<IncomingCells>> cells =
        swept != swept_.end() && swept->second != nullptr ? swept->second
                                                          : MapCells(*registry_->FindLane(id));
    if (!cells.ok()) continue;
    AddTo(&sum, (*cells)->reader().Count());
  }
  return sum;
}

void Broker::Describe(const LocalMailbox& mailbox, proto::MailboxState* state) {
  const CellReader::Counts counts = Count(mailbox);
  internal::ToProto(mailbox.options, state->mutable_spec());
  state->set_waiting(counts.waiting);
  state->set_leased(counts.leased);
  state->set_delayed(counts.delayed);
}

uint64_t Broker::Purge(LocalMailbox* mailbox) {
  uint64_t of_subscriptions = 0;
  for (const uint64_t id : mailbox->subscriptions) {
    of_subscriptions += Purge(registry_->FindMailbox(id));
  }
  uint64_t purged = 0;
  const int64_t now_ns = MonotonicTime();
  for (const uint64_t id : mailbox->lanes) {
    absl::StatusOr<std::shared_ptr<IncomingCells>> lane = MapCells(*registry_->FindLane(id));
    if (!lane.ok()) continue;
    CellReader& reader = (*lane)->reader();
    // First all is looked for, so that senders that send on do not keep this busy.
    std::vector<CellReader::Kept> delayed;
    reader.ForEachKept([&](const CellReader::Kept& kept) {
      if (kept.state.phase == Phase::kDelayed) delayed.push_back(kept);
    });
    std::vector<std::pair<int, CellHead>> waiting;
    reader.ForEachWaiting([&](int priority, const CellHead& head, const Record& record) {
      // What has expired goes to the dead letters.
      if (record.has_prefix && HasExpired({record.data, record.length}, now_ns)) return;
      waiting.push_back({priority, head});
    });
    for (const CellReader::Kept& kept : delayed) purged += reader.Discard(kept);
    for (const auto& [priority, head] : waiting) purged += reader.PurgeWaiting(priority, head);
  }
  if (purged > 0) {
    // What it had held up may have come since.
    if (mailbox->options.hold_order) mailbox->destination.Ring();
    mailbox->dropped += purged;
    registry_->SaveMailbox(*mailbox);
  }
  return purged + of_subscriptions;
}

bool Broker::Empty() {
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    const CellReader::Counts counts = Count(*mailbox);
    if (counts.left() > 0) return false;
  }
  return links_.AllCarried();
}

void Broker::CloseAll() {
  distributor_.Stop();
  links_.CloseOutbound(CloseReason::kAgentGone);
  for (const auto& [number, process] : registry_->processes()) {
    process->inbox.Close(CloseReason::kAgentGone);
  }
  for (const auto& [id, proxy] : registry_->proxies()) {
    proxy->destination.Close(CloseReason::kAgentGone);
  }
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    mailbox->destination.Close(CloseReason::kAgentGone);
  }
  // Senders that publish later take their messages back: what is counted is what is lost.
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    const CellReader::Counts counts = Count(*mailbox);
    if (counts.left() == 0) continue;
    options_.log(
        absl::StrCat("mailbox ", mailbox->name, " ends with ", counts.left(), " messages in it"));
  }
  links_.LogUncarried();
}

}  // namespace mailrail
