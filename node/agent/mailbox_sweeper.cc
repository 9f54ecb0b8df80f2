#include "node/agent/mailbox_sweeper.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/message/prefix.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

// How often a mailbox is looked at from which somebody leases, at least.
constexpr absl::Duration kLongestBetweenLooks = absl::Seconds(1);
// When dead letters that had no room are tried again.
constexpr absl::Duration kUntilRoom = absl::Milliseconds(50);

DeadLetterReason ReasonOf(const CellState& condemned) {
  switch (static_cast<Condemned>(condemned.owner)) {
    case Condemned::kExpired:
      return DeadLetterReason::kExpired;
    case Condemned::kDropped:
      return DeadLetterReason::kDropped;
    default:
      return DeadLetterReason::kAttempts;
  }
}

}  // namespace

struct MailboxSweeper::Round {
  LocalMailbox* mailbox = nullptr;
  absl::Time now;
  absl::Time next = absl::InfiniteFuture();  // when to look again
  absl::flat_hash_map<Key, Seen> before;
  absl::flat_hash_map<Key, Seen> leases;
  bool returned = false;  // something can be received again
  uint64_t settled = 0;   // dead letters and what was dropped
};

void MailboxSweeper::Look(uint64_t mailbox) { LookBy(mailbox, absl::Now()); }

void MailboxSweeper::LookBy(uint64_t id, absl::Time time) {
  if (time == absl::InfiniteFuture()) return;
  Watched& watched = watched_[id];
  if (watched.next <= time) return;
  if (watched.next != absl::InfiniteFuture()) loop_->Cancel(watched.timer);
  watched.next = time;
  watched.timer = loop_->RunAt(time, [this, id] { LookAt(id); });
}

IncomingCells* MailboxSweeper::Cells(uint64_t lane) {
  std::shared_ptr<IncomingCells>& cells = cells_[lane];
  if (cells == nullptr) {
    absl::StatusOr<std::shared_ptr<IncomingCells>> mapped = MapCells(*registry_->FindLane(lane));
    if (mapped.ok()) cells = *std::move(mapped);
  }
  return cells.get();
}

void MailboxSweeper::LookAt(uint64_t id) {
  const auto watched = watched_.find(id);
  LocalMailbox* const mailbox = registry_->FindMailbox(id);
  if (watched == watched_.end() || mailbox == nullptr) return;
  watched->second.next = absl::InfiniteFuture();
  Round round;
  round.mailbox = mailbox;
  round.now = absl::Now();
  round.before.swap(watched->second.leases);
  for (const uint64_t lane : std::set<uint64_t>(mailbox->lanes)) LookAtLane(lane, &round);
  watched->second.leases = std::move(round.leases);
  if (round.settled > 0) registry_->SaveMailbox(*mailbox);
  if (round.returned) mailbox->destination.Ring();
  if (!mailbox->leasing.empty()) {
    round.next = std::min(
        round.next, round.now + std::min(mailbox->options.lease_time / 8, kLongestBetweenLooks));
  }
  LookBy(id, round.next);
}

void MailboxSweeper::LookAtLane(uint64_t id, Round* round) {
  IncomingCells* const cells = Cells(id);
  if (cells == nullptr) return;
  CellReader& reader = cells->reader();
  if (reader.expires()) LookForExpired(&reader, round);
  std::vector<CellReader::Kept> all;
  reader.ForEachKept([&](const CellReader::Kept& kept) { all.push_back(kept); });
  for (const CellReader::Kept& kept : all) {
    switch (kept.state.phase) {
      case Phase::kDelayed: {
        const int64_t left = DueTick::Left(kept.state.owner, MonotonicTime());
        if (left > 0) {
          round->next = std::min(round->next, round->now + absl::Nanoseconds(left));
        } else {
          round->returned |= reader.MakeDue(kept);
        }
        break;
      }
      case Phase::kCondemned:
        if (Bury(round->mailbox, cells, kept)) {
          ++round->settled;
        } else {
          round->next = std::min(round->next, round->now + kUntilRoom);
        }
        break;
      case Phase::kLeased:
        LookAtLease(kept, id, &reader, round);
        break;
      default:
        break;
    }
  }
}

void MailboxSweeper::LookForExpired(CellReader* reader, Round* round) {
  // What comes later may expire before.
  round->next = std::min(round->next, round->now + kLongestBetweenLooks);
  const int64_t now_ns = MonotonicTime();
  reader->ForEachWaiting([&](int priority, const CellHead& head, const Record& record) {
    Prefix prefix;
    absl::string_view payload(record.data, record.length);
    if (!record.has_prefix || !DecodeCopyOfPrefix(&payload, &prefix) || prefix.expires_ns == 0) {
      return;
    }
    if (prefix.expires_ns > now_ns) {
      round->next =
          std::min(round->next, round->now + absl::Nanoseconds(prefix.expires_ns - now_ns));
    } else {
      reader->CondemnWaiting(priority, head, Condemned::kExpired);
      // One that was given back may have held up others.
      round->returned |= round->mailbox->options.hold_order;
    }
  });
}

