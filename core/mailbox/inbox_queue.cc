#include "core/mailbox/inbox_queue.h"

#include <algorithm>
#include <utility>

#include "core/base/seeded_bug.h"
#include "core/message/message_access.h"

namespace mailrail {

void InboxQueue::AddLane(std::shared_ptr<IncomingLane> lane) {
  auto ring = std::static_pointer_cast<IncomingRing>(std::move(lane));
  RingReader* const reader = &ring->reader();
  lanes_.push_back({std::move(ring), reader, reader->rings_in_use_word()});
}

void InboxQueue::EndLane(uint64_t id, EndReason reason) {
  for (Lane& lane : lanes_) {
    if (lane.ring->id() != id) continue;
    lane.ended = some_ended_ = true;
    lane.reason = reason;
  }
}

// Find and Claim are most of Take.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline ReceiveQueue::Found InboxQueue::Find(const ProcessId* only_from,
                                                                         Candidate* best) {
  Found found = Found::kNothingBetter;
  const size_t count = lanes_.size();
  size_t i = First();
  for (size_t looked = 1; looked <= count; ++looked, i = After(i)) {
    uint32_t rings = InUse(lanes_[i]);
    if (best->found()) rings &= Above(best->priority);
    if (rings == 0 || LeftOut(*lanes_[i].ring, only_from)) continue;
    RingReader& reader = *lanes_[i].reader;
    while (rings != 0) {
      const int priority = 31 - __builtin_clz(rings);
      rings &= ~(uint32_t{1} << priority);
      const Look look = reader.Peek(priority, &best->record);
      if (look == Look::kEmpty) continue;
      if (ABSL_PREDICT_FALSE(look == Look::kCorrupt)) {
        DropCorrupt(i);
        return Found::kCorrupt;
      }
      best->lane = i;
      best->priority = priority;
      best->looked = looked;
      found = Found::kBetter;
      break;
    }
  }
  return found;
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline ReceiveQueue::Claimed InboxQueue::Claim(const Candidate& best,
                                                                            Message* message) {
  const std::shared_ptr<IncomingRing>& ring = lanes_[best.lane].ring;
  RingReader& reader = *lanes_[best.lane].reader;
  const Record& record = best.record;
  if (ABSL_PREDICT_FALSE(!MayCarry(*ring, record))) {
    DropCorrupt(best.lane);
    return Claimed::kCorrupt;
  }
  if (SEEDED_BUG(CURSOR_BEFORE_COPY)) reader.Consume(best.priority, record);
  const internal::MessageOrigin origin{ring->sender(), best.priority, 0};
  const bool view = record.in_slab && ring->same_user() && record.length > kAlwaysCopied;
  const bool whole = view ? internal::MessageAccess::View(record, origin, ring, message)
                          : internal::MessageAccess::Copy(record, origin, message);
  turn_ = best.lane + 1;
  reader.Advance(best.priority, record);
  reader.Consume(best.priority, record);
  if (record.in_slab && !(view && whole)) {
    reader.ReleaseCell(best.priority, record.cell, record.sequence);
  }
  if (ABSL_PREDICT_TRUE(whole && Fits(message->body().size()))) return Claimed::kYes;
  *message = Message();
  DropCorrupt(best.lane);
  return Claimed::kCorrupt;
}

ReceiveQueue::Taken InboxQueue::Take(const ControlPage& control, const ProcessId* only_from,
                                     Message* message) {
  // Before the look: it lets go of lanes.
  if (ABSL_PREDICT_FALSE(some_ended_ || !ended_.empty()) && TakeEnd(only_from, message)) {
    return Taken::kMessage;
  }
  return TakeBest(this, control, only_from, message);
}

ReceiveQueue::Taken InboxQueue::TakeNothing(const ProcessId* only_from, Message* message) {
  // Lanes may have ended in this look.
  if (ABSL_PREDICT_TRUE(!some_ended_ && ended_.empty())) return Taken::kNothing;
  return TakeEnd(only_from, message) ? Taken::kMessage : Taken::kNothing;
}

ReceiveQueue::Found InboxQueue::FindAgain(const ProcessId* only_from, Candidate* best) {
  return Find(only_from, best);
}

bool InboxQueue::MayHave(const ControlPage& control) {
  return MayHaveBest(this, control) || !ended_.empty();
}

void InboxQueue::Flush() {
  for (const Lane& lane : lanes_) lane.ring->reader().Flush();
}

bool InboxQueue::HasLaneOf(const ProcessId& sender) const {
  return std::any_of(lanes_.begin(), lanes_.end(), [&](const Lane& lane) {
    return lane.ring->sender() == sender && !lane.ended;
  });
}

void InboxQueue::Watch(const ProcessId& process) {
  absl::MutexLock lock(&watched_mutex_);
  ++watched_[process];
}

void InboxQueue::Unwatch(const ProcessId& process) {
  absl::MutexLock lock(&watched_mutex_);
  const auto watched = watched_.find(process);
  if (watched != watched_.end() && --watched->second == 0) watched_.erase(watched);
}

bool InboxQueue::TakeEnd(const ProcessId* only_from, Message* message) {
  if (some_ended_) DropEnded();
  for (auto ended = ended_.begin(); ended != ended_.end(); ++ended) {
    if (only_from != nullptr && ended->process != *only_from) continue;
    *message = internal::MessageAccess::End(ended->process, ended->reason);
    ended_.erase(ended);
    return true;
  }
  return false;
}

void InboxQueue::DropEnded() {
  const auto is_empty = [](RingReader& reader) {
    for (uint32_t in_use = reader.rings_in_use(); in_use != 0; in_use &= in_use - 1) {
      Record record;
      if (reader.Peek(__builtin_ctz(in_use), &record) != Look::kEmpty) return false;
    }
    return true;
  };
  some_ended_ = false;
  std::erase_if(lanes_, [&](const Lane& lane) {
    if (!lane.ended) return false;
    if (!is_empty(lane.ring->reader())) {
      some_ended_ = true;
      return false;
    }
    Drop(lane);
    return true;
  });
}

void InboxQueue::DropCorrupt(size_t index) {
  RefuseLane(lanes_[index].ring->sender());
  lanes_[index].ring->reader().Refuse();
  lanes_[index].reason = EndReason::kUnreachable;
  Drop(lanes_[index]);
  lanes_.erase(lanes_.begin() + static_cast<std::ptrdiff_t>(index));
}

void InboxQueue::Drop(const Lane& lane) {
  lane.ring->reader().Flush();
  absl::MutexLock lock(&watched_mutex_);
  if (lane.reason == EndReason::kNone || watched_.erase(lane.ring->sender()) == 0) return;
  ended_.push_back({lane.ring->sender(), lane.reason});
}

}  // namespace mailrail
