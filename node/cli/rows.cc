#include "node/cli/rows.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/process/grants.h"
#include "node/cli/table.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

using Json = nlohmann::ordered_json;
using Align = Table::Align;

// `indent` -1 keeps it on one line. What is not UTF-8 is replaced.
std::string Dump(const Json& json, int indent) {
  return absl::StrCat(
      absl::string_view(json.dump(indent, ' ', false, Json::error_handler_t::replace)), "\n");
}

std::string IdText(const proto::ProcessRef& ref) {
  return ref.pid() == 0 ? "" : internal::FromProto(ref).ToString();
}

// Incarnations of nodes are random 64-bit numbers, more than many readers of JSON keep.
std::string IncarnationText(uint64_t incarnation) {
  return incarnation == 0 ? "" : absl::StrFormat("%016x", incarnation);
}

const char* PolicyText(const proto::MailboxSpec& spec) {
  switch (spec.when_full()) {
    case proto::REJECT:
      return "reject";
    case proto::DROP_OLDEST:
      return "drop-oldest";
    case proto::DROP_NEWEST:
      return "drop-newest";
    default:
      return "block";
  }
}

const char* ReceivePolicyText(const proto::MailboxSpec& spec) {
  switch (spec.receive_policy()) {
    case proto::EXCLUSIVE:
      return "exclusive";
    case proto::LINK:
      return "link";
    case proto::BROADCAST:
      return spec.order() == proto::LOG ? "broadcast-log" : "broadcast";
    default:
      return "competing";
  }
}

const char* OrderText(const proto::MailboxSpec& spec) {
  switch (spec.order()) {
    case proto::PER_SENDER:
      return "per-sender";
    case proto::LOG:
      return "log";
    default:
      return "queue";
  }
}

const char* DistributionText(const proto::MailboxSpec& spec) {
  switch (spec.distribution()) {
    case proto::ROUND_ROBIN:
      return "round-robin";
    case proto::STICKY_BY_KEY:
      return "sticky-by-key";
    default:
      return "least-busy";
  }
}

std::string Peer(const control::LinkRow& row) {
  return row.mailbox().empty() ? IdText(row.b()) : row.mailbox();
}

std::string DirectionText(const control::LinkRow& row) {
  switch (row.direction()) {
    case control::OUTWARD:
      return "to-peer";
    case control::INWARD:
      return "from-peer";
    default:
      return "both";
  }
}

std::string StateText(const control::NodeRow& row) {
  return row.self() ? "this node" : row.connected() ? "connected" : "not connected";
}

std::string Milliseconds(uint64_t ns) {
  return absl::StrFormat("%.3f ms", static_cast<double>(ns) / 1e6);
}

Json ToJson(const control::ProcessRow& row) {
  return {{"process", IdText(row.process())},
          {"node", row.process().node()},
          {"pid", row.process().pid()},
          {"incarnation", row.process().incarnation()},
          {"own_pid", row.own_pid()},
          {"uid", row.uid()},
          {"program", row.program()},
          {"names", std::vector<std::string>(row.names().begin(), row.names().end())},
          {"links", row.links()},
          {"dropped", row.dropped()},
          {"expired", row.expired()},
          {"memory_bytes", row.memory_bytes()},
          {"memory_limit_bytes", row.memory_limit_bytes()},
          {"watches", row.watches()}};
}

Json ToJson(const control::SubscriptionRow& row) {
  return {{"receiver", IdText(row.receiver())},
          {"mailbox", row.name()},
          {"waiting", row.waiting()},
          {"leased", row.leased()},
          {"dropped", row.dropped()}};
}

