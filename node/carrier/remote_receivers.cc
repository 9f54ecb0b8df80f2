#include "node/carrier/remote_receivers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/coarse_clock.h"
#include "core/mailbox/control_page.h"
#include "core/message/message_extras.h"
#include "core/message/prefix.h"
#include "node/carrier/lease_name.h"

namespace mailrail {

RemoteReceivers::Entry* RemoteReceivers::Find(Peer* peer, const Session& session, uint64_t key) {
  const auto found = entries_.find({peer, key});
  if (found == entries_.end()) return nullptr;
  RemoteReceiver& receiver = found->second->receiver;
  if (receiver.peer_incarnation == 0) receiver.peer_incarnation = session.peer_incarnation();
  return receiver.peer_incarnation == session.peer_incarnation() ? found->second.get() : nullptr;
}

void RemoteReceivers::Add(RemoteReceiver receiver, Peer* peer) {
  std::unique_ptr<Entry>& entry = entries_[{peer, receiver.key}];
  if (entry != nullptr) {
    // What is leased is so in the lane itself, for the number that both queues have.
    entry->receiver.queue = std::move(receiver.queue);
    entry->receiver.cut_off = receiver.cut_off;
    entry->told_behind.reset();
    if (entry->receiver.cut_off) Reached(entry.get());
    return;
  }
  entry = std::make_unique<Entry>();
  entry->peer = peer;
  entry->parker = Parker(reinterpret_cast<BellWords*>(receiver.bell.data()),
                         reinterpret_cast<GateWord*>(receiver.gate.data()));
  entry->receiver = std::move(receiver);
  if (!peer->UpFor(&entry->receiver.peer_incarnation)) entry->unreached = absl::Now();
  if (entry->receiver.cut_off) Reached(entry.get());
  // What a carrier before us had leased may be with the receiver.
  for (Lease& held : entry->receiver.queue->HeldLeases()) {
    if (entry->outs.size() < entry->most()) {
      Start(entry.get(), std::move(held), /*recovered=*/true);
      continue;
    }
    entry->receiver.queue->Finish(held, MailboxQueue::Outcome::kReturned);
    events_->OnMessageReturned(entry->receiver.mailbox);
  }
  SayCheck(entry.get());
}

RemoteReceivers::Place RemoteReceivers::FindOut(Entry* entry, uint64_t delivery) {
  const Place place =
      std::lower_bound(entry->outs.begin(), entry->outs.end(), delivery,
                       [](const Out& out, uint64_t number) { return out.delivery < number; });
  return place != entry->outs.end() && place->delivery == delivery ? place : entry->outs.end();
}

RemoteReceivers::Place RemoteReceivers::FindOut(Entry* entry, const proto::Outcome& outcome) {
  const Place place = FindOut(entry, outcome.lease().delivery());
  // Of a number before a restart only "taken" can be believed: what was given back then may be with
  // the receiver again.
  if (place != entry->outs.end() || !outcome.taken()) return place;
  return std::find_if(entry->outs.begin(), entry->outs.end(), [&](const Out& out) {
    return out.recovered && outcome.lease().delivery() < out.delivery &&
           SameMessage(NameOf(out.lease, out.delivery), outcome.lease());
  });
}

void RemoteReceivers::Start(Entry* entry, Lease lease, bool recovered) {
  Out out;
  out.lease = std::move(lease);
  out.delivery = next_delivery_++;
  out.again = out.recovered = recovered;
  const MailboxOptions& options = entry->receiver.options;
  out.ends = absl::Now() + (entry->receiver.leases ? options.lease_time : options.cutoff);
  if (Send(entry, out)) entry->outs.push_back(std::move(out));
}

void RemoteReceivers::PutBack(Entry* entry, const Out& out, MailboxQueue::Outcome outcome) {
  entry->receiver.queue->Finish(out.lease, outcome);
  RingGate(entry->gate());
  if (outcome == MailboxQueue::Outcome::kReturned && entry->receiver.options.max_attempts != 0) {
    events_->OnMessageReturned(entry->receiver.mailbox);
  }
}

void RemoteReceivers::PutBackLater(Entry* entry, const Out& out, absl::Duration delay) {
  entry->receiver.queue->FinishLater(
      out.lease, DueTick::After(MonotonicTime(), absl::ToInt64Nanoseconds(delay)));
  events_->OnMessageReturned(entry->receiver.mailbox);
}

void RemoteReceivers::PutBackAll(Entry* entry) {
  for (const Out& out : entry->outs) PutBack(entry, out, MailboxQueue::Outcome::kReturned);
  entry->outs.clear();
}

void RemoteReceivers::Remove(Peer* peer, uint64_t key, bool tell) {
  const auto found = entries_.find({peer, key});
  if (found == entries_.end()) return;
  PutBackAll(found->second.get());
  entries_.erase(found);
  if (tell) SayGone(peer, key);
}

void RemoteReceivers::RemoveAllOf(Peer* peer) {
  for (const auto& [key, entry] : entries_) {
    if (key.first == peer) PutBackAll(entry.get());
  }
  absl::erase_if(entries_, [&](const auto& entry) { return entry.first.first == peer; });
}

void RemoteReceivers::SayGone(Peer* peer, uint64_t key) {
  proto::Frame frame;
  frame.mutable_receiver_gone()->set_receiver_key(key);
  frame.mutable_receiver_gone()->set_mailbox_destroyed(true);
  peer->Write(Side::kDialed, proto::URGENT, std::move(frame));
}

void RemoteReceivers::SayCheck(Entry* entry) {
  if (!entry->peer->UpFor(&entry->receiver.peer_incarnation)) return;
  proto::Frame frame;
  frame.mutable_receiver_check()->set_receiver_key(entry->receiver.key);
  entry->peer->Write(Side::kDialed, proto::URGENT, std::move(frame));
}

void RemoteReceivers::Reached(Entry* entry) {
  if (!entry->peer->UpFor(&entry->receiver.peer_incarnation)) return;
  entry->unreached = absl::InfiniteFuture();
  // It gets nothing before the agent has given it a place again: until then its claims are taken
  // away.
  if (entry->receiver.cut_off) {
    events_->OnReceiverReached(entry->peer->node(), entry->receiver.key);
  }
}

bool RemoteReceivers::CutOff(Entry* entry, absl::Time now) {
  if (entry->receiver.cut_off || now - entry->unreached < entry->receiver.options.cutoff) {
    return false;
  }
  options_.log(absl::StrCat("node ", entry->peer->node(), " was not reached for ",
                            absl::FormatDuration(entry->receiver.options.cutoff),
                            ": what its receivers hold goes to others"));
  PutBackAll(entry);
  entry->wanted = false;
  entry->receiver.cut_off = true;
  events_->OnReceiverCutOff(entry->peer->node(), entry->receiver.key);
  return true;
}

void RemoteReceivers::PeerDown(const Peer* peer) {
  for (const auto& [key, entry] : entries_) {
    if (key.first == peer) entry->unreached = std::min(entry->unreached, absl::Now());
  }
}

void RemoteReceivers::PeerUp(Peer* peer) {
  for (const auto& [key, entry] : entries_) {
    if (key.first != peer) continue;
    Reached(entry.get());
    SayCheck(entry.get());
    std::vector<Out> outs;
    outs.swap(entry->outs);
    for (Out& out : outs) {
      out.again = true;
      if (out.held) SendName(entry.get(), out);
      if (out.held || Send(entry.get(), out)) entry->outs.push_back(std::move(out));
    }
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
  for (const uint64_t delivery : want.held()) {
    const Place place = FindOut(entry, delivery);
    if (place != entry->outs.end()) place->held = true;
  }
  entry->wanted = want.count() > 0;
}

void RemoteReceivers::TakeOutcome(Peer* peer, const Session& session,
                                  const proto::Outcome& outcome) {
  Entry* const entry = Find(peer, session, outcome.receiver_key());
  if (entry == nullptr) return;
  const Place place = FindOut(entry, outcome);
  if (place == entry->outs.end()) return;
  if (!place->held) entry->wanted = false;
  const Out out = std::move(*place);
  entry->outs.erase(place);
  if (outcome.taken()) {
    entry->receiver.queue->Finish(out.lease, MailboxQueue::Outcome::kReceived);
  } else if (outcome.refused()) {
    Drop(entry, out, "was refused by the receiver's node");
  } else if (outcome.returned() && outcome.delay_ms() > 0) {
    const int64_t most_ms = absl::ToInt64Milliseconds(internal::kLongestDelay);
    PutBackLater(entry, out,
                 absl::Milliseconds(static_cast<int64_t>(
                     std::min<uint64_t>(outcome.delay_ms(), static_cast<uint64_t>(most_ms)))));
  } else if (outcome.returned()) {
    PutBack(entry, out, MailboxQueue::Outcome::kReturned);
  } else {
    PutBack(entry, out, MailboxQueue::Outcome::kWithdrawn);
  }
}

void RemoteReceivers::TakeExtend(Peer* peer, const Session& session, const proto::Extend& extend) {
  Entry* const entry = Find(peer, session, extend.receiver_key());
  if (entry == nullptr || !entry->receiver.leases) return;
  const Place place = FindOut(entry, extend.lease().delivery());
  if (place == entry->outs.end()) return;
  place->ends = absl::Now() + absl::Milliseconds(static_cast<int64_t>(
                                  std::min<uint64_t>(extend.time_ms(), uint64_t{1} << 40)));
}

void RemoteReceivers::TakeGone(Peer* peer, const Session& session, uint64_t key) {
  // One that is not here may be about to be added: the agent knows.
  if (entries_.contains({peer, key}) && Find(peer, session, key) == nullptr) return;
  Remove(peer, key, false);
  events_->OnReceiverGone(peer->node(), key);
}

bool RemoteReceivers::Deliver(absl::Time now, bool look_again) {
  bool busy = false;
  std::vector<Key> gone;
  for (const auto& [key, entry] : entries_) busy |= Look(entry.get(), now, look_again, &gone);
  for (const Key& key : gone) {
    Remove(key.first, key.second, true);
    events_->OnReceiverGone(key.first->node(), key.second);
  }
  return busy;
}

bool RemoteReceivers::Look(Entry* entry, absl::Time now, bool look_again, std::vector<Key>* gone) {
  if (ABSL_PREDICT_FALSE(entry->unreached <= now) && CutOff(entry, now)) return true;
  const bool gave_up = GiveUp(entry, now);
  const bool closed = entry->control().closed.load() != 0;
  if (entry->waits() && entry->MayTake()) return TakeNext(entry, closed, gone) || gave_up;
  // Of what is on its way it will be said what became of it.
  if (entry->in_doubt()) return gave_up;
  // What is left in a closed one is the agent's to sweep; nobody here asks for it.
  if (closed) gone->push_back({entry->peer, entry->receiver.key});
  if (look_again) entry->receiver.queue->TakeOverChanges();
  return closed || gave_up;
}

bool RemoteReceivers::GiveUp(Entry* entry, absl::Time now) {
  size_t count = 0;
  std::erase_if(entry->outs, [&](const Out& out) {
    if (now < out.ends) return false;
    PutBack(entry, out, MailboxQueue::Outcome::kReturned);
    if (!out.held) entry->wanted = false;
    ++count;
    return true;
  });
  if (count == 0) return false;
  options_.log(absl::StrCat("nothing was heard in time of what was delivered to node ",
                            entry->peer->node(), "; so many went back to their mailbox: ", count));
  return true;
}

bool RemoteReceivers::TakeNext(Entry* entry, bool closed, std::vector<Key>* gone) {
  MailboxQueue& queue = *entry->receiver.queue;
  Lease lease;
  switch (queue.TakeLease(entry->control(), &lease)) {
    case ReceiveQueue::Taken::kMessage:
      entry->told_behind.reset();
      Start(entry, std::move(lease), /*recovered=*/false);
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
      events_->OnMessageDropped(entry->receiver.mailbox);
      options_.log(queue.error().message());
      return true;
    case ReceiveQueue::Taken::kVoid:
      gone->push_back({entry->peer, entry->receiver.key});
      return true;
  }
  return false;
}

void RemoteReceivers::Drop(Entry* entry, const Out& out, absl::string_view why) {
  entry->receiver.queue->Finish(out.lease, MailboxQueue::Outcome::kReceived);
  CountDropped(entry, out, why);
}

void RemoteReceivers::CountDropped(Entry* entry, const Out& out, absl::string_view why) {
  const ProcessId& sender = out.lease.lane->sender();
  events_->OnMessageDropped(entry->receiver.mailbox);
  ++dropped_;
  // Not a line for each: who sends them decides how many there are.
  if ((dropped_ & (dropped_ - 1)) == 0) {
    options_.log(absl::StrCat("a message of ", sender.ToString(), " ", why, "; it was dropped, as ",
                              dropped_, " in all"));
  }
}

void RemoteReceivers::SendName(Entry* entry, const Out& out) {
  if (!entry->peer->UpFor(&entry->receiver.peer_incarnation)) return;
  proto::Frame frame;
  proto::Delivery* const delivery = frame.mutable_delivery();
  delivery->set_receiver_key(entry->receiver.key);
  *delivery->mutable_lease() = NameOf(out.lease, out.delivery);
  delivery->set_again(true);
  delivery->set_held(true);
  entry->peer->Write(Side::kDialed,
                     out.lease.priority >= kUrgentPriority ? proto::URGENT : proto::BULK,
                     std::move(frame));
}

bool RemoteReceivers::Send(Entry* entry, const Out& out) {
  const Lease& lease = out.lease;
  const auto drop = [&](absl::string_view why) {
    Drop(entry, out, why);
    return false;
  };
  const uint64_t largest = entry->receiver.options.max_message_bytes +
                           (lease.record.has_prefix ? kLargestPrefixBytes : 0);
  if (lease.record.length > largest) return drop("is larger than its mailbox takes");
  // Copied once: the sender could change it.
  std::string bytes(lease.record.data, lease.record.length);
  ProcessId sender = lease.lane->sender();
  absl::string_view body = bytes;
  Prefix prefix;
  if (lease.record.has_prefix &&
      (!DecodePrefix(&body, &prefix) || (prefix.NeedsAgent() && !lease.lane->by_agent()))) {
    entry->receiver.queue->Refuse(lease);
    CountDropped(entry, out, "is not well-formed");
    return false;
  }
  if (prefix.sender.has_value()) sender = *prefix.sender;
  if (!CheckMessage(entry->receiver.options, body.size(), lease.priority).ok()) {
    return drop("is not of a size that its mailbox takes");
  }
  proto::Frame frame;
  proto::Delivery* const delivery = frame.mutable_delivery();
  if (prefix.HasExtras() || prefix.expires_ns != 0) {
    // How long it has; at least a moment, since 0 is for ever.
    if (prefix.expires_ns != 0) {
      prefix.expires_ns = std::max<int64_t>(prefix.expires_ns - MonotonicTime(), 1);
    }
    // The rest is said by the delivery itself, or is past.
    prefix.due_ns = 0;
    prefix.sender.reset();
    prefix.sequence = 0;
    prefix.attempts = 0;
    delivery->set_prefix(EncodePrefix(prefix));
  }
  delivery->mutable_sender()->set_node(sender.node());
  delivery->mutable_sender()->set_pid(sender.pid());
  delivery->mutable_sender()->set_incarnation(sender.incarnation());
  if (!ToProcessId(delivery->sender()).ok()) return drop("does not say who sent it");
  if (!entry->peer->UpFor(&entry->receiver.peer_incarnation)) return true;
  delivery->set_receiver_key(entry->receiver.key);
  *delivery->mutable_lease() = NameOf(out.lease, out.delivery);
  delivery->set_again(out.again);
  bytes.erase(0, bytes.size() - body.size());
  delivery->set_body(std::move(bytes));
  entry->peer->Write(Side::kDialed, lease.priority >= kUrgentPriority ? proto::URGENT : proto::BULK,
                     std::move(frame));
  return true;
}

void RemoteReceivers::Park(std::vector<FutexWord>* words) {
  parked_.clear();
  for (const auto& [key, entry] : entries_) {
    // The receivers of one mailbox have one bell. Who has not the exclusive right is not woken by
    // messages: the agent pokes when that changes.
    if (entry->waits() && entry->MayTake() && parked_.insert(entry->receiver.mailbox).second) {
      words->push_back(entry->parker.Park());
    }
  }
}

}  // namespace mailrail
