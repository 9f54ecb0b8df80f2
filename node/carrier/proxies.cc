#include "node/carrier/proxies.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "core/base/coarse_clock.h"
#include "core/message/prefix.h"
#include "node/carrier/lease_name.h"

namespace mailrail {
namespace {

proto::Frame OutcomeFrame(uint64_t key, const proto::LeaseName& lease,
                          ProxyDelivery::Verdict verdict, absl::Time due = absl::InfinitePast()) {
  using Verdict = ProxyDelivery::Verdict;
  proto::Frame frame;
  proto::Outcome* const outcome = frame.mutable_outcome();
  outcome->set_receiver_key(key);
  *outcome->mutable_lease() = lease;
  outcome->set_taken(verdict == Verdict::kTaken);
  outcome->set_refused(verdict == Verdict::kRefused);
  outcome->set_returned(verdict == Verdict::kReturned);
  const absl::Duration delay = due - absl::Now();
  if (verdict == Verdict::kReturned && delay > absl::ZeroDuration()) {
    outcome->set_delay_ms(static_cast<uint64_t>(absl::ToInt64Milliseconds(delay)));
  }
  return frame;
}

proto::Frame GoneFrame(uint64_t key) {
  proto::Frame frame;
  frame.mutable_receiver_gone()->set_receiver_key(key);
  return frame;
}

}  // namespace

Proxies::Entry* Proxies::Find(const Peer* peer, const Session& session, uint64_t key) {
  const auto found = entries_.find(key);
  if (found == entries_.end() || found->second->peer != peer) return nullptr;
  uint64_t& incarnation = found->second->proxy.peer_incarnation;
  if (incarnation == 0) incarnation = session.peer_incarnation();
  return incarnation == session.peer_incarnation() ? found->second.get() : nullptr;
}

void Proxies::Add(ReceiverProxy proxy, Peer* peer) {
  std::unique_ptr<Entry>& added = entries_[proxy.key];
  added = std::make_unique<Entry>(std::move(proxy), peer);
  Entry* const entry = added.get();
  OutgoingLane& lane = *entry->proxy.lane;
  entry->book.Restore([&](const ProxyDelivery& noted) {
    return lane.sequence(noted.priority()) >= noted.position;
  });
  for (const ProxyDelivery& decided : entry->book.decided()) {
    // The carrier that had noted it may not have come to do it.
    if (decided.verdict == Verdict::kReturned) lane.Recall(decided.priority(), decided.position);
  }
  std::list<ProxyDelivery>& open = entry->book.open();
  ProxyDelivery* unclaimed = nullptr;
  for (auto place = open.begin(); place != open.end();) {
    entry->current = &*place++;
    NoticeClaimed(entry, entry->current);
    if (entry->current != nullptr) unclaimed = entry->current;
  }
  entry->current = unclaimed;
  LookAt(entry, /*all=*/true);
}

void Proxies::Remove(Peer* peer, uint64_t key) {
  const auto found = entries_.find(key);
  if (found != entries_.end() && found->second->peer == peer) {
    Entry* const entry = found->second.get();
    TakeBackAll(entry, /*receiver_is_gone=*/true);
    if (!peer->UpFor(&entry->proxy.peer_incarnation)) {
      for (const ProxyDelivery& decided : entry->book.decided()) {
        farewells_[peer].push_back(OutcomeFrame(key, decided.lease, decided.verdict, decided.due));
      }
    }
    entries_.erase(found);
  }
  // An agent after this one says it when the home asks (OnProxyCheck).
  if (peer->up()) {
    peer->Write(Side::kDialed, proto::URGENT, GoneFrame(key));
  } else {
    farewells_[peer].push_back(GoneFrame(key));
  }
}

void Proxies::RemoveAllOf(const Peer* peer) {
  farewells_.erase(peer);
  for (const auto& [key, entry] : entries_) {
    if (entry->peer == peer) TakeBackAll(entry.get(), /*receiver_is_gone=*/false);
  }
  absl::erase_if(entries_, [&](const auto& entry) { return entry.second->peer == peer; });
}

void Proxies::PeerUp(Peer* peer) {
  const auto later = farewells_.find(peer);
  if (later != farewells_.end()) {
    for (proto::Frame& frame : later->second) {
      peer->Write(Side::kDialed, proto::URGENT, std::move(frame));
    }
    farewells_.erase(later);
  }
  for (const auto& [key, entry] : entries_) {
    if (entry->peer != peer) continue;
    entry->told = false;
    for (ProxyDelivery& delivery : entry->book.open()) delivery.told_held = false;
    for (const ProxyDelivery& decided : entry->book.decided()) SayOutcome(entry.get(), decided);
  }
}

void Proxies::SayOutcome(Entry* entry, const ProxyDelivery& delivery) {
  // The home takes the outcome of what it does not know to be held for the end of the want.
  entry->told = false;
  if (!entry->peer->UpFor(&entry->proxy.peer_incarnation)) return;
  entry->peer->Write(
      Side::kDialed, proto::URGENT,
      OutcomeFrame(entry->proxy.key, delivery.lease, delivery.verdict, delivery.due));
}

void Proxies::Extend(uint64_t key, int priority, uint64_t position, absl::Duration time) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Entry* const entry = found->second.get();
  const ProxyDelivery* const delivery = entry->book.FindOpen(priority, position);
  if (delivery == nullptr || delivery->step == Step::kWaiting || delivery->ended ||
      !entry->peer->UpFor(&entry->proxy.peer_incarnation)) {
    return;
  }
  proto::Frame frame;
  frame.mutable_extend()->set_receiver_key(key);
  *frame.mutable_extend()->mutable_lease() = delivery->lease;
  frame.mutable_extend()->set_time_ms(static_cast<uint64_t>(absl::ToInt64Milliseconds(time)));
  entry->peer->Write(Side::kDialed, proto::URGENT, std::move(frame));
}

