#include "node/carrier/lane_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "mailrail/limits.h"
#include "node/carrier/record_codec.h"

namespace mailrail {
namespace {

// A frame is as large as this, or has one message.
constexpr size_t kFrameBytes = size_t{32} << 10;

absl::Status NeverSent(uint64_t lane, uint32_t priority, uint64_t sequence) {
  return absl::InvalidArgumentError(absl::StrCat("lane ", lane, ": the peer accepted message ",
                                                 sequence, " of priority ", priority,
                                                 ", which was not sent"));
}

}  // namespace

LaneSource::LaneSource(OutboundLane lane, Peer* peer, Carrier::Counters* counters)
    : lane_(std::move(lane)),
      peer_(peer),
      counters_(counters),
      reader_(lane_.memory->geometry, lane_.memory->own.data(), lane_.memory->peer.data(),
              lane_.memory->reserve.get()) {
  lane_.max_message_bytes =
      std::min<uint64_t>(lane_.max_message_bytes, kLargestMaxMessageBytes);  // a peer said it
  if (!lane_.recover) return;
  reader_.Recover();
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    queues_[priority].acknowledged = reader_.consumed(priority);
  }
}

void LaneSource::Rewind() {
  state_ = State::kWaiting;
  for (Queue& queue : queues_) {
    queue.sent_before = std::max(queue.sent_before, queue.on_way);
    queue.on_way = 0;
  }
  for (Flow& flow : flows_) flow.on_way_bytes = 0;
}

void LaneSource::Release(int priority, uint64_t count) {
  Queue& queue = queues_[priority];
  if (count == 0) return;
  Record last;
  for (uint64_t i = 0; i < count; ++i) {
    last = queue.held.front();
    queue.held.pop_front();
    // The cell before the ring: a carrier that takes over walks again over what is in the ring.
    if (last.in_slab) reader_.ReleaseCell(priority, last.cell, last.sequence);
    if (queue.on_way > 0) {
      --queue.on_way;
      flows_[FlowOf(priority)].on_way_bytes -= PackedBytes(last);
    }
    if (queue.sent_before > 0) --queue.sent_before;
  }
  queue.acknowledged = last.sequence;
  reader_.Consume(priority, last);
}

bool LaneSource::Skip(int priority, uint64_t count) {
  Queue& queue = queues_[priority];
  for (; count > 0; --count) {
    Record record;
    if (Peek(priority, &record) != Look::kReady) return false;
    reader_.Advance(priority, record);
    queue.held.push_back(record);
  }
  return true;
}

absl::Status LaneSource::Resume(const proto::LaneState& state) {
  uint64_t accepted[kPriorityCount] = {};
  for (const proto::Accepted& entry : state.accepted()) {
    if (entry.priority() < kPriorityCount) accepted[entry.priority()] = entry.sequence();
  }
  flows_[0].window_bytes = state.bulk_window_bytes();
  flows_[1].window_bytes = state.urgent_window_bytes();
  for (int priority = 0; priority < kPriorityCount; ++priority) {
    Queue& queue = queues_[priority];
    const int32_t more = SequenceDistance(accepted[priority], queue.acknowledged);
    if (more < 0 || (accepted[priority] == 0 && queue.acknowledged != 0)) {
      return absl::DataLossError(
          absl::StrCat("node ", peer_->node(), " has lost messages that it had accepted"));
    }
    const auto count = static_cast<uint64_t>(more);
    if (count > queue.held.size() && !Skip(priority, count - queue.held.size())) {
      return NeverSent(id(), static_cast<uint32_t>(priority), accepted[priority]);
    }
    Release(priority, count);
  }
  state_ = State::kOpen;
  return absl::OkStatus();
}

absl::Status LaneSource::Acknowledge(
    const google::protobuf::RepeatedPtrField<proto::Accepted>& accepted) {
  for (const proto::Accepted& entry : accepted) {
    if (entry.priority() >= kPriorityCount) return NeverSent(id(), entry.priority(), 0);
    const auto priority = static_cast<int>(entry.priority());
    Queue& queue = queues_[priority];
    const int32_t more = SequenceDistance(entry.sequence(), queue.acknowledged);
    if (more <= 0) continue;
    if (static_cast<size_t>(more) > queue.on_way) {
      return NeverSent(id(), entry.priority(), entry.sequence());
    }
    Release(priority, static_cast<uint64_t>(more));
  }
  return absl::OkStatus();
}

