// The broker's part in broadcast mailboxes. Each receiver of one has a mailbox of its own, a
// subscription, which senders of this node send to, each by a lane to each.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "node/agent/broker.h"
#include "node/agent/limits.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

using internal::ToProto;

// So many are described one by one: their rows fit a packet.
constexpr size_t kMostDescribed = 100;

// Tells the distributor's lane to a subscription from others of the agent's, as an origin's would.
constexpr uint64_t kDistributorsLane = 1;

}  // namespace

absl::StatusOr<LocalMailbox*> Broker::Subscribe(LocalMailbox* mailbox, uint32_t creator,
                                                uint64_t request) {
  for (const uint64_t id : mailbox->subscriptions) {
    LocalMailbox* const known = registry_->FindMailbox(id);
    if (creator != 0 && known->creator == creator && known->creator_request == request) {
      return known;
    }
  }
  if (mailbox->subscriptions.size() >= kMaxSubscriptions) {
    return absl::ResourceExhaustedError(absl::StrCat("mailbox '", mailbox->name, "' has ",
                                                     kMaxSubscriptions, " receivers already"));
  }
  if (registry_->mailboxes().size() >= kMaxMailboxes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "this node has ", kMaxMailboxes, " mailboxes and receivers of broadcast mailboxes"));
  }
  absl::StatusOr<LocalMailbox*> subscription =
      registry_->AddSubscription(mailbox, creator, request);
  if (!subscription.ok() || !distributor_.HasSource(mailbox->id)) return subscription;
  absl::StatusOr<Distributor::Target> target = TargetOf(*subscription);
  if (!target.ok()) {
    DestroyMailbox(*subscription);
    return target.status();
  }
  distributor_.AddTarget(mailbox->id, *std::move(target));
  return subscription;
}

absl::StatusOr<Distributor::Target> Broker::TargetOf(LocalMailbox* subscription) {
  absl::StatusOr<MailboxLane*> cells =
      JoinMailbox(subscription, Endpoint::OfAgent(), registry_->agent_id(), 0, kDistributorsLane);
  if (!cells.ok()) return cells.status();
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane =
      MapCellSender(absl::StrCat("mailbox ", PublicName(*subscription)), subscription->options,
                    (*cells)->geometry, (*cells)->data, (*cells)->state, subscription->destination,
                    options_.budget);
  if (!lane.ok()) return lane.status();
  absl::StatusOr<Mapping> control = subscription->destination.MapControl();
  if (!control.ok()) return control.status();
  return Distributor::Target{subscription->id, subscription->opened_stamp, *std::move(lane),
                             *std::move(control)};
}

absl::Status Broker::StartDistribution(LocalMailbox* mailbox) {
  if (distributor_.HasSource(mailbox->id)) return absl::OkStatus();
  if (mailbox->distributor == 0) {
    const absl::StatusOr<uint32_t> number = registry_->NewNumber();
    if (!number.ok()) return number.status();
    mailbox->distributor = *number;
    registry_->SaveMailbox(*mailbox);
  }
  Distributor::Source source;
  source.mailbox = mailbox->id;
  source.options = mailbox->options;
  absl::StatusOr<DestinationMemory> memory = mailbox->destination.MapSender(mailbox->destination);
  if (!memory.ok()) return memory.status();
  source.memory = *std::move(memory);
  for (const uint64_t id : std::set<uint64_t>(mailbox->subscriptions)) {
    LocalMailbox* const subscription = registry_->FindMailbox(id);
    absl::StatusOr<Distributor::Target> target = TargetOf(subscription);
    if (absl::IsDataLoss(target.status())) {
      // Its receiver's doing, and nobody else's harm.
      options_.log(absl::StrCat("a receiver of mailbox ", mailbox->name,
                                " is cut off: ", target.status().message()));
      DestroyMailbox(subscription);
      continue;
    }
    if (!target.ok()) return target.status();
    source.targets.push_back(*std::move(target));
  }
  source.queue = std::make_shared<MailboxQueue>(mailbox->distributor);
  const uint32_t version = mailbox->destination.version();
  source.queue->Reach(version);
  for (const uint64_t id : mailbox->lanes) {
    absl::StatusOr<std::shared_ptr<IncomingCells>> lane = MapCells(*registry_->FindLane(id));
    if (absl::IsResourceExhausted(lane.status())) return lane.status();
    if (!lane.ok()) continue;  // its sender has made it unusable, for itself
    source.queue->Join(*std::move(lane), version);
  }
  distributor_.AddSource(std::move(source));
  return absl::OkStatus();
}

void Broker::ResumeDistribution(uint64_t id) {
  LocalMailbox* const mailbox = registry_->FindMailbox(id);
  if (mailbox == nullptr) return;
  const absl::Status status = StartDistribution(mailbox);
  if (status.ok()) return;
  options_.log(
      absl::StrCat("what is sent to mailbox ", mailbox->name, " waits: ", status.message()));
  loop_->RunAfter(absl::Seconds(1), [this, id] { ResumeDistribution(id); });
}