Json ToJson(const control::MailboxRow& row) {
  Json json = {{"mailbox", row.name()},
               {"waiting", row.waiting()},
               {"leased", row.leased()},
               {"delayed", row.delayed()},
               {"sent", row.sent()},
               {"dropped", row.dropped()},
               {"dead_letters", row.dead_letters()},
               {"senders", row.senders()},
               {"receivers", row.receivers()},
               {"max_message_bytes", row.spec().max_message_bytes()},
               {"fixed_size", row.spec().fixed_size()},
               {"capacity_messages", row.spec().capacity_messages()},
               {"when_full", PolicyText(row.spec())},
               {"lease_time_ms", row.spec().lease_time_ms()},
               {"max_attempts", row.spec().max_attempts()},
               {"dead_letter", row.spec().dead_letter()},
               {"policy", ReceivePolicyText(row.spec())},
               {"order", OrderText(row.spec())},
               {"hold_order", row.spec().hold_order()},
               {"distribution", DistributionText(row.spec())},
               {"cutoff_ms", row.spec().cutoff_ms()},
               {"owner", IdText(row.owner())}};
  if (row.spec().receive_policy() != proto::BROADCAST) return json;
  json["subscriptions"] = Json::array();
  for (const control::SubscriptionRow& subscription : row.subscriptions()) {
    json["subscriptions"].push_back(ToJson(subscription));
  }
  return json;
}

Json ToJson(const control::LinkRow& row) {
  Json json = {{"link", row.link_id()}, {"process", IdText(row.a())}, {"peer", Peer(row)}};
  json["peer_is_mailbox"] = !row.mailbox().empty();
  json["direction"] = DirectionText(row);
  json["sent"] = row.sent();
  json["received"] = row.received();
  return json;
}

Json ToJson(const control::NodeRow& row) {
  return {{"node", row.node()},
          {"address", row.address()},
          {"self", row.self()},
          {"connected", row.connected()},
          {"incarnation", IncarnationText(row.incarnation())},
          {"error", row.error()}};
}

template <typename Rows>
std::string ArrayOf(const Rows& rows) {
  Json array = Json::array();
  for (const auto& row : rows) array.push_back(ToJson(row));
  return Dump(array, 2);
}

std::string NameOf(Ended::Kind kind) {
  switch (kind) {
    case Ended::Kind::kProcess:
      return "process";
    case Ended::Kind::kMailbox:
      return "mailbox";
    case Ended::Kind::kNode:
      return "node";
    case Ended::Kind::kNothing:
      break;
  }
  return "nothing";
}

std::string NameOf(EndReason reason) {
  switch (reason) {
    case EndReason::kNone:
      return "lives";
    case EndReason::kExited:
      return "exited";
    case EndReason::kKilled:
      return "killed";
    case EndReason::kEnded:
      return "ended";
    case EndReason::kDetached:
      return "detached";
    case EndReason::kUnreachable:
      return "unreachable";
    case EndReason::kDestroyed:
      return "destroyed";
  }
  return "ended";
}

}  // namespace

std::string FormatProcesses(const control::Listing& listing, OutputFormat format) {
  if (format == OutputFormat::kJson) return ArrayOf(listing.processes());
  Table table({{"PROCESS"},
               {"NAMES"},
               {"UID", Align::kRight},
               {"LINKS", Align::kRight},
               {"DROPPED", Align::kRight},
               {"EXPIRED", Align::kRight},
               {"PROGRAM"}});
  for (const control::ProcessRow& row : listing.processes()) {
    table.AddRow({IdText(row.process()), absl::StrJoin(row.names(), ","), absl::StrCat(row.uid()),
                  absl::StrCat(row.links()), absl::StrCat(row.dropped()),
                  absl::StrCat(row.expired()), row.program()});
  }
  return table.ToString();
}

