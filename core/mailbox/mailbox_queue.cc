#include "core/mailbox/mailbox_queue.h"

#include <algorithm>
#include <utility>

#include "core/base/seeded_bug.h"
#include "core/message/message_access.h"

namespace mailrail {

void MailboxQueue::AddLane(std::shared_ptr<IncomingLane> lane) {
  lanes_.push_back(std::static_pointer_cast<IncomingCells>(std::move(lane)));
  lanes_.back()->reader().set_max_attempts(max_attempts_);
  if (choice_.active()) lanes_.back()->reader().set_choice(&choice_, lanes_.back()->id());
}

// The agent ends a mailbox's lane when it is drained.
void MailboxQueue::EndLane(uint64_t id, EndReason) {
  std::erase_if(lanes_, [id](const auto& lane) { return lane->id() == id; });
}

bool MailboxQueue::HasLaneOf(const ProcessId& sender) const {
  return std::any_of(lanes_.begin(), lanes_.end(),
                     [&](const auto& lane) { return lane->sender() == sender; });
}

ReceiveQueue::Found MailboxQueue::FindInTurn(const ProcessId* only_from, Candidate* best) {
  Found found = Found::kNothingBetter;
  size_t i = turn_ < lanes_.size() ? turn_ : 0;
  for (size_t looked = 0; looked < lanes_.size(); ++looked, i = i + 1 < lanes_.size() ? i + 1 : 0) {
    CellReader& reader = lanes_[i]->reader();
    uint32_t rings = reader.rings_in_use() & priorities_;
    if (best->found()) rings &= Above(best->priority);
    if (rings == 0 || LeftOut(*lanes_[i], only_from)) continue;
    while (rings != 0) {
      const int priority = 31 - __builtin_clz(rings);
      rings &= ~(uint32_t{1} << priority);
      CellHead head;
      const Look look = reader.Peek(priority, &head);
      if (look == Look::kEmpty) continue;
      if (ABSL_PREDICT_FALSE(look == Look::kCorrupt)) {
        DropCorrupt(i);
        return Found::kCorrupt;
      }
      *best = {i, priority, head};
      found = Found::kBetter;
      break;
    }
  }
  return found;
}

ReceiveQueue::Found MailboxQueue::Find(const ProcessId* only_from, Candidate* best) {
  if (per_sender_) return FindInTurn(only_from, best);
  Found found = Found::kNothingBetter;
  for (size_t i = 0; i < lanes_.size(); ++i) {
    CellReader& reader = lanes_[i]->reader();
    uint32_t rings = reader.rings_in_use() & priorities_;
    if (best->found()) rings &= ~((uint32_t{1} << best->priority) - 1);
    if (rings == 0 || LeftOut(*lanes_[i], only_from)) continue;
    while (rings != 0) {
      const int priority = 31 - __builtin_clz(rings);
      rings &= ~(uint32_t{1} << priority);
      CellHead head;
      const Look look = reader.Peek(priority, &head);
      if (look == Look::kEmpty) continue;
      if (ABSL_PREDICT_FALSE(look == Look::kCorrupt)) {
        DropCorrupt(i);
        return Found::kCorrupt;
      }
      if (priority == best->priority && head.stamp >= best->head.stamp) break;
      best->lane = i;
      best->priority = priority;
      best->head = head;
      found = Found::kBetter;
      break;
    }
  }
  return found;
}

void MailboxQueue::Distribute(Distribution distribution, uint32_t number) {
  choice_.self = number;
  choice_.by = distribution == Distribution::kRoundRobin    ? CellChoice::By::kPosition
               : distribution == Distribution::kStickyByKey ? CellChoice::By::kKey
                                                            : CellChoice::By::kNothing;
}

ReceiveQueue::Taken MailboxQueue::Take(const ControlPage& control, const ProcessId* only_from,
                                       Message* message) {
  LearnReceivers(control);
  if (ABSL_PREDICT_FALSE(right_ != 0)) {
    if (Waits(control)) return Taken::kNothing;
    control_ = &control;
  }
  return TakeBest(this, control, only_from, message);
}

void MailboxQueue::DropCorrupt(size_t index) {
  RefuseLane(lanes_[index]->sender());
  lanes_.erase(lanes_.begin() + static_cast<std::ptrdiff_t>(index));
}

uint32_t MailboxQueue::AttemptsOf(const Candidate& best) const {
  const CellHead& head = best.head;
  if (!head.returned || head.attempts > 0) return head.attempts;
  return lanes_[best.lane]->reader().Overtaken(best.priority, head) ? 1 : 0;
}

ReceiveQueue::Claimed MailboxQueue::Claim(const Candidate& best, Message* message) {
  const std::shared_ptr<IncomingCells> lane = lanes_[best.lane];
  turn_ = best.lane + 1;
  CellReader& reader = lane->reader();
  const CellHead& head = best.head;
  if (ABSL_PREDICT_FALSE(gone())) return Claimed::kVoid;
  if (message != nullptr && lease_out_ == nullptr && ABSL_PREDICT_TRUE(right_ == 0) &&
      ABSL_PREDICT_TRUE(!MayBeHeldBack(reader))) {
    const absl::optional<uint32_t> length =
        reader.TakeSmall(best.priority, head, number_, internal::MessageAccess::SmallBody(message));
    if (length.has_value()) {
      internal::MessageAccess::SetSmall({lane->sender(), best.priority, 0}, head.position, *length,
                                        message);
      if (ABSL_PREDICT_TRUE(Fits(*length))) return Claimed::kYes;
      *message = Message();
      DropCorrupt(best.lane);
      return Claimed::kCorrupt;
    }
  }
  if (!reader.Claim(best.priority, head, number_)) return Claimed::kLost;
  if (gone() && !SEEDED_BUG(GONE_NOT_READ_AFTER_CLAIM)) {
    // The agent has taken our claims away before this one, or will find it gone.
    reader.Return(best.priority, head.slot, head.position, number_, /*attempted=*/false);
    return Claimed::kVoid;
  }
  if (right_ != 0 && !MayTake(*control_) && !SEEDED_BUG(HOLDER_NOT_READ_AFTER_CLAIM)) {
    reader.Return(best.priority, head.slot, head.position, number_, /*attempted=*/false);
    return Claimed::kNotAllowed;
  }
  if (MayBeHeldBack(reader) && reader.HeldBack(best.priority, head)) {
    reader.Return(best.priority, head.slot, head.position, number_, /*attempted=*/false);
    return Claimed::kLost;
  }
  const uint32_t attempts = AttemptsOf(best);
  Record record;
  bool whole = reader.Read(best.priority, head, &record) == Look::kReady && MayCarry(record);
  if (whole && Expired(record)) {
    reader.Condemn(best.priority, head.slot, head.position, number_, Condemned::kExpired);
    EndHold();
    return Claimed::kExpired;
  }
  const bool leases = lease_out_ != nullptr;
  if (whole && leases) {
    *lease_out_ = {lane, best.priority, head.position, head.slot, attempts, head.attempts, record};
    if (message == nullptr) return Claimed::kYes;
  }
  const internal::MessageOrigin origin{lane->sender(), best.priority, static_cast<int>(attempts),
                                       lane->by_agent()};
  // Of a lease that has ended the room is another's to give back: it is no view.
  const bool view =
      whole && !leases && record.in_slab && lane->same_user() && record.length > kAlwaysCopied;
  // Copied before it is taken: whoever dies in between has not received it.
  if (whole && !view) whole = internal::MessageAccess::Copy(record, origin, message);
  if (whole && leases && Fits(message->body().size())) return Claimed::kYes;
  if (!reader.Take(best.priority, head.slot, head.position, number_, view)) {
    // Not ours any more: we are gone, or the sender has meddled with the state, and loses it.
    return gone() ? Claimed::kVoid : Claimed::kLost;
  }
  EndHold();
  if (view) {
    whole = internal::MessageAccess::View(record, origin, lane, message);
    if (!whole) reader.Done(best.priority, head.slot, head.position);
  }
  if (whole && Fits(message->body().size())) return Claimed::kYes;
  if (message != nullptr) *message = Message();
  DropCorrupt(best.lane);
  return Claimed::kCorrupt;
}

ReceiveQueue::Taken MailboxQueue::TakeLease(const ControlPage& control, Lease* lease,
                                            Message* message) {
  lease_out_ = lease;
  const Taken taken = Take(control, nullptr, message);
  lease_out_ = nullptr;
  return taken;
}

void MailboxQueue::Refuse(const Lease& lease) {
  Finish(lease, Outcome::kReceived);
  const auto of = std::find(lanes_.begin(), lanes_.end(), lease.lane);
  if (of != lanes_.end()) DropCorrupt(static_cast<size_t>(of - lanes_.begin()));
}

bool MailboxQueue::Finish(const Lease& lease, Outcome outcome) {
  CellReader& reader = lease.lane->reader();
  if (outcome == Outcome::kReceived) {
    const bool taken = reader.Take(lease.priority, lease.slot, lease.sequence, number_, false);
    EndHold();
    return taken;
  }
  return reader.Return(lease.priority, lease.slot, lease.sequence, number_,
                       /*attempted=*/outcome == Outcome::kReturned);
}

bool MailboxQueue::FinishLater(const Lease& lease, uint32_t due_tick) {
  const bool moved = lease.lane->reader().ReturnLater(lease.priority, lease.slot, lease.sequence,
                                                      number_, due_tick);
  EndHold();  // if it was handed out for the last time
  return moved;
}

std::vector<Lease> MailboxQueue::HeldLeases() {
  TakeOverChanges();
  std::vector<Lease> leases;
  for (const std::shared_ptr<IncomingCells>& lane : lanes_) {
    for (int priority = 0; priority < kPriorityCount; ++priority) {
      for (const CellHead& head : lane->reader().HeldBy(priority, number_)) {
        Lease lease{lane, priority, head.position, head.slot, head.attempts, head.attempts, {}};
        if (lane->reader().Read(priority, head, &lease.record) == Look::kReady &&
            MayCarry(lease.record)) {
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