bool Proxies::SayWant(Entry* entry, uint32_t ask) {
  const bool wants = entry->Wants(ask);
  if (wants == entry->told || !entry->peer->UpFor(&entry->proxy.peer_incarnation)) return false;
  proto::Frame frame;
  frame.mutable_want()->set_receiver_key(entry->proxy.key);
  frame.mutable_want()->set_count(wants ? 1 : 0);
  for (ProxyDelivery& delivery : entry->book.open()) {
    if (delivery.step != Step::kHeld || delivery.told_held || delivery.ended || !wants) continue;
    frame.mutable_want()->add_held(delivery.lease.delivery());
    delivery.told_held = true;
  }
  entry->peer->Write(Side::kDialed, proto::URGENT, std::move(frame));
  entry->told = wants;
  return true;
}

void Proxies::Decide(Entry* entry, ProxyDelivery* delivery, Verdict verdict, absl::Time due) {
  if (delivery == entry->current) {
    entry->current = nullptr;
    entry->arrived.Clear();
    const bool had_it = verdict == Verdict::kTaken || verdict == Verdict::kReturned;
    if (entry->proxy.leases && had_it) entry->answered = delivery->ask;
  }
  if (delivery->step == Step::kHeld) entry->short_of_room = false;
  entry->book.NoteVerdict(delivery, verdict, due);
  if (entry->book.Decide(delivery)) SayOutcome(entry, *delivery);
}