void Broker::OnDistributorDropped(uint64_t id) {
  LocalMailbox* const mailbox = registry_->FindMailbox(id);
  if (mailbox == nullptr) return;
  ++mailbox->dropped;
  registry_->SaveMailbox(*mailbox);
}

LocalMailbox* Broker::FindSubscription(const LocalMailbox& mailbox, const std::string& node,
                                       uint64_t key) {
  for (const uint64_t id : mailbox.subscriptions) {
    LocalMailbox* const subscription = registry_->FindMailbox(id);
    if (subscription->remote_receivers.contains({node, key})) return subscription;
  }
  return nullptr;
}

absl::StatusOr<std::vector<Fd>> Broker::GrantGroup(const LocalMailbox& mailbox,
                                                   control::BroadcastGrant* grant) {
  grant->set_mailbox_id(mailbox.id);
  ToProto(mailbox.options, grant->mutable_spec());
  grant->set_mailbox(mailbox.name);
  return mailbox.destination.GrantSender();
}

absl::Status Broker::CheckPublic(const LocalMailbox& mailbox) {
  if (!mailbox.subscription()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", mailbox.name, "' is of one receiver of '",
                                                 PublicName(mailbox), "' alone: use that"));
}

const std::string& Broker::PublicName(const LocalMailbox& mailbox) {
  const LocalMailbox* const broadcast = registry_->FindMailbox(mailbox.broadcast_mailbox);
  return broadcast == nullptr ? mailbox.name : broadcast->name;
}

void Broker::CountSubscriptions(const LocalMailbox& mailbox) {
  const auto subscriptions = static_cast<uint32_t>(mailbox.subscriptions.size());
  mailbox.destination.page()->receivers.store(subscriptions + 1);
}

uint64_t Broker::DestroySubscriptions(const LocalMailbox& mailbox, CloseReason reason) {
  uint64_t dropped = 0;
  for (const uint64_t id : std::set<uint64_t>(mailbox.subscriptions)) {
    dropped += DestroyMailbox(registry_->FindMailbox(id), reason);
  }
  return dropped;
}

void Broker::CountForBroadcast(const LocalMailbox& subscription, const CellReader::Counts& counts) {
  LocalMailbox* const broadcast = registry_->FindMailbox(subscription.broadcast_mailbox);
  if (broadcast == nullptr) return;
  const uint64_t dropped = subscription.dropped + counts.dropped + counts.left();
  if (dropped + subscription.dead_letters == 0) return;
  broadcast->dropped += dropped;
  broadcast->dead_letters += subscription.dead_letters;
  registry_->SaveMailbox(*broadcast);
}

void Broker::DestroyLostSubscriptions() {
  std::vector<uint64_t> lost;
  for (const auto& [id, mailbox] : registry_->mailboxes()) {
    if (!mailbox->subscription()) continue;
    const LocalMailbox* const broadcast = registry_->FindMailbox(mailbox->broadcast_mailbox);
    const bool received = !mailbox->receivers.empty() || !mailbox->remote_receivers.empty();
    if (broadcast == nullptr || !received) lost.push_back(id);
  }
  for (const uint64_t id : lost) DestroyMailbox(registry_->FindMailbox(id));
}

void Broker::DescribeSubscriptions(const LocalMailbox& mailbox, control::MailboxRow* row) {
  std::set<std::string> senders;
  const auto add_senders = [&](const LocalMailbox& of) {
    for (const uint64_t id : of.lanes) {
      const MailboxLane& lane = *registry_->FindLane(id);
      // What the agent itself hands on was sent by others.
      if (&of == &mailbox || lane.sender.kind != Endpoint::Kind::kAgent) {
        senders.insert(lane.sender_id.ToString());
      }
    }
  };
  add_senders(mailbox);
  for (const uint64_t id : mailbox.subscriptions) {
    const LocalMailbox& subscription = *registry_->FindMailbox(id);
    add_senders(subscription);
    row->set_dropped(row->dropped() + subscription.dropped);
    row->set_dead_letters(row->dead_letters() + subscription.dead_letters);
    if (row->subscriptions_size() >= static_cast<int>(kMostDescribed)) continue;
    control::SubscriptionRow* const described = row->add_subscriptions();
    described->set_name(subscription.name);
    const CellReader::Counts counts = Count(subscription);
    described->set_waiting(counts.waiting);
    described->set_leased(counts.leased);
    described->set_dropped(subscription.dropped + counts.dropped);
    for (const uint32_t number : subscription.receivers) {
      if (const LocalProcess* const process = registry_->FindProcess(number)) {
        ToProto(process->id, described->mutable_receiver());
      }
    }
    for (const auto& [name, entry] : subscription.remote_receivers) {
      ToProto(entry.process, described->mutable_receiver());
    }
  }
  row->set_senders(static_cast<uint32_t>(senders.size()));
  row->set_receivers(static_cast<uint32_t>(mailbox.subscriptions.size()));
}

}  // namespace mailrail
