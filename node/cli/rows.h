// How lists and received messages are printed. In JSON the keys are stable: scripts read them.
#ifndef MAILRAIL_NODE_CLI_ROWS_H_
#define MAILRAIL_NODE_CLI_ROWS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "mailrail/message.h"
#include "node/cli/command.h"
#include "proto/agent.pb.h"

namespace mailrail::cli {

// A table, or an array with an object for each row. Both end with a newline.
std::string FormatProcesses(const control::Listing& listing, OutputFormat format);
std::string FormatMailboxes(const control::Listing& listing, OutputFormat format);
std::string FormatLinks(const control::Listing& listing, OutputFormat format);
std::string FormatNodes(const control::Listing& listing, OutputFormat format);

// One mailbox: a line for each property, or one object.
std::string FormatMailbox(const control::MailboxRow& row, OutputFormat format);

// How many messages were purged.
std::string FormatPurged(const std::string& mailbox, uint64_t count, OutputFormat format);

// What a message queue is and has in it.
struct QueueRow {
  std::string queue;
  uint64_t max_messages = 0;
  uint64_t max_message_bytes = 0;
  uint64_t current_messages = 0;
};
// A line for each property, or one object on one line.
std::string FormatQueue(const QueueRow& row, OutputFormat format);

// That a mailbox is gone, and how many messages were lost with it.
std::string FormatRemoved(const std::string& mailbox, uint64_t count, OutputFormat format);

// The versions of the program and of the agent at `socket`; empty: none answers there.
std::string FormatVersion(const std::string& program, const std::string& agent,
                          const std::string& socket, OutputFormat format);

// One answer to a ping.
struct PingAnswer {
  std::string answered_by;
  uint64_t round_trip_ns = 0;        // as this program saw it
  uint64_t beyond_the_agent_ns = 0;  // the part of it that was spent beyond this host's agent
};
std::string FormatPing(const PingAnswer& answer, OutputFormat format);
// The last line in text form; empty in JSON.
std::string FormatPingSummary(const std::vector<PingAnswer>& answers, OutputFormat format);

// What has ended, and was watched under `name`.
struct EndedRow {
  std::string name;
  Ended what;
  EndReason reason = EndReason::kNone;
};
// One line.
std::string FormatEnded(const EndedRow& ended, OutputFormat format);

// What is told of a received message.
struct ReceivedMessage {
  absl::string_view body;
  std::string sender;
  int priority = 0;
  uint64_t sequence = 0;
  bool redelivered = false;
  std::string mailbox;
  std::vector<Header> headers = {};
  std::string reply_to = {};
  std::string key = {};
  int attempts = 0;
  std::string dead_letter_reason = {};  // empty: it is no dead letter
  std::string dead_letter_mailbox = {};
};
// The body and a newline, or an object on one line: its body is a string where it is UTF-8, and
// base64 where it is not, which "encoding" then says.
std::string FormatMessage(const ReceivedMessage& message, OutputFormat format);

// Whether `text` is well-formed UTF-8.
bool IsUtf8(absl::string_view text);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_ROWS_H_
