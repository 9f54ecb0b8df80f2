#include "core/mailbox/receive_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/message/message_access.h"

namespace mailrail {
namespace {

// A body up to this size is copied out even when it stands in the slab: that costs less than a
// view, whose room the sender gets back later.
constexpr uint32_t kAlwaysCopied = 1024;

// How often a receiver looks for something better than what it found, and how often it may lose a
// claim, before it takes a sender for one that plays with it. Sound ones keep it to a few of each.
constexpr size_t kMaxLooks = 100;
constexpr int kMaxLosses = 1000;

// Versions wrap.
bool IsAfter(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) > 0; }

absl::Status BadLane(const ProcessId& sender) {
  return absl::DataLossError(
      absl::StrCat("the lane of ", sender.ToString(), " is not well-formed; it was closed"));
}

}  // namespace

IncomingRing::IncomingRing(uint64_t id, const ProcessId& sender, bool same_user,
                           std::shared_ptr<LinkMemory> link, bool by_agent)
    : IncomingLane(id, sender, same_user, by_agent),
      link_(std::move(link)),
      reader_(link_->geometry, link_->own.data(), link_->peer.data()) {}

IncomingCells::IncomingCells(uint64_t id, const ProcessId& sender, bool same_user,
                             std::shared_ptr<const CellMemory> memory, bool by_agent)
    : IncomingLane(id, sender, same_user, by_agent),
      memory_(std::move(memory)),
      reader_(memory_->geometry, memory_->data.data(), memory_->state.data()) {}

void ReceiveQueue::ReachLocked(uint32_t version) {
  if (IsAfter(version, read_version_)) read_version_ = version;
}

void ReceiveQueue::Join(std::shared_ptr<IncomingLane> lane, uint32_t version) {
  absl::MutexLock lock(&mutex_);
  const uint64_t id = lane->id();
  changes_.push_back({std::move(lane), id});
  ReachLocked(version);
}

void ReceiveQueue::End(uint64_t lane_id, uint32_t version, EndReason reason) {
  absl::MutexLock lock(&mutex_);
  changes_.push_back({nullptr, lane_id, reason});
  ReachLocked(version);
}

void ReceiveQueue::Reach(uint32_t version) {
  absl::MutexLock lock(&mutex_);
  ReachLocked(version);
}

uint32_t ReceiveQueue::version() const {
  absl::MutexLock lock(&mutex_);
  return read_version_;
}

bool ReceiveQueue::ReadUpTo(const ControlPage& control) const {
  return !IsAfter(control.members_version.load(), version());
}

// The agent sends its notices before it changes the page, so notices may be ahead.
bool ReceiveQueue::Behind(const ControlPage& control) const {
  return IsAfter(control.members_version.load(), version_);
}

bool ReceiveQueue::LeftOut(const IncomingLane& lane, const ProcessId* only_from) const {
  if (only_from != nullptr && lane.sender() != *only_from) return true;
  return !passed_over_.empty() &&
         std::find(passed_over_.begin(), passed_over_.end(), &lane) != passed_over_.end();
}

bool ReceiveQueue::Fits(size_t body_bytes) const {
  return body_bytes <= limits_.max_message_bytes &&
         (!limits_.fixed_size || body_bytes == limits_.max_message_bytes);
}

bool ReceiveQueue::MayCarry(const IncomingLane& lane, const Record& record) const {
  return record.has_prefix ? lane.by_agent() : Fits(record.length);
}

void ReceiveQueue::TakeOverChanges() {
  std::vector<Change> changes;
  {
    absl::MutexLock lock(&mutex_);
    changes.swap(changes_);
    version_ = read_version_;
  }
  for (Change& change : changes) {
    if (change.joined != nullptr) {
      AddLane(std::move(change.joined));
    } else {
      EndLane(change.id, change.reason);
    }
  }
}

ReceiveQueue::Taken ReceiveQueue::Take(const ControlPage& control, const ProcessId* only_from,
                                       Message* message) {
  if (!passed_over_.empty()) passed_over_.clear();
  int losses = 0;
  while (true) {
    // Before the look: it lets go of lanes.
    if (TakeEnd(only_from, message)) return Taken::kMessage;
    Candidate best;
    if (!Find(only_from, &best)) return Taken::kCorrupt;
    if (Behind(control)) {
      TakeOverChanges();
      if (Behind(control)) return Taken::kBehind;
      continue;
    }
    if (!best.found()) {
      DropEnded();
      // Of what was let go the end may be told.
      return TakeEnd(only_from, message) ? Taken::kMessage : Taken::kNothing;
    }
    // The second look, until one finds nothing better: a message that goes before may have been
    // sent between our look at its place and the sending of the candidate.
    Candidate better = best;
    for (size_t looks = 0; looks < kMaxLooks; ++looks) {
      if (!Find(only_from, &better)) return Taken::kCorrupt;
      if (better.priority == best.priority && better.stamp == best.stamp &&
          better.lane == best.lane) {
        break;
      }
      best = better;
    }
    switch (Claim(best, message)) {
      case Claimed::kYes:
        return Taken::kMessage;
      case Claimed::kLost:
        if (++losses < kMaxLosses) continue;
        losses = 0;
        passed_over_.push_back(&lane(best.lane));
        continue;
      case Claimed::kCorrupt:
        return Taken::kCorrupt;
      case Claimed::kVoid:
        return Taken::kVoid;
    }
  }
}