std::string FormatMailboxes(const control::Listing& listing, OutputFormat format) {
  if (format == OutputFormat::kJson) return ArrayOf(listing.mailboxes());
  Table table({{"MAILBOX"},
               {"WAITING", Align::kRight},
               {"LEASED", Align::kRight},
               {"SENT", Align::kRight},
               {"DROPPED", Align::kRight},
               {"SENDERS", Align::kRight},
               {"RECEIVERS", Align::kRight},
               {"MAX BYTES", Align::kRight},
               {"WHEN FULL"},
               {"POLICY"},
               {"OWNER"}});
  for (const control::MailboxRow& row : listing.mailboxes()) {
    table.AddRow({row.name(), absl::StrCat(row.waiting()), absl::StrCat(row.leased()),
                  absl::StrCat(row.sent()), absl::StrCat(row.dropped()),
                  absl::StrCat(row.senders()), absl::StrCat(row.receivers()),
                  FormatSize(row.spec().max_message_bytes()), PolicyText(row.spec()),
                  ReceivePolicyText(row.spec()), IdText(row.owner())});
  }
  return table.ToString();
}

std::string FormatLinks(const control::Listing& listing, OutputFormat format) {
  if (format == OutputFormat::kJson) return ArrayOf(listing.links());
  Table table({{"LINK", Align::kRight},
               {"PROCESS"},
               {"PEER"},
               {"DIRECTION"},
               {"SENT", Align::kRight},
               {"RECEIVED", Align::kRight}});
  for (const control::LinkRow& row : listing.links()) {
    table.AddRow({absl::StrCat(row.link_id()), IdText(row.a()), Peer(row), DirectionText(row),
                  absl::StrCat(row.sent()), absl::StrCat(row.received())});
  }
  return table.ToString();
}

std::string FormatNodes(const control::Listing& listing, OutputFormat format) {
  if (format == OutputFormat::kJson) return ArrayOf(listing.nodes());
  Table table({{"NODE"}, {"ADDRESS"}, {"STATE"}, {"INCARNATION"}, {"LAST ERROR"}});
  for (const control::NodeRow& row : listing.nodes()) {
    table.AddRow({row.node(), row.address(), StateText(row), IncarnationText(row.incarnation()),
                  row.error()});
  }
  return table.ToString();
}

std::string FormatMailbox(const control::MailboxRow& row, OutputFormat format) {
  const Json json = ToJson(row);
  if (format == OutputFormat::kJson) return Dump(json, 2);
  std::string text;
  for (const auto& [key, value] : json.items()) {
    if (value.is_array()) continue;
    const std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    absl::StrAppendFormat(&text, "%-18s %s\n", absl::StrCat(key, ":"), shown);
  }
  if (row.subscriptions().empty()) return text;
  Table table({{"RECEIVER"},
               {"WAITING", Align::kRight},
               {"LEASED", Align::kRight},
               {"DROPPED", Align::kRight},
               {"ITS MAILBOX"}});
  for (const control::SubscriptionRow& subscription : row.subscriptions()) {
    table.AddRow({IdText(subscription.receiver()), absl::StrCat(subscription.waiting()),
                  absl::StrCat(subscription.leased()), absl::StrCat(subscription.dropped()),
                  subscription.name()});
  }
  return absl::StrCat(text, "\n", table.ToString());
}

std::string FormatPurged(const std::string& mailbox, uint64_t count, OutputFormat format) {
  if (format == OutputFormat::kJson) return Dump({{"mailbox", mailbox}, {"purged", count}}, -1);
  return absl::StrCat("purged ", count, count == 1 ? " message" : " messages", " from ", mailbox,
                      "\n");
}

std::string FormatQueue(const QueueRow& row, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    return Dump({{"queue", row.queue},
                 {"max_messages", row.max_messages},
                 {"max_message_bytes", row.max_message_bytes},
                 {"current_messages", row.current_messages}},
                -1);
  }
  return absl::StrFormat("%-18s %s\n%-18s %d\n%-18s %d\n%-18s %d\n", "queue:", row.queue,
                         "max_messages:", row.max_messages,
                         "max_message_bytes:", row.max_message_bytes,
                         "current_messages:", row.current_messages);
}

std::string FormatRemoved(const std::string& mailbox, uint64_t count, OutputFormat format) {
  if (format == OutputFormat::kJson) return FormatPurged(mailbox, count, format);
  return absl::StrCat("removed ", mailbox, " with ", count, count == 1 ? " message" : " messages",
                      " in it\n");
}