void Proxies::TakeDelivery(Peer* peer, const Session& session, proto::Delivery* delivery) {
  const uint64_t key = delivery->receiver_key();
  const auto answer = [&](Verdict verdict) {
    peer->Write(Side::kDialed, proto::URGENT, OutcomeFrame(key, delivery->lease(), verdict));
  };
  if (delivery->lease().priority() >= kPriorityCount) return answer(Verdict::kRefused);
  Entry* const entry = Find(peer, session, key);
  if (entry == nullptr) {
    answer(Verdict::kNotTaken);
    peer->Write(Side::kDialed, proto::URGENT, GoneFrame(key));
    return;
  }
  if (ProxyDelivery* const known = entry->book.Find(*delivery)) {
    entry->book.Renumber(known, delivery->lease().delivery());
    if (known->step == Step::kDecided) return SayOutcome(entry, *known);
    // A home that brings it whole does not know that it is held.
    if (!delivery->held()) known->told_held = entry->told = false;
    return;
  }
  if (delivery->held()) return answer(Verdict::kReturned);
  // The home has given up on the one before.
  if (entry->current != nullptr) {
    TakeBack(entry, entry->current, /*receiver_is_gone=*/false);
  }
  // A receiver that was stopped while it took that one may still do so.
  if (entry->current != nullptr || entry->book.full()) {
    entry->told = false;
    return answer(Verdict::kNotTaken);
  }
  entry->current = entry->book.Add(delivery->lease());
  entry->arrived = std::move(*delivery);
  entry->came_ns = MonotonicTime();
  Publish(entry);
}

void Proxies::Publish(Entry* entry) {
  ProxyDelivery* const current = entry->current;
  const proto::Delivery& arrived = entry->arrived;
  current->ask = entry->ask();
  if (current->ask == 0) return Decide(entry, current, Verdict::kNotTaken);
  Prefix prefix;
  absl::string_view rest = arrived.prefix();
  if (!rest.empty() && (!DecodePrefix(&rest, &prefix) || !rest.empty())) {
    return Decide(entry, current, Verdict::kRefused);
  }
  if (prefix.expires_ns != 0) {
    // Numbers that the home has made up may overflow, which is no harm.
    prefix.expires_ns = static_cast<int64_t>(static_cast<uint64_t>(prefix.expires_ns) +
                                             static_cast<uint64_t>(entry->came_ns));
  }
  if (arrived.has_sender()) {
    const absl::StatusOr<ProcessId> sender = ToProcessId(arrived.sender());
    if (!sender.ok()) return Decide(entry, current, Verdict::kRefused);
    prefix.sender = *sender;
  }
  prefix.sequence = arrived.lease().sequence();
  prefix.attempts =
      static_cast<uint8_t>(std::clamp(arrived.lease().attempts(), uint32_t{arrived.again()},
                                      uint32_t{std::numeric_limits<uint8_t>::max()}));
  const std::string encoded = EncodePrefix(prefix);
  OutgoingLane& lane = *entry->proxy.lane;
  entry->book.NotePosition(current, lane.sequence(current->priority()) + 1);
  const absl::Status status =
      lane.Send(current->priority(), {encoded, arrived.body()}, absl::InfinitePast());
  if (absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status)) {
    if (entry->book.open().size() == 1) return;
    // What the receiver holds has the room. Until it settles something, this is for others.
    entry->short_of_room = true;
    return Decide(entry, current, Verdict::kNotTaken);
  }
  if (absl::IsInvalidArgument(status)) return Decide(entry, current, Verdict::kRefused);
  // The receiver is gone; the agent will say so.
  if (!status.ok()) return Decide(entry, current, Verdict::kNotTaken);
  current->step = Step::kPublished;
  entry->arrived.Clear();
}

bool Proxies::NoticeClaimed(Entry* entry, ProxyDelivery* delivery) {
  OutgoingLane& lane = *entry->proxy.lane;
  const absl::optional<CellState> state = lane.StateOf(delivery->priority(), delivery->position);
  if (state.has_value() && !state->ClaimedSince(delivery->position)) return false;
  // Room is used again only after what was taken.
  switch (state.has_value() ? state->phase : Phase::kDone) {
    case Phase::kLeased:
      if (delivery == entry->current && entry->proxy.leases) {
        delivery->step = Step::kHeld;
        entry->current = nullptr;
        entry->told = false;
        entry->answered = delivery->ask;
      }
      return false;
    case Phase::kReturned:
      return false;
    case Phase::kDelayed:
    case Phase::kCondemned: {
      const bool expired = state->phase == Phase::kCondemned;
      const absl::Time due =
          expired ? absl::InfinitePast()
                  : absl::Now() + absl::Nanoseconds(DueTick::Left(state->owner, MonotonicTime()));
      entry->book.NoteVerdict(delivery, Verdict::kReturned, due);
      if (!lane.Recall(delivery->priority(), delivery->position)) return false;
      Decide(entry, delivery, Verdict::kReturned, due);
      // What has expired goes home, which finds out; who asked for it waits still.
      if (expired) entry->answered = 0;
      return true;
    }
    case Phase::kTaken:
    case Phase::kDone:
      break;
  }
  // A carrier before us may have taken it back.
  const bool taken = !state.has_value() || state->owner != entry->proxy.number;
  Decide(entry, delivery, taken ? Verdict::kTaken : Verdict::kNotTaken);
  return true;
}

