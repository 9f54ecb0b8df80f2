// The broker's part in who may receive from a mailbox, and whose it is.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "node/agent/broker.h"

namespace mailrail {
namespace {

// How many processes a link has.
constexpr size_t kAssociates = 2;

// When an end of file is tried again for which there was no room.
constexpr absl::Duration kEndAgain = absl::Seconds(1);

}  // namespace

absl::Status Broker::CheckAssociate(const LocalMailbox& mailbox, const ProcessId& process) const {
  if (mailbox.options.policy != ReceivePolicy::kLink) return absl::OkStatus();
  std::set<std::string> associates;
  for (const uint32_t number : mailbox.receivers) {
    if (const LocalProcess* receiver = registry_->FindProcess(number)) {
      associates.insert(receiver->id.ToString());
    }
  }
  for (const auto& [name, entry] : mailbox.remote_receivers)
    associates.insert(entry.process.ToString());
  for (const uint64_t id : mailbox.lanes) {
    const MailboxLane& lane = *registry_->FindLane(id);
    if (!lane.orphaned) associates.insert(lane.sender_id.ToString());
  }
  if (associates.size() < kAssociates || associates.contains(process.ToString())) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("mailbox '", mailbox.name,
                   "' is a link, and has its two processes: ", absl::StrJoin(associates, " and ")));
}

absl::Status Broker::CheckAssigned(const LocalMailbox& mailbox) {
  if (mailbox.options.distribution == Distribution::kLeastBusy ||
      mailbox.order.size() < kMostAssignedReceivers) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("mailbox '", mailbox.name, "' assigns its messages to its receivers, and has ",
                   kMostAssignedReceivers, " of them"));
}

void Broker::Close(LocalProcess* process, uint64_t id) {
  if (!process->lanes.contains(id) && !process->links.contains(id)) {
    return CloseReceiver(process, id);
  }
  if (MailboxLane* lane = registry_->FindLane(id)) return OrphanLane(lane);
  links_.LetGo(*process, id);
}

void Broker::CheckWriters(LocalMailbox* mailbox) {
  if (!mailbox->written) return;
  for (const uint64_t id : mailbox->lanes) {
    const MailboxLane& lane = *registry_->FindLane(id);
    if (!lane.orphaned && lane.sender.kind != Endpoint::Kind::kAgent) return;
  }
  // Behind all that was written, by its stamp. An agent that dies before it has noted that adds
  // another one at its restart.
  const absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = AgentLane(mailbox);
  const absl::Status sent =
      lane.ok() ? (*lane)->Send(0, {"", ""}, absl::InfinitePast()) : lane.status();
  if (!sent.ok()) {
    // It is short of something, or of room, as nobody has read many ends before.
    loop_->RunAfter(kEndAgain, [this, id = mailbox->id] {
      if (LocalMailbox* const pipe = registry_->FindMailbox(id)) CheckWriters(pipe);
    });
    return;
  }
  mailbox->written = false;
  registry_->SaveMailbox(*mailbox);
}

void Broker::OnReceiversChanged(LocalMailbox* mailbox) {
  const std::map<uint64_t, uint32_t>& order = mailbox->order;
  const auto receivers = static_cast<uint32_t>(order.size());
  mailbox->destination.page()->receivers.store(receivers + 1);
  if (mailbox->options.policy == ReceivePolicy::kExclusive) {
    mailbox->destination.SetHolder(order.empty() ? 0 : order.begin()->second);
  }
  if (mailbox->options.distribution != Distribution::kLeastBusy) {
    std::vector<uint32_t> numbers;
    for (const auto& [place, number] : order) numbers.push_back(number);
    mailbox->destination.SetReceivers(numbers);
  }
  if (mailbox->broadcasts()) CountSubscriptions(*mailbox);
  if (const LocalMailbox* const broadcast = registry_->FindMailbox(mailbox->broadcast_mailbox)) {
    CountSubscriptions(*broadcast);
    // Who sends asks which there are now. Of one that has gone it finds out by itself.
    broadcast->destination.page()->subscriptions.fetch_add(1);
  }
  // The carrier receives for processes of other nodes, and tells their senders.
  carrier_->Poke();
}

void Broker::SetFarReceivers(uint64_t link_id, uint32_t count) {
  const Link* link = registry_->FindLink(link_id);
  if (link == nullptr || link->b.kind != Endpoint::Kind::kRemoteMailbox) return;
  link->far.page()->receivers.store(std::min(count, ~uint32_t{0} - 1) + 1);
}

void Broker::WithdrawRight(LocalMailbox* mailbox, uint32_t number) {
  if (mailbox->destination.page()->holder.load() == number) mailbox->destination.SetHolder(0);
}

void Broker::WithdrawRight(LocalMailbox* mailbox, const RemoteReceiverEntry& entry) {
  if (entry.place == 0 || mailbox->CountAt(entry.place) > 1) return;
  WithdrawRight(mailbox, mailbox->order.at(entry.place));
}

LocalMailbox* Broker::FindMailboxOf(const std::string& node, uint64_t key) {
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    if (mailbox->remote_receivers.contains({node, key})) return mailbox.get();
  }
  return nullptr;
}

void Broker::CutOffRemoteReceiver(const std::string& node, uint64_t key) {
  LocalMailbox* const mailbox = FindMailboxOf(node, key);
  if (mailbox == nullptr) return;
  const RemoteReceiverEntry entry = mailbox->remote_receivers.at({node, key});
  if (entry.place == 0) return;
  WithdrawRight(mailbox, entry);
  // The carrier may have claimed for it before that.
  ReleaseClaims(*mailbox, entry.number);
  registry_->MoveRemoteReceiver(mailbox, node, key, /*open=*/false);
  OnReceiversChanged(mailbox);
  // It says when the node is reached again, or is so already.
  CatchUpRemoteReceiver(node, key);
}

void Broker::ReachRemoteReceiver(const std::string& node, uint64_t key) {
  LocalMailbox* const mailbox = FindMailboxOf(node, key);
  if (mailbox == nullptr || mailbox->remote_receivers.at({node, key}).place != 0) return;
  registry_->MoveRemoteReceiver(mailbox, node, key, /*open=*/true);
  // By its new place it may have another number.
  CatchUpRemoteReceiver(node, key);
  OnReceiversChanged(mailbox);
}

void Broker::DestroyMailboxesOf(uint32_t owner) {
  std::vector<LocalMailbox*> owned;
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    if (mailbox->options.owned && mailbox->creator == owner) owned.push_back(mailbox.get());
  }
  for (LocalMailbox* mailbox : owned) DestroyMailbox(mailbox, CloseReason::kOwnerGone);
}

}  // namespace mailrail