bool ReceiveQueue::MayHave(const ControlPage& control) {
  if (!passed_over_.empty()) passed_over_.clear();
  Candidate best;
  return !Find(nullptr, &best) || best.found() || Behind(control) || HasEnd() ||
         control.closed.load() != 0;
}

void InboxQueue::AddLane(std::shared_ptr<IncomingLane> lane) {
  lanes_.push_back({std::static_pointer_cast<IncomingRing>(std::move(lane))});
}

void InboxQueue::EndLane(uint64_t id, EndReason reason) {
  for (Lane& lane : lanes_) {
    if (lane.ring->id() != id) continue;
    lane.ended = some_ended_ = true;
    lane.reason = reason;
  }
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

void InboxQueue::Drop(const Lane& lane) {
  lane.ring->reader().Flush();
  absl::MutexLock lock(&watched_mutex_);
  if (lane.reason == EndReason::kNone || watched_.erase(lane.ring->sender()) == 0) return;
  ended_.push_back({lane.ring->sender(), lane.reason});
}

bool InboxQueue::HasLaneOf(const ProcessId& sender) const {
  return std::any_of(lanes_.begin(), lanes_.end(), [&](const Lane& lane) {
    return lane.ring->sender() == sender && !lane.ended;
  });
}

bool InboxQueue::Find(const ProcessId* only_from, Candidate* best) {
  for (size_t i = 0; i < lanes_.size(); ++i) {
    if (LeftOut(*lanes_[i].ring, only_from)) continue;
    RingReader& reader = lanes_[i].ring->reader();
    uint32_t in_use = reader.rings_in_use();
    while (in_use != 0) {
      const int priority = 31 - __builtin_clz(in_use);
      if (priority < best->priority) break;
      in_use &= ~(1u << priority);
      Record record;
      const Look look = reader.Peek(priority, &record);
      if (look == Look::kCorrupt) {
        DropCorrupt(i);
        return false;
      }
      if (look == Look::kEmpty) continue;
      if (best->BeatenBy(priority, record.stamp)) {
        best->lane = i;
        best->priority = priority;
        best->stamp = record.stamp;
        best->record = record;
      }
      break;
    }
  }
  return true;
}

void InboxQueue::DropCorrupt(size_t index) {
  set_error(BadLane(lanes_[index].ring->sender()));
  lanes_[index].ring->reader().Refuse();
  lanes_[index].reason = EndReason::kUnreachable;
  Drop(lanes_[index]);
  lanes_.erase(lanes_.begin() + static_cast<std::ptrdiff_t>(index));
}

ReceiveQueue::Claimed InboxQueue::Claim(const Candidate& best, Message* message) {
  const std::shared_ptr<IncomingRing>& ring = lanes_[best.lane].ring;
  const internal::MessageOrigin origin{ring->sender(), best.priority, 0};
  const Record& record = best.record;
  if (!MayCarry(*ring, record)) {
    DropCorrupt(best.lane);
    return Claimed::kCorrupt;
  }
  const bool view = record.in_slab && ring->same_user() && record.length > kAlwaysCopied;
  const bool whole = view ? internal::MessageAccess::View(record, origin, ring, message)
                          : internal::MessageAccess::Copy(record, origin, message);
  ring->reader().Advance(best.priority, record);
  ring->reader().Consume(best.priority, record);
  if (record.in_slab && !(view && whole)) {
    ring->reader().ReleaseCell(best.priority, record.cell, record.sequence);
  }
  if (whole && Fits(message->body().size())) return Claimed::kYes;
  *message = Message();
  DropCorrupt(best.lane);
  return Claimed::kCorrupt;
}

void InboxQueue::Flush() {
  for (const Lane& lane : lanes_) lane.ring->reader().Flush();
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

void MailboxQueue::AddLane(std::shared_ptr<IncomingLane> lane) {
  lanes_.push_back(std::static_pointer_cast<IncomingCells>(std::move(lane)));
}

// The agent ends a mailbox's lane when it is drained.
void MailboxQueue::EndLane(uint64_t id, EndReason) {
  lanes_.erase(std::remove_if(lanes_.begin(), lanes_.end(),
                              [id](const auto& lane) { return lane->id() == id; }),
               lanes_.end());
}

bool MailboxQueue::HasLaneOf(const ProcessId& sender) const {
  return std::any_of(lanes_.begin(), lanes_.end(),
                     [&](const auto& lane) { return lane->sender() == sender; });
}

bool MailboxQueue::Find(const ProcessId* only_from, Candidate* best) {
  for (size_t i = 0; i < lanes_.size(); ++i) {
    if (LeftOut(*lanes_[i], only_from)) continue;
    CellReader& reader = lanes_[i]->reader();
    uint32_t in_use = reader.rings_in_use();
    while (in_use != 0) {
      const int priority = 31 - __builtin_clz(in_use);
      if (priority < best->priority) break;
      in_use &= ~(1u << priority);
      CellHead head;
      const Look look = reader.Peek(priority, &head);
      if (look == Look::kCorrupt) {
        DropCorrupt(i);
        return false;
      }
      if (look == Look::kEmpty) continue;
      if (best->BeatenBy(priority, head.stamp)) {
        best->lane = i;
        best->priority = priority;
        best->stamp = head.stamp;
        best->head = head;
      }
      break;
    }
  }
  return true;
}

void MailboxQueue::DropCorrupt(size_t index) {
  set_error(BadLane(lanes_[index]->sender()));
  lanes_.erase(lanes_.begin() + static_cast<std::ptrdiff_t>(index));
}

ReceiveQueue::Claimed MailboxQueue::Claim(const Candidate& best, Message* message) {
  const std::shared_ptr<IncomingCells> lane = lanes_[best.lane];
  CellReader& reader = lane->reader();
  const CellHead& head = best.head;
  if (!reader.Claim(best.priority, head, number_)) return Claimed::kLost;
  if (gone()) {
    // The agent has taken our claims away before this one, or will find it gone.
    reader.Return(best.priority, head.slot, head.position, number_, /*attempted=*/false);
    return Claimed::kVoid;
  }
  uint32_t attempts = head.attempts;
  if (head.returned && attempts == 0 && reader.Overtaken(best.priority, head)) attempts = 1;
  Record record;
  bool whole = reader.Read(best.priority, head, &record) == Look::kReady && MayCarry(*lane, record);
  if (whole && lease_out_ != nullptr) {
    *lease_out_ = {lane, best.priority, head.position, head.slot, attempts, record};
    return Claimed::kYes;
  }
  const internal::MessageOrigin origin{lane->sender(), best.priority, static_cast<int>(attempts)};
  const bool view = whole && record.in_slab && lane->same_user() && record.length > kAlwaysCopied;
  // Copied before it is taken: whoever dies in between has not received it.
  if (whole && !view) whole = internal::MessageAccess::Copy(record, origin, message);
  if (!reader.Take(best.priority, head.slot, head.position, number_, view)) {
    // Not ours any more: we are gone, or the sender has meddled with the state, and loses it.
    return gone() ? Claimed::kVoid : Claimed::kLost;
  }
  if (view) {
    whole = internal::MessageAccess::View(record, origin, lane, message);
    if (!whole) reader.Done(best.priority, head.slot, head.position);
  }
  if (whole && Fits(message->body().size())) return Claimed::kYes;
  if (message != nullptr) *message = Message();
  DropCorrupt(best.lane);
  return Claimed::kCorrupt;
}

ReceiveQueue::Taken MailboxQueue::TakeLease(const ControlPage& control, Lease* lease) {
  lease_out_ = lease;
  const Taken taken = Take(control, nullptr, nullptr);
  lease_out_ = nullptr;
  return taken;
}

bool MailboxQueue::Finish(const Lease& lease, Outcome outcome) {
  CellReader& reader = lease.lane->reader();
  if (outcome == Outcome::kReceived) {
    return reader.Take(lease.priority, lease.slot, lease.sequence, number_, false);
  }
  return reader.Return(lease.priority, lease.slot, lease.sequence, number_,
                       /*attempted=*/outcome == Outcome::kReturned);
}

std::vector<Lease> MailboxQueue::HeldLeases() {
  TakeOverChanges();
  std::vector<Lease> leases;
  for (const std::shared_ptr<IncomingCells>& lane : lanes_) {
    for (int priority = 0; priority < kPriorityCount; ++priority) {
      for (const CellHead& head : lane->reader().HeldBy(priority, number_)) {
        Lease lease{lane, priority, head.position, head.slot, head.attempts, {}};
        if (lane->reader().Read(priority, head, &lease.record) == Look::kReady &&
            MayCarry(*lane, lease.record)) {
          leases.push_back(std::move(lease));
        } else {
          // Its sender has changed it since it was claimed: nobody can have it.
          lane->reader().Take(priority, head.slot, head.position, number_, false);
        }
      }
    }
  }
  return leases;
}

}  // namespace mailrail
