// The part of MailboxBrowser that moves dead letters back.
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/base/name.h"
#include "core/message/prefix.h"
#include "node/agent/mailbox_browser.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

// How many letters, and how many bytes of them, one turn moves.
constexpr size_t kMostMoves = 256;
constexpr size_t kMostMovedBytes = size_t{4} << 20;

}  // namespace

struct MailboxBrowser::Moves {
  LocalMailbox* mailbox = nullptr;
  proto::Redrive request;
  proto::Redriven answer;
  size_t bytes = 0;
  // Of the lane that was looked at last.
  std::shared_ptr<IncomingCells> cells;
  std::unique_ptr<BrowsedLane> browsed;
  // Mailboxes and priorities that had no room: what is to go there after the first must not
  // overtake it.
  std::set<std::pair<uint64_t, int>> full;

  // This letter stays.
  void Leave(const absl::Status& why) {
    if (answer.left() == 0) {
      answer.mutable_why()->set_code(static_cast<int>(why.code()));
      answer.mutable_why()->set_message(std::string(why.message()));
    }
    answer.set_left(answer.left() + 1);
  }
};

absl::StatusOr<LocalMailbox*> MailboxBrowser::TargetOf(const LocalMailbox& mailbox,
                                                       const std::string& to) const {
  const absl::StatusOr<QualifiedName> name = ParseQualifiedName("mailbox", to);
  if (!name.ok()) return name.status();
  if (!name->node.empty() && name->node != registry_->node()) {
    return absl::InvalidArgumentError(absl::StrCat("dead letters stay on their node: this is ",
                                                   registry_->node(), ", not ", name->node));
  }
  LocalMailbox* const target = registry_->FindMailbox(name->name);
  if (target == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("there is no mailbox '", name->name, "' on node ", registry_->node()));
  }
  if (target->id == mailbox.id) {
    return absl::InvalidArgumentError(
        absl::StrCat("dead letters of '", to, "' cannot be moved to that same mailbox"));
  }
  return target;
}

void MailboxBrowser::Redrive(const LocalMailbox& mailbox, const proto::Redrive& redrive,
                             Call<proto::Redriven> call) {
  if (!redrive.to().empty()) {
    const absl::StatusOr<LocalMailbox*> to = TargetOf(mailbox, redrive.to());
    if (!to.ok()) return call.done(to.status());
  }
  MailboxScan::Options options;
  if (redrive.has_after()) options.after = MessagePlace::FromProto(redrive.after());
  options.most = kMostMoves;
  options.waiting_only = true;
  const auto job = std::make_shared<Job>(options, mailbox.id, registry_);
  job->wanted = std::move(call.wanted);
  job->fail = [done = call.done](const absl::Status& status) { done(status); };
  job->finish = [this, redrive, scan = &job->scan, done = call.done](LocalMailbox* found) {
    Moves moves;
    moves.mailbox = found;
    moves.request = redrive;
    Move(&moves, scan);
    done(std::move(moves.answer));
  };
  Start(job);
}

void MailboxBrowser::Move(Moves* moves, MailboxScan* scan) {
  volatile MoveTally* const tally = MoveTally::Of(*moves->mailbox);
  if (tally->token != moves->request.token()) {
    tally->token = 0;
    tally->moved = 0;
    tally->token = moves->request.token();
  }
  // What was moved for this request before is not found again.
  moves->answer.set_found(scan->found() + tally->moved);
  const std::vector<MailboxScan::Found> first = scan->TakeFirst();
  size_t looked_at = 0;
  for (const MailboxScan::Found& found : first) {
    if (tally->moved >= moves->request.limit() || moves->bytes > kMostMovedBytes) break;
    MoveOne(moves, found);
    ++looked_at;
  }
  moves->answer.set_moved(tally->moved);
  if (looked_at > 0 && (looked_at < first.size() || scan->more())) {
    first[looked_at - 1].place.ToProto(moves->answer.mutable_next());
  }
}

void MailboxBrowser::MoveOne(Moves* moves, const MailboxScan::Found& found) {
  const MailboxLane* const lane = registry_->FindLane(found.place.lane);
  if (lane == nullptr) return;
  if (moves->cells == nullptr || moves->cells->id() != lane->id) {
    absl::StatusOr<std::unique_ptr<BrowsedLane>> browsed = BrowsedLane::Map(*lane);
    if (!browsed.ok()) return moves->Leave(browsed.status());
    absl::StatusOr<std::shared_ptr<IncomingCells>> cells = MapCells(*lane);
    if (!cells.ok()) return moves->Leave(cells.status());
    moves->browsed = *std::move(browsed);
    moves->cells = *std::move(cells);
  }
  const int priority = found.place.priority();
  const absl::optional<CellBrowser::Copied> copied = moves->browsed->cells().Copy(
      priority, found.slot, found.place.position, kLargestMaxMessageBytes);
  // Somebody has received it, or has it.
  if (!copied.has_value() || !copied->found.waiting()) return;
  absl::string_view body = copied->bytes;
  Prefix prefix;
  if (!copied->has_prefix || !DecodePrefix(&body, &prefix) || !moves->cells->by_agent() ||
      prefix.dead_letter_reason == DeadLetterReason::kNone ||
      (moves->request.reason() != 0 &&
       moves->request.reason() != static_cast<uint32_t>(prefix.dead_letter_reason))) {
    return;
  }
  moves->bytes += body.size();
  const absl::StatusOr<LocalMailbox*> to =
      TargetOf(*moves->mailbox,
               moves->request.to().empty() ? prefix.dead_letter_mailbox : moves->request.to());
  if (!to.ok()) return moves->Leave(to.status());
  if (moves->full.contains({(*to)->id, priority})) {
    return moves->Leave(absl::ResourceExhaustedError("those before it had no room"));
  }
  absl::Status status = CheckMessage((*to)->options, body.size(), priority);
  if (status.ok()) status = mover_->Reach(*to);
  if (!status.ok()) return moves->Leave(status);
  // From here on nobody receives it here; if we die before it is moved, it goes back to its place.
  CellHead head = {found.place.position,     found.slot,
                   copied->found.stamp,      copied->found.seen,
                   copied->found.attempts(), copied->found.claimed};
  CellReader& reader = moves->cells->reader();
  CellReader::Kept kept;
  if (!reader.Withhold(priority, head, DueTick::After(MonotonicTime(), 0), &kept)) return;
  if (!prefix.sender.has_value()) prefix.sender = moves->cells->sender();
  prefix.dead_letter_reason = DeadLetterReason::kNone;
  prefix.dead_letter_mailbox.clear();
  prefix.expires_ns = 0;
  prefix.attempts = 0;
  prefix.sequence = 0;
  status = mover_->Move(moves->cells.get(), kept, prefix, body, *to, moves->mailbox);
  if (status.ok()) {
    // It was withheld meanwhile, and so has held up others.
    if (moves->mailbox->options.hold_order) moves->mailbox->destination.Ring();
    return;
  }
  if (absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status)) {
    moves->full.insert({(*to)->id, priority});
  }
  reader.MakeDue(kept);
  moves->mailbox->destination.Ring();
  moves->Leave(status);
}

}  // namespace mailrail
