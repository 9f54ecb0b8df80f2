#include "core/process/browse.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/process/grants.h"

namespace mailrail::internal {
namespace {

// In one request.
constexpr size_t kMostAtATime = 256;

absl::Time Until(uint64_t left_ms) {
  constexpr uint64_t kMostMs = uint64_t{1000} * 3600 * 24 * 365 * 100;
  return absl::Now() + absl::Milliseconds(static_cast<int64_t>(std::min(left_ms, kMostMs)));
}

BrowsedMessage MessageOf(proto::BrowsedMessage row) {
  BrowsedMessage message;
  message.body = std::move(*row.mutable_body());
  message.body_bytes = row.body_bytes();
  message.sender = FromProto(row.sender());
  message.priority = static_cast<int>(row.priority());
  message.sequence = row.sequence();
  message.attempts = static_cast<int>(row.attempts());
  for (const proto::Header& header : row.headers()) {
    message.headers.push_back({header.name(), header.value()});
  }
  message.reply_to = row.reply_to();
  message.dead_letter_reason = static_cast<DeadLetterReason>(row.dead_letter_reason());
  message.dead_letter_mailbox = row.dead_letter_mailbox();
  if (row.has_expires_left_ms()) message.expires = Until(row.expires_left_ms());
  switch (row.state()) {
    case proto::BrowsedMessage::LEASED:
      message.state = BrowsedMessage::State::kLeased;
      break;
    case proto::BrowsedMessage::DELAYED:
      message.state = BrowsedMessage::State::kDelayed;
      break;
    default:
      message.state = BrowsedMessage::State::kWaiting;
  }
  if (row.has_leased_by()) message.leased_by = FromProto(row.leased_by());
  if (row.has_left_ms()) message.until = Until(row.left_ms());
  return message;
}

// Up to `limit` messages; by then no more than there were at first, whoever goes on sending.
absl::StatusOr<std::vector<BrowsedMessage>> Look(proto::Browse browse, size_t limit, AskAgent ask) {
  std::vector<BrowsedMessage> messages;
  uint64_t looked_for = std::numeric_limits<uint64_t>::max();
  for (uint64_t looked_at = 0; messages.size() < limit && looked_at < looked_for;) {
    browse.set_limit(static_cast<uint32_t>(std::min(limit - messages.size(), kMostAtATime)));
    control::Request request;
    *request.mutable_browse() = browse;
    absl::StatusOr<AgentReply> reply = ask(std::move(request));
    if (!reply.ok()) return reply.status();
    proto::Browsed* const browsed = reply->response.mutable_browsed();
    if (looked_at == 0) looked_for = browsed->found();
    // A request without an answer to show has looked at as many as it may have shown.
    looked_at += std::max<uint64_t>(static_cast<uint64_t>(browsed->messages_size()), 1);
    for (proto::BrowsedMessage& row : *browsed->mutable_messages()) {
      if (messages.size() < limit) messages.push_back(MessageOf(std::move(row)));
    }
    if (!browsed->has_next()) break;
    *browse.mutable_after() = browsed->next();
  }
  return messages;
}

}  // namespace

absl::StatusOr<absl::optional<BrowsedMessage>> Peek(absl::string_view mailbox, AskAgent ask) {
  if (absl::Status status = ParseQualifiedName("mailbox", mailbox).status(); !status.ok()) {
    return status;
  }
  proto::Browse browse;
  browse.set_mailbox(std::string(mailbox));
  browse.set_max_body_bytes(kMostBrowsedBytes);
  browse.set_waiting_only(true);
  absl::StatusOr<std::vector<BrowsedMessage>> first = Look(std::move(browse), 1, ask);
  if (!first.ok()) return first.status();
  if (first->empty()) return absl::optional<BrowsedMessage>();
  return absl::optional<BrowsedMessage>(std::move(first->front()));
}

absl::StatusOr<std::vector<BrowsedMessage>> Browse(absl::string_view mailbox,
                                                   const BrowseOptions& options, AskAgent ask) {
  if (absl::Status status = ParseQualifiedName("mailbox", mailbox).status(); !status.ok()) {
    return status;
  }
  if (options.max_body_bytes > kMostBrowsedBytes) {
    return absl::InvalidArgumentError(absl::StrCat("max_body_bytes ", options.max_body_bytes,
                                                   " is larger than ", kMostBrowsedBytes));
  }
  proto::Browse browse;
  browse.set_mailbox(std::string(mailbox));
  browse.set_max_body_bytes(static_cast<uint32_t>(options.max_body_bytes));
  browse.set_dead_letters_of(options.dead_letters_of);
  return Look(std::move(browse), options.limit, ask);
}

absl::StatusOr<Redriven> Redrive(absl::string_view dead_letters, const RedriveOptions& options,
                                 AskAgent ask) {
  if (absl::Status status = ParseQualifiedName("mailbox", dead_letters).status(); !status.ok()) {
    return status;
  }
  if (options.reason > DeadLetterReason::kDropped) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no reason ", static_cast<int>(options.reason), " of dead letters"));
  }
  proto::Redrive redrive;
  redrive.set_mailbox(std::string(dead_letters));
  redrive.set_to(options.to);
  redrive.set_reason(static_cast<uint32_t>(options.reason));
  absl::BitGen random;
  Redriven result;
  size_t limit = options.limit;
  for (bool first = true; result.moved < limit; first = false) {
    redrive.set_limit(static_cast<uint32_t>(std::min(limit - result.moved, kMostAtATime)));
    redrive.set_token(absl::Uniform<uint64_t>(absl::IntervalClosed, random, 1,
                                              std::numeric_limits<uint64_t>::max()));
    control::Request request;
    *request.mutable_redrive() = redrive;
    const absl::StatusOr<AgentReply> reply = ask(std::move(request));
    if (!reply.ok()) {
      if (result.moved == 0) return reply.status();
      if (result.why.ok()) result.why = reply.status();
      return result;
    }
    const proto::Redriven& redriven = reply->response.redriven();
    if (result.why.ok() && redriven.left() > 0) {
      result.why = absl::Status(static_cast<absl::StatusCode>(redriven.why().code()),
                                redriven.why().message());
    }
    result.moved += redriven.moved();
    result.left += redriven.left();
    // What has become a dead letter once more meanwhile is not moved again.
    if (first) limit = std::min<size_t>(limit, redriven.found());
    if (!redriven.has_next()) break;
    *redrive.mutable_after() = redriven.next();
  }
  return result;
}

}  // namespace mailrail::internal
