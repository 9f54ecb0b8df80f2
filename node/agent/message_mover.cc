#include "node/agent/message_mover.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {

absl::Status MessageMover::Move(IncomingCells* cells, const CellReader::Kept& kept,
                                const Prefix& prefix, absl::string_view body, LocalMailbox* to,
                                const LocalMailbox* tallied) {
  const absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = agent_lane_(to);
  if (!lane.ok()) return lane.status();
  volatile MoveNote* const note = MoveNote::Of(*to);
  note->position = 0;
  note->lane = cells->id();
  note->sequence = kept.position;
  note->priority = static_cast<uint64_t>(kept.priority);
  note->tallied = tallied == nullptr ? 0 : tallied->id;
  note->moved = tallied == nullptr ? 0 : MoveTally::Of(*tallied)->moved + 1;
  note->position = (*lane)->sequence(kept.priority) + 1;
  absl::Status sent =
      (*lane)->Send(kept.priority, {EncodePrefix(prefix), body}, absl::InfinitePast());
  if (sent.ok() && (*lane)->sequence(kept.priority) < note->position) {
    // A full mailbox has dropped it (FullPolicy::kDropNewest): it stays where it is.
    sent = absl::ResourceExhaustedError(absl::StrCat("mailbox ", to->name, " is full"));
  }
  if (sent.ok()) {
    cells->reader().Discard(kept);
    if (tallied != nullptr) MoveTally::Of(*tallied)->moved = note->moved;
  }
  note->position = 0;
  return sent;
}

void MessageMover::Resume(LocalMailbox* to) {
  volatile MoveNote* const note = MoveNote::Of(*to);
  const uint64_t position = note->position;
  if (position == 0) return;
  const auto priority = static_cast<int>(note->priority);
  const absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = agent_lane_(to);
  if (lane.ok() && (*lane)->sequence(priority) >= position) {
    // It was published, and perhaps stands in its old place still.
    if (const MailboxLane* const from = registry_->FindLane(note->lane)) {
      absl::StatusOr<std::shared_ptr<IncomingCells>> cells = MapCells(*from);
      std::vector<CellReader::Kept> moved;
      if (cells.ok()) {
        (*cells)->reader().ForEachKept([&](const CellReader::Kept& kept) {
          if (kept.state.phase != Phase::kLeased && kept.priority == priority &&
              kept.position == note->sequence) {
            moved.push_back(kept);
          }
        });
      }
      for (const CellReader::Kept& kept : moved) (*cells)->reader().Discard(kept);
    }
    if (const LocalMailbox* const tallied = registry_->FindMailbox(note->tallied)) {
      MoveTally::Of(*tallied)->moved = note->moved;
    }
  }
  note->position = 0;
}

void MessageMover::Resume() {
  for (const auto& [id, mailbox] : registry_->mailboxes()) Resume(mailbox.get());
}

}  // namespace mailrail