void Proxies::TakeBack(Entry* entry, ProxyDelivery* delivery, bool receiver_is_gone) {
  if (delivery->step == Step::kWaiting ||
      (delivery == entry->current && entry->proxy.lane->Retract(delivery->priority()))) {
    return Decide(entry, delivery, Verdict::kNotTaken);
  }
  if (NoticeClaimed(entry, delivery)) return;
  // It was claimed by a receiver that will not take it any more, and may have seen it.
  if (receiver_is_gone) Decide(entry, delivery, Verdict::kReturned);
}

void Proxies::TakeBackAll(Entry* entry, bool receiver_is_gone) {
  std::list<ProxyDelivery>& open = entry->book.open();
  for (auto place = open.begin(); place != open.end();) {
    TakeBack(entry, &*place++, receiver_is_gone);
  }
}

bool Proxies::LookAtHeld(Entry* entry) {
  bool busy = false;
  std::list<ProxyDelivery>& open = entry->book.open();
  for (auto place = open.begin(); place != open.end();) {
    ProxyDelivery* const delivery = &*place++;
    if (delivery != entry->current) busy |= NoticeClaimed(entry, delivery);
  }
  return busy;
}

bool Proxies::LookAt(Entry* entry, bool all) {
  // What was settled before the receiver has asked is to be said before.
  const uint32_t ask = entry->ask();
  const bool busy = (all || (ask != 0 && !entry->told)) && LookAtHeld(entry);
  ProxyDelivery* const current = entry->current;
  if (current == nullptr) return SayWant(entry, ask) || busy;
  if (current->step == Step::kWaiting) {
    Publish(entry);
    return busy || entry->current == nullptr || current->step == Step::kPublished;
  }
  NoticeClaimed(entry, current);
  if (entry->current != nullptr && entry->ask() == 0) {
    TakeBack(entry, current, /*receiver_is_gone=*/false);
  }
  return busy || entry->current == nullptr;
}

bool Proxies::Look(bool all) {
  bool busy = false;
  for (const auto& [key, entry] : entries_) busy |= LookAt(entry.get(), all);
  return busy;
}

void Proxies::TakeCheck(Peer* peer, const Session& session, uint64_t key) {
  Entry* const entry = Find(peer, session, key);
  // Of what is not claimed yet the outcome is to come, and then what is wanted.
  if (entry == nullptr || entry->current != nullptr) return;
  for (ProxyDelivery& delivery : entry->book.open()) delivery.told_held = false;
  const uint32_t ask = entry->ask();
  LookAtHeld(entry);
  if (entry->told) entry->told = !entry->Wants(ask);
  SayWant(entry, ask);
}

void Proxies::TakeGone(Peer* peer, const Session& session, uint64_t key) {
  Entry* const entry = Find(peer, session, key);
  if (entry == nullptr) return;
  TakeBackAll(entry, /*receiver_is_gone=*/false);
  entries_.erase(key);
  events_->OnProxyGone(peer->node(), key);
}

void Proxies::Park(std::vector<FutexWord>* words) {
  for (const auto& [key, entry] : entries_) {
    if (entry->current != nullptr && entry->current->step == Step::kWaiting) {
      words->push_back(entry->proxy.lane->ParkForRoom());
    }
  }
}

}  // namespace mailrail
