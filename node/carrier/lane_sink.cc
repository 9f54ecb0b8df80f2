#include "node/carrier/lane_sink.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/message/prefix.h"
#include "node/carrier/record_codec.h"

namespace mailrail {
namespace {

// How many messages are published at a time: enough that what is done once for all of them costs
// little, few enough that the receiver need not wait.
constexpr size_t kBatch = 256;

// An acknowledgement may wait so long, and for so many bytes: much less than a lane has room for.
constexpr absl::Duration kAckDelay = absl::Milliseconds(1);
constexpr uint64_t kAckBytes = uint64_t{64} << 10;

// So many receipts of one lane may be told and not seen: who does not read them gets no more.
constexpr size_t kMostUnseen = 65536;

constexpr uint32_t kUrgentRings = ~uint32_t{0} << kUrgentPriority;

int FlowOf(int priority) { return priority >= kUrgentPriority; }

}  // namespace

LaneSink::LaneSink(InboundLane lane, Peer* peer, const Windows& windows,
                   Carrier::Counters* counters)
    : lane_(std::move(lane)), peer_(peer), counters_(counters) {
  flows_[0].window_bytes = windows.bulk_bytes;
  flows_[1].window_bytes = windows.urgent_bytes;
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    Queue& queue = queues_[priority];
    queue.received = queue.published = lane_.lane->accepted(priority);
  }
  awaits_ends_ = lane_.lane->AwaitsEnds();
}

bool LaneSink::IsOf(uint64_t incarnation) {
  if (lane_.peer_incarnation == 0) lane_.peer_incarnation = incarnation;
  return lane_.peer_incarnation == incarnation;
}

void LaneSink::Restart() {
  for (Queue& queue : queues_) {
    queue.chunks.clear();
    queue.received = queue.published;
  }
  for (Flow& flow : flows_) flow.bytes = flow.records = 0;
  waiting_rings_ = full_rings_ = ack_due_ = 0;
  unacknowledged_bytes_ = 0;
  ack_at_ = absl::InfiniteFuture();
  room_word_.reset();
  told_receivers_.reset();
  ended_ = false;
  for (const auto& [receipt, end] : told_) untold_.push_back(end);
  told_.clear();
  awaits_ends_ = awaits_ends_ || !untold_.empty();
}

std::vector<CellEnd> LaneSink::TakeEnds() {
  // Announced before the look, so that what ends after it wakes us.
  AnnounceWait();
  lane_.lane->TakeEnds(&untold_);
  for (const CellEnd& end : untold_) told_[end.receipt] = end;
  awaits_ends_ = lane_.lane->AwaitsEnds();
  return std::exchange(untold_, {});
}

void LaneSink::ForgetEnd(uint64_t receipt) {
  const auto told = told_.find(receipt);
  if (told == told_.end()) return;
  if (told->second.position != 0)
    lane_.lane->ForgetEnd(told->second.priority, told->second.position);
  told_.erase(told);
}

absl::optional<uint32_t> LaneSink::NewsOfReceivers() {
  const absl::optional<uint32_t> receivers = lane_.lane->receivers();
  if (receivers == told_receivers_) return absl::nullopt;
  told_receivers_ = receivers;
  return receivers;
}

proto::LaneState LaneSink::State() const {
  proto::LaneState state = lane_.state;
  state.set_lane(id());
  state.clear_status();
  state.clear_accepted();
  for (uint32_t priority = 0; priority < kPriorityCount; ++priority) {
    if (queues_[priority].published == 0) continue;
    proto::Accepted* const accepted = state.add_accepted();
    accepted->set_priority(priority);
    accepted->set_sequence(queues_[priority].published);
  }
  state.set_bulk_window_bytes(flows_[0].window_bytes);
  state.set_urgent_window_bytes(flows_[1].window_bytes);
  return state;
}

absl::Status LaneSink::Misbehaved(absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat("lane ", id(), " of node ", peer_->node(), ": ", what));
}