LaneSource::Next LaneSource::NextFrame(proto::SessionClass session_class, proto::Data* data) {
  constexpr uint32_t kUrgentRings = ~uint32_t{0} << kUrgentPriority;
  const bool urgent = session_class == proto::URGENT;
  if (state_ != State::kOpen) return Next::kNothing;
  uint32_t rings = reader_.rings_in_use() & (urgent ? kUrgentRings : ~kUrgentRings);
  while (rings != 0) {
    const int priority = 31 - __builtin_clz(rings);
    rings &= ~(1u << priority);
    const Next next = Fill(priority, data);
    if (next != Next::kNothing) return next;
  }
  return Next::kNothing;
}

Look LaneSource::Peek(int priority, Record* record) {
  const Look look = reader_.Peek(priority, record);
  if (look != Look::kReady) return look;
  const uint64_t prefix = record->has_prefix ? kLargestPrefixBytes : 0;
  return record->length > lane_.max_message_bytes + prefix ? Look::kCorrupt : Look::kReady;
}

LaneSource::Next LaneSource::Fill(int priority, proto::Data* data) {
  Queue& queue = queues_[priority];
  Flow& flow = flows_[FlowOf(priority)];
  const size_t begin = queue.on_way;
  size_t total = 0;
  while (total < kFrameBytes) {
    Record record;
    const bool again = queue.on_way < queue.held.size();
    if (again) {
      record = queue.held[queue.on_way];
    } else {
      const Look look = Peek(priority, &record);
      if (look == Look::kCorrupt && total == 0) return Next::kCorrupt;
      if (look != Look::kReady) break;
    }
    const size_t bytes = PackedBytes(record);
    if (!Fits(flow, bytes)) {
      if (total == 0) return Next::kWindowFull;
      break;
    }
    if (total > 0 && total + bytes > kFrameBytes) break;
    if (!again) {
      reader_.Advance(priority, record);
      queue.held.push_back(record);
    }
    ++queue.on_way;
    flow.on_way_bytes += bytes;
    total += bytes;
  }
  return total == 0 ? Next::kNothing : Pack(priority, begin, total, data);
}

LaneSource::Next LaneSource::Pack(int priority, size_t begin, size_t bytes, proto::Data* data) {
  Queue& queue = queues_[priority];
  data->set_lane(id());
  data->set_priority(static_cast<uint32_t>(priority));
  data->set_first_sequence(queue.held[begin].sequence);
  std::string* const records = data->mutable_records();
  records->reserve(bytes);
  for (size_t i = begin; i < queue.on_way; ++i) {
    const size_t at = records->size() + kPackedHeadBytes;
    if (!PackRecord(queue.held[i], records)) return Next::kCorrupt;
    if (!queue.held[i].has_prefix) continue;
    // Who sends may not say what an agent alone may; what is looked at is what is sent.
    absl::string_view payload = absl::string_view(*records).substr(at);
    Prefix said;
    if (!DecodePrefix(&payload, &said) || (said.NeedsAgent() && !lane_.of_agent)) {
      return Next::kCorrupt;
    }
    if (said.expires_ns != 0 || said.due_ns != 0)
      ShiftTimes(records->data() + at, -MonotonicTime());
  }
  counters_->sent += queue.on_way - begin;
  const size_t again_end = std::min(queue.sent_before, queue.on_way);
  if (again_end > begin) counters_->resent += again_end - begin;
  return Next::kFrame;
}

bool LaneSource::Drained() {
  uint32_t rings = reader_.rings_in_use();
  while (rings != 0) {
    const int priority = 31 - __builtin_clz(rings);
    rings &= ~(1u << priority);
    Record record;
    if (!queues_[priority].held.empty() || reader_.Peek(priority, &record) != Look::kEmpty) {
      return false;
    }
  }
  return true;
}

}  // namespace mailrail