std::string FormatEnded(const EndedRow& ended, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    return Dump({{"name", ended.name},
                 {"kind", NameOf(ended.what.kind)},
                 {"ended", ended.what.name},
                 {"reason", NameOf(ended.reason)}},
                -1);
  }
  return absl::StrCat(ended.name, ": ", NameOf(ended.what.kind), " ", ended.what.name, " ",
                      NameOf(ended.reason), "\n");
}

std::string FormatVersion(const std::string& program, const std::string& agent,
                          const std::string& socket, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    Json json = {{"program", program}, {"agent", nullptr}, {"socket", socket}};
    if (!agent.empty()) json["agent"] = agent;
    return Dump(json, -1);
  }
  return absl::StrCat("mailrail ", program, "\n", agent.empty() ? "no agent answers" : "agent ",
                      agent, " at ", socket, "\n");
}

std::string FormatPing(const PingAnswer& answer, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    return Dump({{"answered_by", answer.answered_by},
                 {"round_trip_ns", answer.round_trip_ns},
                 {"beyond_the_agent_ns", answer.beyond_the_agent_ns}},
                -1);
  }
  return absl::StrCat(answer.answered_by, ": ", Milliseconds(answer.round_trip_ns), ", ",
                      Milliseconds(answer.beyond_the_agent_ns),
                      " of it beyond this host's agent\n");
}

std::string FormatPingSummary(const std::vector<PingAnswer>& answers, OutputFormat format) {
  if (format == OutputFormat::kJson || answers.empty()) return "";
  std::vector<uint64_t> times;
  for (const PingAnswer& answer : answers) times.push_back(answer.round_trip_ns);
  std::sort(times.begin(), times.end());
  return absl::StrCat(times.size(), times.size() == 1 ? " answer" : " answers", ": least ",
                      Milliseconds(times.front()), ", median ",
                      Milliseconds(times[times.size() / 2]), ", most ", Milliseconds(times.back()),
                      "\n");
}

std::string FormatMessage(const ReceivedMessage& message, OutputFormat format) {
  if (format == OutputFormat::kText) return absl::StrCat(message.body, "\n");
  Json json;
  if (IsUtf8(message.body)) {
    json["body"] = std::string(message.body);
  } else {
    json["body"] = absl::Base64Escape(message.body);
    json["encoding"] = "base64";
  }
  json["sender"] = message.sender;
  json["priority"] = message.priority;
  json["sequence"] = message.sequence;
  json["redelivered"] = message.redelivered;
  json["mailbox"] = message.mailbox;
  for (const Header& header : message.headers) {
    json["headers"].push_back({{"name", header.name}, {"value", header.value}});
  }
  if (!message.reply_to.empty()) json["reply_to"] = message.reply_to;
  if (!message.key.empty()) json["key"] = message.key;
  if (message.attempts > 0) json["attempts"] = message.attempts;
  if (!message.dead_letter_reason.empty()) {
    json["dead_letter"] = {{"reason", message.dead_letter_reason},
                           {"mailbox", message.dead_letter_mailbox}};
  }
  return Dump(json, -1);
}

bool IsUtf8(absl::string_view text) {
  // The least code point that needs so many bytes after the first: a longer form is malformed.
  constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i++]);
    if (first < 0x80) continue;
    const int more = first >= 0xf8   ? 0
                     : first >= 0xf0 ? 3
                     : first >= 0xe0 ? 2
                     : first >= 0xc0 ? 1
                                     : 0;
    if (more == 0) return false;
    uint32_t point = first & (0x3fu >> more);
    for (int k = 0; k < more; ++k) {
      if (i >= text.size()) return false;
      const auto next = static_cast<unsigned char>(text[i++]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3fu);
    }
    if (point < kLeast[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
      return false;
    }
  }
  return true;
}

}  // namespace mailrail::cli
