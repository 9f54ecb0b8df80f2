#include "node/carrier/inbound.h"

#include <algorithm>

#include "core/mailbox/outcome.h"

namespace mailrail {
namespace {

// How many receipts are told in one frame.
constexpr size_t kReceiptsInFrame = 1000;

}  // namespace

LaneSink* Inbound::Find(Peer* peer, uint64_t incarnation, uint64_t lane) {
  const auto found = sinks_.find({peer, lane});
  if (found == sinks_.end() || !found->second->IsOf(incarnation)) return nullptr;
  return found->second.get();
}

void Inbound::Activate(LaneSink* sink) {
  if (sink->active()) return;
  sink->set_active(true);
  active_.push_back(sink);
}

void Inbound::Erase(const Key& key) {
  const auto found = sinks_.find(key);
  if (found == sinks_.end()) return;
  active_.erase(std::remove(active_.begin(), active_.end(), found->second.get()), active_.end());
  sinks_.erase(found);
}

void Inbound::Say(Peer* peer, proto::LaneState state) {
  proto::Frame frame;
  *frame.mutable_lane_state() = std::move(state);
  peer->Write(Side::kAccepted, proto::BULK, std::move(frame));
}

void Inbound::SayError(Peer* peer, uint64_t lane, const absl::Status& why, bool for_good) {
  proto::LaneState state;
  state.set_lane(lane);
  state.set_for_good(for_good);
  *state.mutable_status() = ToStatusInfo(why);
  Say(peer, std::move(state));
}

void Inbound::Add(InboundLane lane, Peer* peer) {
  const Key key(peer, lane.id);
  const auto asked = asked_.find(key);
  const auto found = sinks_.find(key);
  const uint64_t incarnation = asked == asked_.end() ? lane.peer_incarnation : asked->second;
  // A lane that is there already is added once more when it was asked for again before the agent
  // had answered. A lane has one writer: the one that is there stays, unless it is no longer of
  // use.
  const bool stays = found != sinks_.end() && found->second->lane()->closed_status().ok() &&
                     (incarnation == 0 || found->second->IsOf(incarnation));
  if (!stays) {
    Erase(key);
    sinks_[key] = std::make_unique<LaneSink>(std::move(lane), peer, windows_, counters_);
  }
  if (asked == asked_.end()) return;  // the peer will ask
  LaneSink* const sink = Find(peer, asked->second, key.second);
  asked_.erase(asked);
  if (sink != nullptr) Answer(sink);
}

void Inbound::Answer(LaneSink* sink) {
  sink->Restart();
  if (!sink->idle()) Activate(sink);
  // First: who waits for the lane to be open is to know then.
  SayReceivers(sink);
  Say(sink->peer(), sink->State());
}

void Inbound::SayReceivers(LaneSink* sink) {
  const absl::optional<uint32_t> count = sink->NewsOfReceivers();
  if (!count.has_value()) return;
  proto::Frame frame;
  frame.mutable_receivers()->set_lane(sink->id());
  frame.mutable_receivers()->set_count(*count);
  sink->peer()->Write(Side::kAccepted, proto::BULK, std::move(frame));
}

void Inbound::SayReceipts(LaneSink* sink) {
  std::vector<CellEnd> ends = sink->TakeEnds();
  for (size_t begin = 0; begin < ends.size(); begin += kReceiptsInFrame) {
    proto::Frame frame;
    frame.mutable_receipts()->set_lane(sink->id());
    for (size_t i = begin; i < std::min(begin + kReceiptsInFrame, ends.size()); ++i) {
      proto::Receipt* const receipt = frame.mutable_receipts()->add_receipts();
      const Receipt::Outcome outcome = OutcomeOf(ends[i]);
      receipt->set_receipt(ends[i].receipt);
      receipt->set_outcome(static_cast<uint32_t>(outcome));
      if (outcome != Receipt::Outcome::kReceived || !name_of_) continue;
      const ProcessId receiver = name_of_(ends[i].owner);
      receipt->mutable_receiver()->set_node(receiver.node());
      receipt->mutable_receiver()->set_pid(receiver.pid());
      receipt->mutable_receiver()->set_incarnation(receiver.incarnation());
    }
    sink->peer()->Write(Side::kAccepted, proto::BULK, std::move(frame));
  }
}

void Inbound::TakeReceiptsSeen(Peer* peer, const Session& session,
                               const proto::ReceiptsSeen& seen) {
  LaneSink* const sink = Find(peer, session.peer_incarnation(), seen.lane());
  if (sink == nullptr) return;
  for (const uint64_t receipt : seen.receipts()) sink->ForgetEnd(receipt);
}

void Inbound::Refuse(Peer* peer, uint64_t lane, const absl::Status& why, bool for_good) {
  if (asked_.erase({peer, lane}) > 0) SayError(peer, lane, why, for_good);
}

void Inbound::Remove(Peer* peer, uint64_t lane) {
  asked_.erase({peer, lane});
  Erase({peer, lane});
}

void Inbound::RemoveAllOf(const Peer* peer) {
  active_.erase(std::remove_if(active_.begin(), active_.end(),
                               [&](const LaneSink* sink) { return sink->peer() == peer; }),
                active_.end());
  absl::erase_if(sinks_, [&](const auto& entry) { return entry.first.first == peer; });
}

void Inbound::SessionEnded(const Peer* peer) {
  absl::erase_if(asked_, [&](const auto& entry) { return entry.first.first == peer; });
}

void Inbound::TakeLaneOpen(Peer* peer, const Session& session, const proto::LaneOpen& open) {
  LaneSink* const sink = Find(peer, session.peer_incarnation(), open.lane());
  // All that the origin sent on the sessions before has come: their end was told before the new
  // ones were opened.
  if (sink != nullptr) return Answer(sink);
  Erase({peer, open.lane()});
  asked_[{peer, open.lane()}] = session.peer_incarnation();
  events_->OnLaneOpen(peer->node(), session.peer_incarnation(), open);
}

absl::Status Inbound::TakeData(Peer* peer, const Session& session, proto::Data* data) {
  LaneSink* const sink = Find(peer, session.peer_incarnation(), data->lane());
  // It was removed while this was on its way. The origin keeps what is not acknowledged.
  if (sink == nullptr) return absl::OkStatus();
  if (absl::Status status = sink->Add(session.session_class(), data); !status.ok()) return status;
  if (sink->TakeLook()) events_->OnInboundLook(peer->node(), sink->id());
  Activate(sink);
  return absl::OkStatus();
}

void Inbound::TakeLaneEnd(Peer* peer, const Session& session, const proto::LaneEnd& end) {
  const uint64_t lane = end.lane();
  LaneSink* const sink = Find(peer, session.peer_incarnation(), lane);
  if (sink == nullptr) {
    SayError(peer, lane, absl::NotFoundError("the lane has ended"));
    if (asked_.erase({peer, lane}) > 0) {
      events_->OnLaneEnd(peer->node(), lane, end.end_reason());
    }
    return;
  }
  sink->set_ended(end.end_reason());
  Activate(sink);
}

bool Inbound::Publish(absl::Time now, bool look_again) {
  bool busy = false;
  if (look_again) LookAtDestinations();
  std::vector<LaneSink*> active;
  active.swap(active_);
  for (LaneSink* const sink : active) {
    if (!Serve(sink, now, look_again, &busy)) continue;
    if (sink->idle()) {
      sink->set_active(false);
    } else {
      active_.push_back(sink);
    }
  }
  return busy;
}

bool Inbound::Serve(LaneSink* sink, absl::Time now, bool look_again, bool* busy) {
  if (absl::Status status = sink->Publish(look_again, busy); !status.ok()) {
    Close(sink, status);
    return false;
  }
  if (sink->TakeLook()) events_->OnInboundLook(sink->peer()->node(), sink->id());
  sink->WriteAcks(now);
  if (sink->awaits_ends()) SayReceipts(sink);
  if (!sink->ended() || !sink->empty()) return true;
  Peer* const peer = sink->peer();
  const uint64_t lane = sink->id();
  const uint32_t end_reason = sink->end_reason();
  Erase({peer, lane});
  SayError(peer, lane, absl::NotFoundError("the lane has ended"));
  events_->OnLaneEnd(peer->node(), lane, end_reason);
  return false;
}

void Inbound::Close(LaneSink* sink, const absl::Status& why) {
  Peer* const peer = sink->peer();
  const uint64_t lane = sink->id();
  proto::LaneState state = sink->State();
  *state.mutable_status() = ToStatusInfo(why);
  sink->lane()->PurgeAsked();
  SayReceipts(sink);
  Erase({peer, lane});
  Say(peer, std::move(state));
  events_->OnInboundClosed(peer->node(), lane, why);
}

void Inbound::LookAtDestinations() {
  std::vector<LaneSink*> closed;
  for (const auto& [key, sink] : sinks_) {
    if (!sink->lane()->closed_status().ok()) {
      closed.push_back(sink.get());
    } else {
      SayReceivers(sink.get());
    }
  }
  for (LaneSink* const sink : closed) Close(sink, sink->lane()->closed_status());
}

absl::Time Inbound::NextAck() const {
  absl::Time next = absl::InfiniteFuture();
  for (const LaneSink* const sink : active_) next = std::min(next, sink->ack_at());
  return next;
}

bool Inbound::WaitsForRoom() const {
  return std::any_of(active_.begin(), active_.end(),
                     [](const LaneSink* sink) { return sink->room_word().has_value(); });
}

void Inbound::AddWords(std::vector<FutexWord>* words) const {
  for (const LaneSink* const sink : active_) {
    if (sink->room_word().has_value()) words->push_back(*sink->room_word());
  }
}

}  // namespace mailrail