absl::Status LaneSink::Add(proto::SessionClass session_class, proto::Data* data) {
  if (data->priority() >= kPriorityCount) return Misbehaved("no such priority");
  const auto priority = static_cast<int>(data->priority());
  if (FlowOf(priority) != (session_class == proto::URGENT)) {
    return Misbehaved("the priority does not belong on this session");
  }
  const absl::optional<uint64_t> count = CountRecords(data->records());
  if (!count.has_value() || *count == 0) return Misbehaved("the records are not well-formed");
  Queue& queue = queues_[priority];
  const int64_t distance = SequenceDistance(data->first_sequence(), queue.received);
  if (distance > 1) return Misbehaved("messages are missing");
  const auto known = static_cast<uint64_t>(1 - distance);
  if (known > 0) {
    ack_due_ |= 1u << priority;
    ack_at_ = absl::InfinitePast();
  }
  if (known >= *count) return absl::OkStatus();

  Chunk chunk;
  chunk.records = std::move(*data->mutable_records());
  absl::string_view rest = chunk.records;
  Payload skipped;
  for (uint64_t i = 0; i < known; ++i) UnpackRecord(&rest, &skipped);
  chunk.at = chunk.records.size() - rest.size();
  if (!ReadTimes(&chunk)) return Misbehaved("a prefix is not well-formed");
  Flow& flow = flows_[FlowOf(priority)];
  flow.bytes += rest.size();
  flow.records += *count - known;
  if (flow.bytes > flow.window_bytes && flow.records > 1) {
    return Misbehaved("more has come than the window allows");
  }
  queue.received += *count - known;
  queue.chunks.push_back(std::move(chunk));
  waiting_rings_ |= 1u << priority;
  return absl::OkStatus();
}

absl::Status LaneSink::Publish(bool look_again, bool* busy) {
  if (room_word_.has_value() && (look_again || room_word_->word->load() != room_word_->expected)) {
    room_word_.reset();
    full_rings_ = 0;
  }
  uint32_t rings = waiting_rings_ & ~full_rings_;
  while (rings != 0) {
    const int priority = 31 - __builtin_clz(rings);
    rings &= ~(1u << priority);
    if (absl::Status status = PublishAt(priority, busy); !status.ok()) return status;
  }
  if (waiting_rings_ == 0 && !awaits_ends_) room_word_.reset();
  return absl::OkStatus();
}

absl::Status LaneSink::PublishAt(int priority, bool* busy) {
  Queue& queue = queues_[priority];
  while (!queue.chunks.empty()) {
    size_t bytes = 0;
    const absl::StatusOr<size_t> sent = PublishSome(priority, queue.chunks.front(), &bytes);
    if (absl::IsDeadlineExceeded(sent.status()) || absl::IsResourceExhausted(sent.status())) {
      // To make room it may have something to bury.
      agent_is_to_look_ |= lane_.lane->options().when_full == FullPolicy::kDropOldest;
      if (AnnounceWait()) continue;
      full_rings_ |= 1u << priority;
      return absl::OkStatus();
    }
    if (!sent.ok()) return sent.status();
    Flow& flow = flows_[FlowOf(priority)];
    flow.bytes -= bytes;
    flow.records -= *sent;
    queue.published += *sent;
    counters_->received += *sent;
    ack_due_ |= 1u << priority;
    unacknowledged_bytes_ += bytes;
    *busy = true;
    Chunk& chunk = queue.chunks.front();
    chunk.at += bytes;
    if (chunk.at == chunk.records.size()) queue.chunks.pop_front();
  }
  waiting_rings_ &= ~(1u << priority);
  return absl::OkStatus();
}

