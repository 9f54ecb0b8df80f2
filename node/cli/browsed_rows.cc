#include "node/cli/browsed_rows.h"

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "node/cli/rows.h"
#include "node/cli/table.h"

namespace mailrail::cli {
namespace {

using Json = nlohmann::ordered_json;

// How much of a body a table shows.
constexpr size_t kBytesInTable = 40;

// `indent` -1 keeps it on one line. What is not UTF-8 is replaced.
std::string Dump(const Json& json, int indent) {
  return absl::StrCat(
      absl::string_view(json.dump(indent, ' ', false, Json::error_handler_t::replace)), "\n");
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

const char* StateName(BrowsedMessage::State state) {
  switch (state) {
    case BrowsedMessage::State::kWaiting:
      return "waiting";
    case BrowsedMessage::State::kLeased:
      return "leased";
    case BrowsedMessage::State::kDelayed:
      return "delayed";
  }
  return "";
}

std::string StateText(const BrowsedMessage& message) {
  std::string text = StateName(message.state);
  if (message.leased_by.pid() != 0) absl::StrAppend(&text, " by ", message.leased_by.ToString());
  if (message.until != absl::InfiniteFuture()) {
    absl::StrAppend(&text, " until ", TimeText(message.until));
  }
  return text;
}

// What was cut within a character is text without it.
absl::string_view WithoutPartOfCharacter(const BrowsedMessage& message) {
  const absl::string_view body = message.body;
  if (body.size() == message.body_bytes || IsUtf8(body)) return body;
  for (size_t cut = 1; cut <= 3 && cut <= body.size(); ++cut) {
    if (IsUtf8(body.substr(0, body.size() - cut))) return body.substr(0, body.size() - cut);
  }
  return body;
}

Json ToJson(const std::string& mailbox, const BrowsedMessage& message) {
  Json json;
  const absl::string_view body = WithoutPartOfCharacter(message);
  if (IsUtf8(body)) {
    json["body"] = std::string(body);
  } else {
    json["body"] = absl::Base64Escape(body);
    json["encoding"] = "base64";
  }
  json["body_bytes"] = message.body_bytes;
  json["sender"] = message.sender.ToString();
  json["priority"] = message.priority;
  json["sequence"] = message.sequence;
  json["attempts"] = message.attempts;
  json["mailbox"] = mailbox;
  json["state"] = StateName(message.state);
  if (message.leased_by.pid() != 0) json["leased_by"] = message.leased_by.ToString();
  if (message.until != absl::InfiniteFuture()) json["until"] = TimeText(message.until);
  if (message.expires != absl::InfiniteFuture()) json["expires"] = TimeText(message.expires);
  for (const Header& header : message.headers) {
    json["headers"].push_back({{"name", header.name}, {"value", header.value}});
  }
  if (!message.reply_to.empty()) json["reply_to"] = message.reply_to;
  if (message.dead_letter_reason != DeadLetterReason::kNone) {
    json["dead_letter"] = {{"reason", NameOf(message.dead_letter_reason)},
                           {"mailbox", message.dead_letter_mailbox}};
  }
  return json;
}

}  // namespace

std::string NameOf(DeadLetterReason reason) {
  switch (reason) {
    case DeadLetterReason::kNone:
      return "";
    case DeadLetterReason::kAttempts:
      return "attempts";
    case DeadLetterReason::kExpired:
      return "expired";
    case DeadLetterReason::kDropped:
      return "dropped";
  }
  return "unknown";
}

std::string FormatBrowsed(const std::string& mailbox, const std::vector<BrowsedMessage>& messages,
                          OutputFormat format) {
  if (format == OutputFormat::kJson) {
    Json array = Json::array();
    for (const BrowsedMessage& message : messages) array.push_back(ToJson(mailbox, message));
    return Dump(array, 2);
  }
  using Align = Table::Align;
  Table table({{"PRIORITY", Align::kRight},
               {"SEQUENCE", Align::kRight},
               {"SENDER"},
               {"ATTEMPTS", Align::kRight},
               {"BYTES", Align::kRight},
               {"STATE"},
               {"BODY"}});
  for (const BrowsedMessage& message : messages) {
    const std::string shown =
        absl::Utf8SafeCEscape(absl::string_view(message.body).substr(0, kBytesInTable));
    const bool whole = message.body_bytes <= kBytesInTable;
    table.AddRow({absl::StrCat(message.priority), absl::StrCat(message.sequence),
                  message.sender.ToString(), absl::StrCat(message.attempts),
                  absl::StrCat(message.body_bytes), StateText(message),
                  absl::StrCat(shown, whole ? "" : "...")});
  }
  return table.ToString();
}

std::string FormatPeeked(const std::string& mailbox, const BrowsedMessage& message,
                         OutputFormat format) {
  if (format == OutputFormat::kJson) return Dump(ToJson(mailbox, message), -1);
  return absl::StrCat(message.body, "\n");
}

std::string FormatRedriven(const std::string& mailbox, const Redriven& redriven,
                           OutputFormat format) {
  if (format == OutputFormat::kJson) {
    return Dump({{"mailbox", mailbox},
                 {"moved", redriven.moved},
                 {"left", redriven.left},
                 {"why", std::string(redriven.why.message())}},
                -1);
  }
  std::string text = absl::StrCat(
      "moved ", redriven.moved, redriven.moved == 1 ? " message" : " messages", " from ", mailbox);
  if (redriven.left > 0) absl::StrAppend(&text, "; ", redriven.left, " left there");
  if (!redriven.why.ok()) absl::StrAppend(&text, ": ", redriven.why.message());
  return absl::StrCat(text, "\n");
}

}  // namespace mailrail::cli
