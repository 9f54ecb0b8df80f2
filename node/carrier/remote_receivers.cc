#include "node/carrier/remote_receivers.h"

#include "absl/strings/str_cat.h"
#include "core/message/prefix.h"

namespace mailrail {

bool SameMessage(const proto::LeaseName& a, const proto::LeaseName& b) {
  return a.lane() == b.lane() && a.priority() == b.priority() && a.sequence() == b.sequence();
}

proto::LeaseName RemoteReceivers::NameOf(const Entry& entry) {
  proto::LeaseName name;
  name.set_lane(entry.lease->lane->id());
  name.set_priority(static_cast<uint32_t>(entry.lease->priority));
  name.set_sequence(entry.lease->sequence);
  name.set_attempts(entry.lease->attempts);
  name.set_delivery(entry.delivery);
  return name;
}

RemoteReceivers::Entry* RemoteReceivers::Find(Peer* peer, const Session& session, uint64_t key) {
  const auto found = entries_.find({peer, key});
  if (found == entries_.end()) return nullptr;
  RemoteReceiver& receiver = found->second->receiver;
  if (receiver.peer_incarnation == 0) receiver.peer_incarnation = session.peer_incarnation();
  return receiver.peer_incarnation == session.peer_incarnation() ? found->second.get() : nullptr;
}

void RemoteReceivers::Add(RemoteReceiver receiver, Peer* peer) {
  std::unique_ptr<Entry>& entry = entries_[{peer, receiver.key}];
  if (entry != nullptr) return;  // opened once more: there is nothing new to know
  entry = std::make_unique<Entry>();
  entry->peer = peer;
  entry->parker = Parker(reinterpret_cast<BellWords*>(receiver.bell.data()),
                         reinterpret_cast<GateWord*>(receiver.gate.data()));
  entry->receiver = std::move(receiver);
  // What a carrier before us had leased may be with the receiver.
  for (Lease& held : entry->receiver.queue->HeldLeases()) {
    if (entry->lease.has_value()) {
      entry->receiver.queue->Finish(held, MailboxQueue::Outcome::kReturned);
    } else {
      Start(entry.get(), std::move(held), /*again=*/true);
    }
  }
}

void RemoteReceivers::Start(Entry* entry, Lease lease, bool again) {
  entry->lease = std::move(lease);
  entry->delivery = next_delivery_++;
  entry->again = again;
  Send(entry);
}

void RemoteReceivers::GiveBack(Entry* entry) {
  if (entry->lease.has_value()) {
    entry->receiver.queue->Finish(*entry->lease, MailboxQueue::Outcome::kReturned);
  }
  entry->lease.reset();
}

void RemoteReceivers::Remove(Peer* peer, uint64_t key, bool tell) {
  const auto found = entries_.find({peer, key});
  if (found == entries_.end()) return;
  GiveBack(found->second.get());
  entries_.erase(found);
  if (tell) SayGone(peer, key);
}

void RemoteReceivers::RemoveAllOf(Peer* peer) {
  for (const auto& [key, entry] : entries_) {
    if (key.first == peer) GiveBack(entry.get());
  }
  absl::erase_if(entries_, [&](const auto& entry) { return entry.first.first == peer; });
}

void RemoteReceivers::SayGone(Peer* peer, uint64_t key) {
  proto::Frame frame;
  frame.mutable_receiver_gone()->set_receiver_key(key);
  frame.mutable_receiver_gone()->set_mailbox_destroyed(true);
  peer->Write(Side::kDialed, proto::URGENT, std::move(frame));
}

void RemoteReceivers::PeerUp(Peer* peer) {
  for (const auto& [key, entry] : entries_) {
    if (key.first == peer && entry->lease.has_value()) Send(entry.get());
  }
}

void RemoteReceivers::SessionEnded(const Peer* peer) {
  for (const auto& [key, entry] : entries_) {
    if (key.first == peer) entry->wanted = false;
  }
}

void RemoteReceivers::TakeWant(Peer* peer, const Session& session, const proto::Want& want) {
  Entry* const entry = Find(peer, session, want.receiver_key());
  if (entry == nullptr) {
    // Its end may have been said on a session that broke.
    SayGone(peer, want.receiver_key());
    return;
  }
  entry->wanted = want.count() > 0;
}

void RemoteReceivers::TakeOutcome(Peer* peer, const Session& session,
                                  const proto::Outcome& outcome) {
  Entry* const entry = Find(peer, session, outcome.receiver_key());
  if (entry == nullptr || !entry->lease.has_value()) return;
  if (entry->delivery != outcome.lease().delivery()) {
    // Of a number before a restart only "taken" can be believed: what was given back then may be
    // with the receiver again.
    if (!entry->again || !outcome.taken() || !SameMessage(NameOf(*entry), outcome.lease())) return;
  }
  entry->receiver.queue->Finish(*entry->lease, outcome.taken() ? MailboxQueue::Outcome::kReceived
                                                               : MailboxQueue::Outcome::kWithdrawn);
  entry->lease.reset();
  entry->wanted = false;
}

void RemoteReceivers::TakeGone(Peer* peer, const Session& session, uint64_t key) {
  if (Find(peer, session, key) == nullptr) return;
  Remove(peer, key, false);
  events_->OnReceiverGone(peer->node(), key, false);
}

bool RemoteReceivers::Deliver() {
  bool busy = false;
  std::vector<Key> gone;
  for (const auto& [key, entry] : entries_) busy |= Look(entry.get(), &gone);
  for (const Key& key : gone) {
    Remove(key.first, key.second, true);
    events_->OnReceiverGone(key.first->node(), key.second, true);
  }
  return busy;
}

bool RemoteReceivers::Look(Entry* entry, std::vector<Key>* gone) {
  if (entry->lease.has_value()) return false;
  MailboxQueue& queue = *entry->receiver.queue;
  const bool closed = entry->control().closed.load() != 0;
  if (!entry->waits() && !closed) return false;
  if (closed && !entry->waits()) {
    // What is left in it is the agent's to sweep; nobody here asks for it.
    gone->push_back({entry->peer, entry->receiver.key});
    return true;
  }
  Lease lease;
  switch (queue.TakeLease(entry->control(), &lease)) {
    case ReceiveQueue::Taken::kMessage:
      entry->told_behind.reset();
      Start(entry, std::move(lease), /*again=*/false);
      return true;
    case ReceiveQueue::Taken::kNothing:
      if (closed) gone->push_back({entry->peer, entry->receiver.key});
      return closed;
    case ReceiveQueue::Taken::kBehind:
      if (entry->told_behind == queue.version()) return false;
      entry->told_behind = queue.version();
      events_->OnReceiverBehind(entry->peer->node(), entry->receiver.key);
      return false;
    case ReceiveQueue::Taken::kCorrupt:
      log_(queue.error().message());
      return true;
    case ReceiveQueue::Taken::kVoid:
      gone->push_back({entry->peer, entry->receiver.key});
      return true;
  }
  return false;
}

bool RemoteReceivers::Send(Entry* entry) {
  const Lease& lease = *entry->lease;
  // Copied once: the sender could change it.
  std::string bytes(lease.record.data, lease.record.length);
  ProcessId sender = lease.lane->sender();
  absl::string_view body = bytes;
  Prefix prefix;
  if (lease.record.has_prefix && !DecodePrefix(&body, &prefix)) {
    log_(absl::StrCat("a message of ", sender.ToString(), " is not well-formed; it was dropped"));
    entry->receiver.queue->Finish(lease, MailboxQueue::Outcome::kReceived);
    entry->lease.reset();
    return false;
  }
  if (prefix.sender.has_value()) sender = *prefix.sender;
  if (!entry->peer->UpFor(&entry->receiver.peer_incarnation)) return true;
  proto::Frame frame;
  proto::Delivery* const delivery = frame.mutable_delivery();
  delivery->set_receiver_key(entry->receiver.key);
  *delivery->mutable_lease() = NameOf(*entry);
  delivery->set_again(entry->again);
  delivery->mutable_sender()->set_node(sender.node());
  delivery->mutable_sender()->set_pid(sender.pid());
  delivery->mutable_sender()->set_incarnation(sender.incarnation());
  bytes.erase(0, bytes.size() - body.size());
  delivery->set_body(std::move(bytes));
  entry->peer->Write(Side::kDialed, lease.priority >= kUrgentPriority ? proto::URGENT : proto::BULK,
                     std::move(frame));
  return true;
}

void RemoteReceivers::Park(std::vector<FutexWord>* words) {
  for (const auto& [key, entry] : entries_) {
    if (entry->waits()) words->push_back(entry->parker.Park());
  }
}

}  // namespace mailrail
