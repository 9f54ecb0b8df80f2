#include "node/carrier/outbound.h"

#include <utility>
#include <vector>

#include "absl/time/clock.h"

namespace mailrail {
namespace {

// When a lane is opened again that could not be accepted just now.
constexpr absl::Duration kRetry = absl::Milliseconds(200);

// Whether the destination may accept the lane later: it was short of something.
bool IsPassing(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnknown:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Outbound::Add(OutboundLane lane, Peer* peer) {
  const uint64_t id = lane.id;
  std::unique_ptr<Lane>& entry = lanes_[id];
  entry = std::make_unique<Lane>(std::move(lane), peer, counters_);
  Open(&entry->source);
}

void Outbound::Open(LaneSource* source) {
  if (!source->PeerIsUp()) return;
  proto::Frame frame;
  *frame.mutable_lane_open() = source->open_frame();
  source->peer()->Write(Side::kDialed, proto::BULK, std::move(frame));
  source->set_state(LaneSource::State::kOpening);
}

void Outbound::End(LaneSource* source) {
  if (source->state() == LaneSource::State::kWaiting) return;
  proto::Frame frame;
  frame.mutable_lane_end()->set_lane(source->id());
  frame.mutable_lane_end()->set_end_reason(source->end_reason());
  source->peer()->Write(Side::kDialed, proto::BULK, std::move(frame));
  source->set_state(LaneSource::State::kEnding);
}

void Outbound::Finish(uint64_t lane, uint32_t end_reason) {
  const auto found = lanes_.find(lane);
  if (found == lanes_.end()) return;
  found->second->finishing = true;
  found->second->source.set_end_reason(end_reason);
}

void Outbound::Remove(uint64_t lane) {
  const auto found = lanes_.find(lane);
  if (found == lanes_.end()) return;
  End(&found->second->source);
  Erase(lane);
}

void Outbound::RemoveAllOf(const Peer* peer) {
  std::vector<uint64_t> theirs;
  for (const auto& [id, lane] : lanes_) {
    if (lane->source.peer() == peer) theirs.push_back(id);
  }
  for (const uint64_t id : theirs) Erase(id);
}

void Outbound::Erase(uint64_t lane) {
  const auto found = lanes_.find(lane);
  found->second->source.Flush();
  lanes_.erase(found);
}

void Outbound::PeerUp(Peer* peer) {
  for (const auto& [id, lane] : lanes_) {
    if (lane->source.peer() != peer) continue;
    lane->source.Rewind();
    lane->open_at = absl::InfiniteFuture();
    Open(&lane->source);
  }
}

void Outbound::PeerDown(const Peer* peer) {
  for (const auto& [id, lane] : lanes_) {
    if (lane->source.peer() == peer) lane->source.Rewind();
  }
}

Outbound::Lane* Outbound::Find(const Peer* peer, uint64_t lane) {
  const auto found = lanes_.find(lane);
  if (found == lanes_.end() || found->second->source.peer() != peer) return nullptr;
  return found->second.get();
}

absl::Status Outbound::TakeLaneState(const Peer* peer, const proto::LaneState& state) {
  Lane* const lane = Find(peer, state.lane());
  if (lane == nullptr || lane->source.state() == LaneSource::State::kWaiting) {
    return absl::OkStatus();
  }
  absl::Status status = FromStatusInfo(state.status());
  if (lane->source.state() == LaneSource::State::kEnding) {
    // The confirmation; what was on its way before it does not matter any more.
    if (status.ok()) return absl::OkStatus();
    Erase(state.lane());
    events_->OnLaneFinished(state.lane());
    return absl::OkStatus();
  }
  const bool opening = lane->source.state() == LaneSource::State::kOpening;
  // A refusal says nothing of what was accepted.
  absl::Status known;
  if (!opening) {
    known = lane->source.Acknowledge(state.accepted());
  } else if (status.ok()) {
    known = lane->source.Resume(state);
  }
  // All of it was accepted and LaneEnd was said, when the sessions broke before the confirmation.
  const bool ended = lane->finishing && lane->source.Drained();
  if (ended && !status.ok()) {
    Erase(state.lane());
    events_->OnLaneFinished(state.lane());
    return absl::OkStatus();
  }
  if (ended && absl::IsDataLoss(known)) {
    End(&lane->source);
    return absl::OkStatus();
  }
  if (IsPassing(status) && !state.for_good()) {
    lane->source.Rewind();
    lane->open_at = absl::Now() + kRetry;
    return absl::OkStatus();
  }
  if (status.ok()) {
    if (absl::IsInvalidArgument(known)) return known;
    if (known.ok() && std::exchange(lane->told, true)) return absl::OkStatus();
    status = known;
    // The peer has it open.
    if (!status.ok()) End(&lane->source);
  }
  if (!status.ok()) Erase(state.lane());
  events_->OnLaneState(state.lane(), status, state);
  return absl::OkStatus();
}

absl::Status Outbound::TakeAck(const Peer* peer, const proto::Ack& ack) {
  Lane* const lane = Find(peer, ack.lane());
  if (lane == nullptr || lane->source.state() != LaneSource::State::kOpen) {
    return absl::OkStatus();
  }
  return lane->source.Acknowledge(ack.accepted());
}

void Outbound::TakeReceivers(const Peer* peer, const proto::Receivers& receivers) {
  const Lane* const lane = Find(peer, receivers.lane());
  if (lane == nullptr || lane->source.state() == LaneSource::State::kWaiting) return;
  events_->OnReceivers(receivers.lane(), receivers.count());
}

void Outbound::TakeReceipts(const Peer* peer, const proto::Receipts& receipts) {
  const Lane* const lane = Find(peer, receipts.lane());
  if (lane == nullptr || lane->source.state() == LaneSource::State::kWaiting) return;
  events_->OnReceipts(peer->node(), receipts);
}

bool Outbound::SendOf(Lane* lane) {
  LaneSource& source = lane->source;
  bool busy = false;
  for (const auto session_class : {proto::URGENT, proto::BULK}) {
    if (source.state() != LaneSource::State::kOpen || lane->corrupt) return busy;
    if (!source.peer()->HasRoom(session_class)) continue;
    proto::Frame frame;
    const LaneSource::Next next = source.NextFrame(session_class, frame.mutable_data());
    if (next == LaneSource::Next::kFrame) {
      source.peer()->Write(Side::kDialed, session_class, std::move(frame));
      busy = true;
    }
    lane->corrupt = next == LaneSource::Next::kCorrupt;
  }
  if (!busy && lane->finishing && source.state() == LaneSource::State::kOpen && source.Drained()) {
    source.Flush();
    End(&source);
    busy = true;
  }
  return busy;
}

bool Outbound::Send(absl::Time now) {
  bool busy = false;
  std::vector<uint64_t> corrupt;
  const auto begin = lanes_.lower_bound(next_);
  auto lane = begin;
  for (size_t i = 0; i < lanes_.size(); ++i, ++lane) {
    if (lane == lanes_.end()) lane = lanes_.begin();
    if (lane->second->open_at <= now) {
      lane->second->open_at = absl::InfiniteFuture();
      Open(&lane->second->source);
    }
    busy |= SendOf(lane->second.get());
    if (lane->second->corrupt) corrupt.push_back(lane->first);
  }
  next_ = begin == lanes_.end() ? 0 : begin->first + 1;
  for (const uint64_t id : corrupt) {
    lanes_.find(id)->second->source.Refuse();
    Remove(id);
    events_->OnLaneCorrupt(id);
  }
  return busy || !corrupt.empty();
}

void Outbound::Flush() {
  for (const auto& [id, lane] : lanes_) lane->source.Flush();
}

}  // namespace mailrail