void MailboxSweeper::LookAtLease(const CellReader::Kept& kept, uint64_t lane, CellReader* reader,
                                 Round* round) {
  const LocalMailbox& mailbox = *round->mailbox;
  // Of receivers on other nodes the carrier keeps the time.
  const uint32_t owner = kept.state.owner;
  if (!mailbox.receivers.contains(owner) && !mailbox.former_receivers.contains(owner)) return;
  const Key key(lane, kept.priority, kept.slot);
  Seen seen{kept.state.Pack(), round->now + mailbox.options.lease_time};
  const auto before = round->before.find(key);
  if (before != round->before.end() && before->second.state == seen.state) seen = before->second;
  if (seen.ends > round->now) {
    round->leases[key] = seen;
    round->next = std::min(round->next, seen.ends);
    return;
  }
  if (!reader->Return(kept.priority, kept.slot, kept.position, owner, /*attempted=*/true,
                      kept.state.attempts)) {
    return;
  }
  round->returned = true;
  // It may be a dead letter now.
  if (mailbox.options.max_attempts != 0) round->next = round->now;
}

absl::Status MailboxSweeper::Extend(uint32_t number, const control::ExtendLease& lease) {
  LocalMailbox* const mailbox = registry_->FindMailbox(lease.destination_id());
  if (mailbox != nullptr && mailbox->lanes.contains(lease.lane_id())) {
    if (IncomingCells* const cells = Cells(lease.lane_id())) {
      absl::optional<CellReader::Kept> found;
      cells->reader().ForEachKept([&](const CellReader::Kept& kept) {
        if (kept.priority == static_cast<int>(lease.priority()) && kept.slot == lease.slot() &&
            kept.position == lease.sequence() && kept.state.phase == Phase::kLeased &&
            kept.state.owner == number) {
          found = kept;
        }
      });
      if (found.has_value()) {
        const absl::Time ends =
            absl::Now() + absl::Milliseconds(static_cast<int64_t>(
                              std::min<uint64_t>(lease.time_ms(), uint64_t{1} << 40)));
        watched_[mailbox->id].leases[Key(lease.lane_id(), found->priority, found->slot)] = {
            found->state.Pack(), ends};
        LookBy(mailbox->id, ends);
        return absl::OkStatus();
      }
    }
  }
  return absl::FailedPreconditionError(
      "the lease of this message has ended: it is another's, or will be");
}

absl::optional<absl::Time> MailboxSweeper::EndOfLease(uint64_t mailbox, uint64_t lane, int priority,
                                                      uint32_t slot, const CellState& state) const {
  const auto watched = watched_.find(mailbox);
  if (watched == watched_.end()) return absl::nullopt;
  const auto seen = watched->second.leases.find(Key(lane, priority, slot));
  if (seen == watched->second.leases.end() || seen->second.state != state.Pack()) {
    return absl::nullopt;
  }
  return seen->second.ends;
}

void MailboxSweeper::ForgetMailbox(const LocalMailbox& mailbox) {
  for (const uint64_t lane : mailbox.lanes) ForgetLane(lane);
  const auto watched = watched_.find(mailbox.id);
  if (watched == watched_.end()) return;
  if (watched->second.next != absl::InfiniteFuture()) loop_->Cancel(watched->second.timer);
  watched_.erase(watched);
}

void MailboxSweeper::Drop(LocalMailbox* mailbox, absl::string_view why) {
  ++mailbox->dropped;
  ++dropped_;
  // Not a line for each.
  if ((dropped_ & (dropped_ - 1)) == 0) {
    options_.log(absl::StrCat("a message of mailbox ", mailbox->name,
                              " has expired, had to make room, or was handed out ",
                              mailbox->options.max_attempts, " times, and is dropped: ", why, "; ",
                              dropped_, " in all"));
  }
}

bool MailboxSweeper::Bury(LocalMailbox* mailbox, IncomingCells* cells,
                          const CellReader::Kept& kept) {
  CellReader& reader = cells->reader();
  const auto drop = [&](absl::string_view why) {
    if (reader.Discard(kept)) Drop(mailbox, why);
    return true;
  };
  if (mailbox->options.dead_letter.empty()) return drop("it has no dead-letter mailbox");
  LocalMailbox* const dead_letters = registry_->FindMailbox(mailbox->options.dead_letter);
  if (dead_letters == nullptr) return drop("its dead-letter mailbox was destroyed");
  Record record;
  if (reader.ReadKept(kept, &record) != Look::kReady) return drop("it is not well-formed");
  // Copied once: its sender could change it.
  const std::string bytes(record.data, record.length);
  absl::string_view body = bytes;
  Prefix prefix;
  if (record.has_prefix &&
      (!DecodePrefix(&body, &prefix) || (prefix.NeedsAgent() && !cells->by_agent()))) {
    return drop("it is not well-formed");
  }
  if (!prefix.sender.has_value()) prefix.sender = cells->sender();
  prefix.dead_letter_reason = ReasonOf(kept.state);
  prefix.expires_ns = prefix.due_ns = 0;
  const LocalMailbox* const broadcast = registry_->FindMailbox(mailbox->broadcast_mailbox);
  prefix.dead_letter_mailbox = broadcast == nullptr ? mailbox->name : broadcast->name;
  if (!mover_->Reach(dead_letters).ok()) return false;
  const absl::Status sent = mover_->Move(cells, kept, prefix, body, dead_letters);
  if (sent.ok()) {
    ++mailbox->dead_letters;
    return true;
  }
  if (absl::IsDeadlineExceeded(sent) || absl::IsResourceExhausted(sent)) return false;
  return drop(sent.message());
}

void MailboxSweeper::Resume() {
  for (const auto& [id, mailbox] : registry_->mailboxes()) Look(id);
}

}  // namespace mailrail
