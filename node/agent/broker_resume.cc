// The broker's part after a restart: makes whole what a death has cut in two.
#include <utility>

#include "absl/strings/str_cat.h"
#include "node/agent/broker.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {

void Broker::RemoveLostLanes() {
  std::vector<uint64_t> lost;
  for (const auto& [id, lane] : registry_->lanes()) {
    if (registry_->FindMailbox(lane->mailbox) == nullptr) {
      lost.push_back(id);
    } else if (lane->sender.kind == Endpoint::Kind::kProcess &&
               registry_->FindProcess(lane->sender.number) == nullptr) {
      registry_->OrphanLane(lane.get());
    }
  }
  for (const uint64_t id : lost) registry_->RemoveLane(id);
}

void Broker::ReleaseLostClaims() {
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    std::set<uint32_t> holders;
    for (const auto& [name, entry] : mailbox->remote_receivers) holders.insert(entry.number);
    if (mailbox->distributor != 0) holders.insert(mailbox->distributor);
    const auto gone = [&](uint32_t owner) {
      return !holders.contains(owner) && registry_->FindProcess(owner) == nullptr;
    };
    const uint32_t holder = mailbox->destination.page()->holder.load();
    if (gone(holder)) WithdrawRight(mailbox.get(), holder);
    for (const uint64_t lane : mailbox->lanes) {
      absl::StatusOr<std::shared_ptr<IncomingCells>> cells = MapCells(*registry_->FindLane(lane));
      if (cells.ok()) (*cells)->reader().ReleaseClaimsIf(gone);
    }
    for (const std::set<uint32_t>* numbers : {&mailbox->receivers, &mailbox->former_receivers}) {
      for (const uint32_t number : std::set<uint32_t>(*numbers)) {
        if (registry_->FindProcess(number) == nullptr) {
          registry_->RemoveReceiver(mailbox.get(), number);
        }
      }
    }
  }
}

void Broker::NotifyMembers(LocalMailbox* mailbox) {
  const uint32_t version = mailbox->destination.next_version();
  for (const uint32_t number : mailbox->receivers) {
    // The agent before this one may have died before it told of some of them. Who has read of one
    // must not take itself for one that knows all: it might not read on while it has messages.
    for (const uint64_t lane : mailbox->lanes) {
      NotifyLane(*mailbox, *registry_->FindLane(lane), number, mailbox->destination.past_version());
    }
    // A mailbox without lanes too: its receivers must reach the version.
    NotifyEnded(options_.notify, number, mailbox->destination, mailbox->id, 0);
  }
  for (const auto& [name, entry] : mailbox->remote_receivers) {
    const auto queue = remote_queues_.find(name);
    if (queue != remote_queues_.end()) queue->second->Reach(version);
  }
  distributor_.Reach(mailbox->id, mailbox->destination.next_version());
  mailbox->destination.BumpVersion();
  mailbox->destination.Ring();
}

void Broker::Resume() {
  RemoveLostLanes();
  std::vector<uint64_t> broadcasts;
  std::vector<uint64_t> closed;
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    const bool lost = mailbox->options.owned && registry_->FindProcess(mailbox->creator) == nullptr;
    if (lost) mailbox->destination.Close(CloseReason::kOwnerGone);
    if (mailbox->destination.closed()) closed.push_back(id);
  }
  for (const uint64_t id : closed) {
    // It may have gone with its broadcast mailbox.
    LocalMailbox* const mailbox = registry_->FindMailbox(id);
    if (mailbox != nullptr) DestroyMailbox(mailbox, mailbox->destination.reason());
  }
  ReleaseLostClaims();
  DestroyLostSubscriptions();
  links_.Resume();
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    for (const auto& [name, entry] : mailbox->remote_receivers) {
      if (absl::Status status = StartRemoteReceiver(*mailbox, name.first, name.second, entry);
          !status.ok()) {
        options_.log(absl::StrCat("remote receiver of ", mailbox->name, ": ", status.ToString()));
      }
    }
  }
  for (const auto& [id, mailbox] : registry_->mailboxes()) OnReceiversChanged(mailbox.get());
  for (const auto& [id, proxy] : registry_->proxies()) StartProxy(*proxy);
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    if (mailbox->distributor != 0) broadcasts.push_back(id);
  }
  for (const uint64_t id : broadcasts) ResumeDistribution(id);
  mover_.Resume();
  sweeper_.Resume();

  // Notices that the agent before this one had not sent yet: all are sent again, and processes
  // leave out what they know.
  links_.NotifyAll();
  for (const auto& [id, mailbox] : registry_->mailboxes()) NotifyMembers(mailbox.get());
  for (const auto& [number, process] : registry_->processes()) {
    NotifyEnded(options_.notify, number, process->inbox, process->inbox_id, 0);
    process->inbox.BumpVersion();
    process->inbox.Ring();
  }
  for (const auto& [id, mailbox] : registry_->mailboxes()) CheckWriters(mailbox.get());
  ScheduleSweep(absl::Milliseconds(20));
}

}  // namespace mailrail