absl::StatusOr<size_t> LaneSink::PublishSome(int priority, const Chunk& chunk, size_t* bytes) {
  absl::string_view rest = absl::string_view(chunk.records).substr(chunk.at);
  Payload payload;
  bodies_.clear();
  while (!rest.empty() && bodies_.size() < kBatch) {
    UnpackRecord(&rest, &payload);
    if (!payload.prefix.empty()) break;
    bodies_.push_back(payload.body);
  }
  if (bodies_.empty()) {
    const absl::StatusOr<Prefix> prefix = ReadPrefix(payload.prefix);
    if (!prefix.ok()) return prefix.status();
    *bytes = kPackedHeadBytes + payload.size();
    CellOptions options;
    if (prefix->due_ns != 0) options.due_tick = DueTick::At(std::max<int64_t>(prefix->due_ns, 0));
    if (told_.size() < kMostUnseen) options.receipt = prefix->receipt;
    const absl::Status status = lane_.lane->Send(priority, payload, absl::InfinitePast(), options);
    if (!status.ok()) return status;
    agent_is_to_look_ |= options.due_tick != DueTick::kAtOnce;
    awaits_ends_ |= options.receipt != 0 && lane_.lane->to_near_mailbox();
    return 1;
  }
  const absl::StatusOr<size_t> sent =
      lane_.lane->SendBatch(priority, bodies_, absl::InfinitePast());
  for (size_t i = 0; sent.ok() && i < *sent; ++i) *bytes += kPackedHeadBytes + bodies_[i].size();
  return sent;
}

bool LaneSink::ReadTimes(Chunk* chunk) {
  absl::string_view rest = absl::string_view(chunk->records).substr(chunk->at);
  Payload payload;
  while (!rest.empty()) {
    UnpackRecord(&rest, &payload);
    if (payload.prefix.empty()) continue;
    absl::string_view bytes = payload.prefix;
    Prefix prefix;
    if (!DecodePrefix(&bytes, &prefix)) return false;
    if (prefix.expires_ns == 0 && prefix.due_ns == 0) continue;
    ShiftTimes(chunk->records.data() + (payload.prefix.data() - chunk->records.data()),
               MonotonicTime());
    agent_is_to_look_ |= lane_.lane->SetExpires();
  }
  return true;
}

absl::StatusOr<Prefix> LaneSink::ReadPrefix(absl::string_view bytes) const {
  Prefix prefix;
  if (!DecodePrefix(&bytes, &prefix)) {
    return absl::InvalidArgumentError("the prefix of a message is not well-formed");
  }
  if (prefix.sender.has_value() && prefix.sender->node() != peer_->node()) {
    return absl::PermissionDeniedError(
        absl::StrCat("node ", peer_->node(), " may not send as ", prefix.sender->ToString()));
  }
  return prefix;
}

bool LaneSink::AnnounceWait() {
  if (room_word_.has_value()) return false;
  room_word_ = lane_.lane->ParkForRoom();
  return true;
}

void LaneSink::WriteAcks(absl::Time now) {
  if (ack_due_ == 0) return;
  if (ack_at_ == absl::InfiniteFuture()) ack_at_ = now + kAckDelay;
  if (unacknowledged_bytes_ < kAckBytes && now < ack_at_ && !ended_) return;
  for (const auto session_class : {proto::URGENT, proto::BULK}) {
    uint32_t due = ack_due_ & (session_class == proto::URGENT ? kUrgentRings : ~kUrgentRings);
    if (due == 0) continue;
    proto::Frame frame;
    proto::Ack* const ack = frame.mutable_ack();
    ack->set_lane(id());
    for (; due != 0; due &= due - 1) {
      const auto priority = static_cast<uint32_t>(__builtin_ctz(due));
      proto::Accepted* const accepted = ack->add_accepted();
      accepted->set_priority(priority);
      accepted->set_sequence(queues_[priority].published);
    }
    peer_->Write(Side::kAccepted, session_class, std::move(frame));
  }
  ack_due_ = 0;
  unacknowledged_bytes_ = 0;
  ack_at_ = absl::InfiniteFuture();
}

}  // namespace mailrail
