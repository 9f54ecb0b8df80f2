#include "node/agent/mailbox_browser.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/message/prefix.h"
#include "core/process/grants.h"

namespace mailrail {
namespace {

using internal::ToProto;

// How many requests may be under way.
constexpr size_t kMostJobs = 1024;
// How many messages one answer has at most, and how large it is: it fits a packet.
constexpr uint32_t kMostRows = 256;
constexpr size_t kMostAnswerBytes = size_t{48} << 10;
// How much of that the headers of one message may take.
constexpr size_t kMostHeaderBytes = size_t{12} << 10;
// What a header or a message takes besides its bytes, at most.
constexpr size_t kFramingBytes = 8;
// How many bytes one turn copies to make rows, whether they are shown or not.
constexpr size_t kMostWork = size_t{512} << 10;

void SetHeaders(const Prefix& prefix, proto::BrowsedMessage* row) {
  size_t bytes = std::min(prefix.reply_to.size(), kMaxHeaderBytes);
  row->set_reply_to(prefix.reply_to.substr(0, bytes));
  for (const Header& header : prefix.headers) {
    bytes += header.name.size() + header.value.size() + kFramingBytes;
    if (bytes > kMostHeaderBytes) return;
    proto::Header* const added = row->add_headers();
    added->set_name(header.name);
    added->set_value(header.value);
  }
}

uint64_t MillisecondsLeft(int64_t nanoseconds) {
  return nanoseconds <= 0 ? 0 : static_cast<uint64_t>((nanoseconds + 999999) / 1000000);
}

}  // namespace

void MailboxBrowser::Start(std::shared_ptr<Job> job) {
  if (jobs_.size() >= kMostJobs) {
    return job->fail(absl::ResourceExhaustedError(
        absl::StrCat("this node looks into its mailboxes for ", kMostJobs, " requests already")));
  }
  jobs_.push_back(std::move(job));
  Schedule();
}

void MailboxBrowser::Schedule() {
  if (jobs_.empty() || std::exchange(scheduled_, true)) return;
  loop_->Post([this] {
    scheduled_ = false;
    Run();
    Schedule();
  });
}

void MailboxBrowser::Run() {
  const std::shared_ptr<Job> job = jobs_.front();
  jobs_.pop_front();
  if (job->wanted()) {
    if (!job->scan.Look()) {
      jobs_.push_back(job);
    } else if (LocalMailbox* const mailbox = registry_->FindMailbox(job->mailbox)) {
      job->finish(mailbox);
    } else {
      job->fail(absl::NotFoundError("the mailbox was destroyed meanwhile"));
    }
  }
}

void MailboxBrowser::Browse(const LocalMailbox& mailbox, const proto::Browse& browse,
                            Call<proto::Browsed> call) {
  MailboxScan::Options options;
  if (browse.has_after()) options.after = MessagePlace::FromProto(browse.after());
  options.most = std::clamp(browse.limit(), uint32_t{1}, kMostRows);
  options.waiting_only = browse.waiting_only();
  const auto job = std::make_shared<Job>(options, mailbox.id, registry_);
  job->wanted = std::move(call.wanted);
  job->fail = [done = call.done](const absl::Status& status) { done(status); };
  job->finish = [this, browse, scan = &job->scan, done = call.done](LocalMailbox* found) {
    done(RowsOf(*found, browse, scan));
  };
  Start(job);
}

proto::Browsed MailboxBrowser::RowsOf(const LocalMailbox& mailbox, const proto::Browse& browse,
                                      MailboxScan* scan) const {
  proto::Browsed rows;
  rows.set_found(scan->found());
  const std::vector<MailboxScan::Found> first = scan->TakeFirst();
  std::unique_ptr<BrowsedLane> mapped;
  uint64_t mapped_id = 0;
  size_t bytes = 0, work = 0, looked_at = 0;
  for (const MailboxScan::Found& found : first) {
    if (work > kMostWork) break;
    const MailboxLane* const lane = registry_->FindLane(found.place.lane);
    if (lane != nullptr && lane->id != mapped_id) {
      absl::StatusOr<std::unique_ptr<BrowsedLane>> map = BrowsedLane::Map(*lane);
      mapped = map.ok() ? *std::move(map) : nullptr;
      mapped_id = lane->id;
    }
    absl::optional<proto::BrowsedMessage> row;
    if (lane != nullptr && mapped != nullptr) {
      row = RowOf(mailbox, *lane, mapped->cells(), found, browse, &work);
    }
    if (row.has_value()) {
      bytes += row->ByteSizeLong() + kFramingBytes;
      if (bytes > kMostAnswerBytes && !rows.messages().empty()) break;
      *rows.add_messages() = *std::move(row);
    }
    ++looked_at;
  }
  if (looked_at > 0 && (looked_at < first.size() || scan->more())) {
    first[looked_at - 1].place.ToProto(rows.mutable_next());
  }
  return rows;
}

absl::optional<proto::BrowsedMessage> MailboxBrowser::RowOf(
    const LocalMailbox& mailbox, const MailboxLane& lane, const CellBrowser& cells,
    const MailboxScan::Found& found, const proto::Browse& browse, size_t* work) const {
  const int priority = found.place.priority();
  const size_t most_bytes = std::min<size_t>(browse.max_body_bytes(), kMostBrowsedBytes);
  const absl::optional<CellBrowser::Copied> copied =
      cells.Copy(priority, found.slot, found.place.position, most_bytes);
  if (!copied.has_value() || (browse.waiting_only() && !copied->found.waiting())) {
    return absl::nullopt;
  }
  *work += copied->bytes.size();
  absl::string_view body = copied->bytes;
  Prefix prefix;
  const bool by_agent = lane.sender.kind != Endpoint::Kind::kProcess;
  if (copied->has_prefix && (!DecodePrefix(&body, &prefix) || (prefix.NeedsAgent() && !by_agent))) {
    return absl::nullopt;
  }
  const int64_t now_ns = MonotonicTime();
  const bool leased = copied->found.claimed && copied->found.state().phase == Phase::kLeased;
  // Nobody will receive it.
  if (prefix.expires_ns != 0 && prefix.expires_ns <= now_ns && !leased) return absl::nullopt;
  if (!browse.dead_letters_of().empty() &&
      (prefix.dead_letter_reason == DeadLetterReason::kNone ||
       prefix.dead_letter_mailbox != browse.dead_letters_of())) {
    return absl::nullopt;
  }
  proto::BrowsedMessage row;
  row.set_body_bytes(copied->length - (copied->bytes.size() - body.size()));
  row.set_body(body.data(), std::min(body.size(), most_bytes));
  ToProto(prefix.sender.value_or(lane.sender_id), row.mutable_sender());
  row.set_priority(static_cast<uint32_t>(priority));
  row.set_sequence(found.place.position);
  row.set_attempts(copied->found.attempts());
  SetHeaders(prefix, &row);
  row.set_dead_letter_reason(static_cast<uint32_t>(prefix.dead_letter_reason));
  row.set_dead_letter_mailbox(prefix.dead_letter_mailbox);
  if (prefix.expires_ns != 0) {
    row.set_expires_left_ms(MillisecondsLeft(prefix.expires_ns - now_ns));
  }
  DescribeState(mailbox, lane.id, priority, copied->found, &row);
  return row;
}

void MailboxBrowser::DescribeState(const LocalMailbox& mailbox, uint64_t lane, int priority,
                                   const CellBrowser::Found& found,
                                   proto::BrowsedMessage* row) const {
  if (found.waiting()) return row->set_state(proto::BrowsedMessage::WAITING);
  const CellState state = found.state();
  if (state.phase == Phase::kDelayed) {
    row->set_state(proto::BrowsedMessage::DELAYED);
    row->set_left_ms(MillisecondsLeft(DueTick::Left(state.owner, MonotonicTime())));
    return;
  }
  row->set_state(proto::BrowsedMessage::LEASED);
  if (const LocalProcess* const process = registry_->FindProcess(state.owner)) {
    ToProto(process->id, row->mutable_leased_by());
  }
  for (const auto& [name, entry] : mailbox.remote_receivers) {
    if (entry.number == state.owner) ToProto(entry.process, row->mutable_leased_by());
  }
  const absl::optional<absl::Time> ends =
      options_.end_of_lease(mailbox.id, lane, priority, found.slot, state);
  if (ends.has_value() && *ends != absl::InfiniteFuture()) {
    row->set_left_ms(MillisecondsLeft(absl::ToInt64Nanoseconds(*ends - absl::Now())));
  }
}

}  // namespace mailrail
