#include "node/carrier/proxies.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "core/base/coarse_clock.h"
#include "core/message/prefix.h"
#include "node/carrier/remote_receivers.h"

namespace mailrail {
namespace {

proto::Frame OutcomeFrame(uint64_t key, const proto::LeaseName& lease, Proxies::Verdict verdict,
                          absl::Time due = absl::InfinitePast()) {
  proto::Frame frame;
  proto::Outcome* const outcome = frame.mutable_outcome();
  outcome->set_receiver_key(key);
  *outcome->mutable_lease() = lease;
  outcome->set_taken(verdict == Proxies::Verdict::kTaken);
  outcome->set_refused(verdict == Proxies::Verdict::kRefused);
  outcome->set_returned(verdict == Proxies::Verdict::kReturned);
  const absl::Duration delay = due - absl::Now();
  if (verdict == Proxies::Verdict::kReturned && delay > absl::ZeroDuration()) {
    outcome->set_delay_ms(static_cast<uint64_t>(absl::ToInt64Milliseconds(delay)));
  }
  return frame;
}

proto::Frame GoneFrame(uint64_t key) {
  proto::Frame frame;
  frame.mutable_receiver_gone()->set_receiver_key(key);
  return frame;
}

// Whether `now` is the delivery that was called `before`, sent again.
bool IsTheSame(const proto::LeaseName& before, const proto::Delivery& now) {
  if (now.lease().delivery() == before.delivery()) return true;
  return now.again() && SameMessage(before, now.lease());
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
  std::unique_ptr<Entry>& entry = entries_[proxy.key];
  entry = std::make_unique<Entry>();
  entry->peer = peer;
  entry->proxy = std::move(proxy);
  ReadNote(entry.get());
  LookAt(entry.get());
}

void Proxies::WriteNote(Entry* entry) {
  volatile ProxyNote* const note = entry->note();
  if (note == nullptr) return;
  note->position = 0;
  note->lane = entry->delivery.lease().lane();
  note->sequence = entry->delivery.lease().sequence();
  note->delivery = entry->delivery.lease().delivery();
  note->priority = entry->delivery.lease().priority();
  note->position = entry->proxy.lane->sequence(entry->priority()) + 1;
}

void Proxies::ReadNote(Entry* entry) {
  const volatile ProxyNote* const note = entry->note();
  if (note == nullptr || note->position == 0 || note->priority >= kPriorityCount) return;
  const auto priority = static_cast<int>(note->priority);
  // Noted, but not published.
  if (entry->proxy.lane->sequence(priority) < note->position) return;
  entry->position = note->position;
  entry->delivery.mutable_lease()->set_lane(note->lane);
  entry->delivery.mutable_lease()->set_sequence(note->sequence);
  entry->delivery.mutable_lease()->set_delivery(note->delivery);
  entry->delivery.mutable_lease()->set_priority(static_cast<uint32_t>(priority));
  entry->step = Step::kPublished;
}

void Proxies::Remove(Peer* peer, uint64_t key) {
  const auto found = entries_.find(key);
  if (found != entries_.end() && found->second->peer == peer) {
    Entry* const entry = found->second.get();
    TakeBack(entry, /*receiver_is_gone=*/true);
    if (entry->step == Step::kDecided && !peer->UpFor(&entry->proxy.peer_incarnation)) {
      farewells_[peer].push_back(
          OutcomeFrame(key, entry->delivery.lease(), entry->verdict, entry->due));
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
    if (entry->peer == peer) TakeBack(entry.get(), /*receiver_is_gone=*/false);
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
    entry->told = 0;
    if (entry->step == Step::kDecided) SayOutcome(entry.get());
    if (entry->step == Step::kDecided || entry->step == Step::kNone) SayWant(entry.get());
  }
}

void Proxies::SayOutcome(Entry* entry) {
  if (!entry->peer->UpFor(&entry->proxy.peer_incarnation)) return;
  entry->peer->Write(
      Side::kDialed, proto::URGENT,
      OutcomeFrame(entry->proxy.key, entry->delivery.lease(), entry->verdict, entry->due));
}

void Proxies::Extend(uint64_t key, absl::Duration time) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Entry* const entry = found->second.get();
  if (entry->step != Step::kPublished || !entry->peer->UpFor(&entry->proxy.peer_incarnation)) {
    return;
  }
  proto::Frame frame;
  frame.mutable_extend()->set_receiver_key(key);
  *frame.mutable_extend()->mutable_lease() = entry->delivery.lease();
  frame.mutable_extend()->set_time_ms(static_cast<uint64_t>(absl::ToInt64Milliseconds(time)));
  entry->peer->Write(Side::kDialed, proto::URGENT, std::move(frame));
}

bool Proxies::SayWant(Entry* entry) {
  const uint32_t wanted = entry->wanted();
  if (wanted == entry->told || !entry->peer->UpFor(&entry->proxy.peer_incarnation)) return false;
  proto::Frame frame;
  frame.mutable_want()->set_receiver_key(entry->proxy.key);
  frame.mutable_want()->set_count(wanted);
  entry->peer->Write(Side::kDialed, proto::URGENT, std::move(frame));
  entry->told = wanted;
  return true;
}

void Proxies::Decide(Entry* entry, Verdict verdict) {
  entry->step = Step::kDecided;
  entry->verdict = verdict;
  entry->delivery.clear_body();
  // The home takes the outcome for the end of the want.
  entry->told = 0;
  SayOutcome(entry);
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
  if (entry->step != Step::kNone && IsTheSame(entry->delivery.lease(), *delivery)) {
    entry->delivery.mutable_lease()->set_delivery(delivery->lease().delivery());
    if (volatile ProxyNote* const note = entry->note()) {
      note->delivery = delivery->lease().delivery();
    }
    if (entry->step == Step::kDecided) SayOutcome(entry);
    return;
  }
  // The home has given up on the one before.
  TakeBack(entry, /*receiver_is_gone=*/false);
  // A receiver that was stopped while it took that one may still do so.
  if (entry->step == Step::kWaiting || entry->step == Step::kPublished) {
    return answer(Verdict::kNotTaken);
  }
  entry->delivery = std::move(*delivery);
  entry->came_ns = MonotonicTime();
  entry->step = Step::kWaiting;
  Publish(entry);
}

void Proxies::Publish(Entry* entry) {
  if (entry->wanted() == 0) return Decide(entry, Verdict::kNotTaken);
  Prefix prefix;
  absl::string_view rest = entry->delivery.prefix();
  if (!rest.empty() && (!DecodePrefix(&rest, &prefix) || !rest.empty())) {
    return Decide(entry, Verdict::kRefused);
  }
  if (prefix.expires_ns != 0) {
    // Numbers that the home has made up may overflow, which is no harm.
    prefix.expires_ns = static_cast<int64_t>(static_cast<uint64_t>(prefix.expires_ns) +
                                             static_cast<uint64_t>(entry->came_ns));
  }
  if (entry->delivery.has_sender()) {
    const absl::StatusOr<ProcessId> sender = ToProcessId(entry->delivery.sender());
    if (!sender.ok()) return Decide(entry, Verdict::kRefused);
    prefix.sender = *sender;
  }
  prefix.sequence = entry->delivery.lease().sequence();
  prefix.attempts = static_cast<uint8_t>(std::clamp(entry->delivery.lease().attempts(),
                                                    uint32_t{entry->delivery.again()},
                                                    uint32_t{std::numeric_limits<uint8_t>::max()}));
  const std::string encoded = EncodePrefix(prefix);
  WriteNote(entry);
  const absl::Status status = entry->proxy.lane->Send(
      entry->priority(), {encoded, entry->delivery.body()}, absl::InfinitePast());
  if (absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status)) return;
  if (absl::IsInvalidArgument(status)) return Decide(entry, Verdict::kRefused);
  // The receiver is gone; the agent will say so.
  if (!status.ok()) return Decide(entry, Verdict::kNotTaken);
  entry->position = entry->proxy.lane->sequence(entry->priority());
  entry->step = Step::kPublished;
  entry->delivery.clear_body();
}

void Proxies::NoticeTaken(Entry* entry) {
  const absl::optional<CellState> state =
      entry->proxy.lane->StateOf(entry->priority(), entry->position);
  if (state.has_value()) {
    if (!state->ClaimedSince(entry->position)) return;
    if (state->phase == Phase::kDelayed || state->phase == Phase::kCondemned) {
      // What has expired goes home, which finds out.
      entry->due =
          state->phase == Phase::kCondemned
              ? absl::InfinitePast()
              : absl::Now() + absl::Nanoseconds(DueTick::Left(state->owner, MonotonicTime()));
      if (entry->proxy.lane->Recall(entry->priority(), entry->position)) {
        Decide(entry, Verdict::kReturned);
      }
      return;
    }
    if (state->phase != Phase::kTaken && state->phase != Phase::kDone) return;
  }
  // A carrier before us may have taken it back.
  const bool taken = !state.has_value() || state->owner != entry->proxy.number;
  Decide(entry, taken ? Verdict::kTaken : Verdict::kNotTaken);
}

void Proxies::TakeBack(Entry* entry, bool receiver_is_gone) {
  if (entry->step == Step::kWaiting) Decide(entry, Verdict::kNotTaken);
  if (entry->step != Step::kPublished) return;
  if (entry->proxy.lane->Retract(entry->priority())) {
    Decide(entry, Verdict::kNotTaken);
    return;
  }
  NoticeTaken(entry);
  // It was claimed by a receiver that will not take it any more, and may have seen it.
  if (entry->step == Step::kPublished && receiver_is_gone) {
    entry->due = absl::InfinitePast();
    Decide(entry, Verdict::kReturned);
  }
}

bool Proxies::LookAt(Entry* entry) {
  const Step before = entry->step;
  switch (before) {
    case Step::kWaiting:
      Publish(entry);
      break;
    case Step::kPublished:
      NoticeTaken(entry);
      if (entry->step == Step::kPublished && entry->wanted() == 0) {
        TakeBack(entry, /*receiver_is_gone=*/false);
      }
      break;
    case Step::kNone:
    case Step::kDecided:
      return SayWant(entry);
  }
  return entry->step != before;
}

bool Proxies::Look() {
  bool busy = false;
  for (const auto& [key, entry] : entries_) busy |= LookAt(entry.get());
  return busy;
}

void Proxies::TakeGone(Peer* peer, const Session& session, uint64_t key) {
  Entry* const entry = Find(peer, session, key);
  if (entry == nullptr) return;
  TakeBack(entry, /*receiver_is_gone=*/false);
  entries_.erase(key);
  events_->OnProxyGone(peer->node(), key);
}

void Proxies::Park(std::vector<FutexWord>* words) {
  for (const auto& [key, entry] : entries_) {
    if (entry->step == Step::kWaiting) words->push_back(entry->proxy.lane->ParkForRoom());
  }
}

}  // namespace mailrail
