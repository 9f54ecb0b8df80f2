#include "core/mailbox/inbox_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "core/base/seeded_bug.h"
#include "core/message/message_access.h"

namespace mailrail {
namespace {

// Of a lane that is mute: looks at all lanes pass it over at no cost.
const SharedAtomic<uint32_t> kNoRings(0);

// Whether `what` may stand for the name of something watched.
bool IsNamed(absl::string_view name, const Ended& what) {
  if (name == what.name) return true;
  return what.kind == Ended::Kind::kMailbox && absl::ConsumePrefix(&name, what.name) &&
         absl::StartsWith(name, "@");
}

}  // namespace

void InboxQueue::AddLane(std::shared_ptr<IncomingLane> lane) {
  auto ring = std::static_pointer_cast<IncomingRing>(std::move(lane));
  RingReader* const reader = &ring->reader();
  const uint64_t id = ring->id();
  Lane added = {std::move(ring), reader, reader->rings_in_use_word()};
  if (added.ring->mute()) added.rings_in_use = &kNoRings;
  // One that was mute may be heard from now on.
  const auto former = std::find_if(lanes_.begin(), lanes_.end(),
                                   [id](const Lane& other) { return other.ring->id() == id; });
  if (former == lanes_.end()) {
    lanes_.push_back(std::move(added));
  } else if (former->ring->mute()) {
    former->ring = std::move(added.ring);
    former->reader = added.reader;
    former->rings_in_use = added.rings_in_use;
  }
}

void InboxQueue::EndLane(uint64_t id, EndReason reason) {
  for (Lane& lane : lanes_) {
    if (lane.ring->id() != id) continue;
    lane.ended = some_ended_ = true;
    if (reason != EndReason::kNone) lane.reason = reason;
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
  if (ABSL_PREDICT_FALSE(!MayCarry(record))) {
    DropCorrupt(best.lane);
    return Claimed::kCorrupt;
  }
  if (Expired(record)) {
    reader.Advance(best.priority, record);
    reader.Consume(best.priority, record);
    if (record.in_slab) reader.ReleaseCell(best.priority, record.cell, record.sequence);
    return Claimed::kExpired;
  }
  if (SEEDED_BUG(CURSOR_BEFORE_COPY)) reader.Consume(best.priority, record);
  const internal::MessageOrigin origin{ring->sender(), best.priority, 0, ring->by_agent()};
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
  if (MayHaveBest(this, control)) return true;
  // One that has ended may have been the last of something watched.
  if (some_ended_) DropEnded();
  return !ended_.empty();
}

void InboxQueue::Flush() {
  for (const Lane& lane : lanes_) lane.ring->reader().Flush();
}

bool InboxQueue::HasLaneOf(const ProcessId& sender) const {
  return std::any_of(lanes_.begin(), lanes_.end(), [&](const Lane& lane) {
    return lane.ring->sender() == sender && !lane.ended;
  });
}

void InboxQueue::EndWatched(const Ended& what, const ProcessId& process, EndReason reason) {
  bool has_lane = false;
  for (Lane& lane : lanes_) {
    if (what.kind != Ended::Kind::kProcess || lane.ring->sender() != process) continue;
    has_lane = lane.ended = some_ended_ = true;
    if (lane.reason == EndReason::kNone) lane.reason = reason;
  }
  // Else it is told when what is in the lane is received.
  if (!has_lane) NoteEnd(what, process, reason);
}

void InboxQueue::Watch(const Ended& what) {
  absl::MutexLock lock(&watched_mutex_);
  ++watched_[Name(what.kind, what.name)];
}

void InboxQueue::UndoWatch(const Ended& what) {
  absl::MutexLock lock(&watched_mutex_);
  const auto watched = watched_.find(Name(what.kind, what.name));
  if (watched != watched_.end() && --watched->second == 0) watched_.erase(watched);
}

bool InboxQueue::Unwatch(const Ended& what) {
  absl::MutexLock lock(&watched_mutex_);
  return absl::erase_if(watched_, [&what](const auto& entry) {
           return entry.first.first == what.kind && IsNamed(entry.first.second, what);
         }) > 0;
}

bool InboxQueue::IsWatched(const Ended& what) {
  absl::MutexLock lock(&watched_mutex_);
  return watched_.contains(Name(what.kind, what.name));
}

void InboxQueue::NoteEnd(Ended what, const ProcessId& process, EndReason reason) {
  absl::MutexLock lock(&watched_mutex_);
  if (reason == EndReason::kNone || !watched_.contains(Name(what.kind, what.name))) return;
  ended_.push_back({std::move(what), process, reason});
}

bool InboxQueue::TakeEnd(const ProcessId* only_from, Message* message) {
  if (some_ended_) DropEnded();
  for (size_t i = 0; i < ended_.size();) {
    if (only_from != nullptr && ended_[i].process != *only_from) {
      ++i;
      continue;
    }
    const Ending end = std::move(ended_[i]);
    ended_.erase(ended_.begin() + static_cast<std::ptrdiff_t>(i));
    absl::MutexLock lock(&watched_mutex_);
    if (watched_.erase(Name(end.what.kind, end.what.name)) == 0) continue;
    *message = internal::MessageAccess::End(end.what, end.process, end.reason);
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
    if (!lane.ring->mute() && !is_empty(lane.ring->reader())) {
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
  const ProcessId& sender = lane.ring->sender();
  NoteEnd({Ended::Kind::kProcess, sender.ToString()}, sender, lane.reason);
}

}  // namespace mailrail
