// Those of `mailrail mailbox` that look at messages, and move dead letters.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/browse.h"
#include "mailrail/mailbox.h"
#include "node/cli/agent_client.h"
#include "node/cli/browsed_rows.h"
#include "node/cli/commands.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

// For each request; a large mailbox takes more than one.
constexpr absl::Duration kTimeout = absl::Seconds(10);

constexpr size_t kAll = static_cast<size_t>(-1);

struct BrowseArguments {
  std::string socket;
  OutputFormat format = OutputFormat::kText;
  std::string mailbox;
  uint64_t limit = kAll;
  uint64_t body_bytes = 1024;
  std::string of;
  std::string to;
  DeadLetterReason reason = DeadLetterReason::kNone;
};

absl::StatusOr<uint64_t> ReadBodyBytes(absl::string_view text) {
  const absl::StatusOr<uint64_t> bytes = ReadSize(text);
  if (bytes.ok() && *bytes > kMostBrowsedBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is more than ", FormatSize(kMostBrowsedBytes)));
  }
  return bytes;
}

absl::StatusOr<DeadLetterReason> ReadReason(absl::string_view text) {
  if (text == "attempts") return DeadLetterReason::kAttempts;
  if (text == "expired") return DeadLetterReason::kExpired;
  if (text == "dropped") return DeadLetterReason::kDropped;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is neither attempts nor expired or dropped"));
}

// Calls `run` with what asks the agent: each request may be put again.
template <typename Run>
absl::Status WithAgent(const BrowseArguments& arguments, const Run& run) {
  const absl::StatusOr<std::unique_ptr<AgentClient>> client =
      AgentClient::Connect(AttachOptionsFor(arguments.socket));
  if (!client.ok()) return client.status();
  return run([&](const control::Request& request) {
    return (*client)->Call(request, AgentClient::Repeat::kMay, absl::Now() + kTimeout);
  });
}

absl::Status RunPeek(const BrowseArguments& arguments) {
  return WithAgent(arguments, [&](internal::AskAgent ask) {
    const absl::StatusOr<absl::optional<BrowsedMessage>> message =
        internal::Peek(arguments.mailbox, ask);
    if (!message.ok()) return message.status();
    if (!message->has_value()) {
      return absl::DeadlineExceededError(absl::StrCat("no message waits in ", arguments.mailbox));
    }
    return Print(FormatPeeked(arguments.mailbox, **message, arguments.format));
  });
}

absl::Status RunBrowse(const BrowseArguments& arguments) {
  return WithAgent(arguments, [&](internal::AskAgent ask) {
    const absl::StatusOr<std::vector<BrowsedMessage>> messages =
        internal::Browse(arguments.mailbox,
                         {.limit = static_cast<size_t>(arguments.limit),
                          .max_body_bytes = static_cast<size_t>(arguments.body_bytes),
                          .dead_letters_of = arguments.of},
                         ask);
    if (!messages.ok()) return messages.status();
    return Print(FormatBrowsed(arguments.mailbox, *messages, arguments.format));
  });
}

absl::Status RunRedrive(const BrowseArguments& arguments) {
  return WithAgent(arguments, [&](internal::AskAgent ask) {
    const absl::StatusOr<Redriven> redriven =
        internal::Redrive(arguments.mailbox,
                          {.to = arguments.to,
                           .limit = static_cast<size_t>(arguments.limit),
                           .reason = arguments.reason},
                          ask);
    if (!redriven.ok()) return redriven.status();
    return Print(FormatRedriven(arguments.mailbox, *redriven, arguments.format));
  });
}

using ArgumentsPtr = std::shared_ptr<BrowseArguments>;
using Run = absl::Status (*)(const BrowseArguments& arguments);

CLI::App* Add(CLI::App& mailbox, Action* action, const std::string& name, const std::string& help,
              const std::string& example, const ArgumentsPtr& arguments, Run run) {
  CLI::App* command = AddCommand(mailbox, name, help, example);
  command->add_option("mailbox", arguments->mailbox, "its name, as orders or orders@alpha")
      ->type_name("NAME")
      ->required();
  AddSocketFlag(*command, &arguments->socket);
  AddOutputFlag(*command, &arguments->format);
  command->callback(
      [arguments, action, run] { *action = [arguments, run] { return Report(run(*arguments)); }; });
  return command;
}

void AddLimit(CLI::App& command, uint64_t* limit) {
  AddParsedFlag(command, "--limit", limit, ReadCount, "how many messages at most (default: all)")
      ->type_name("N");
}

}  // namespace

void AddBrowseCommands(CLI::App& mailbox, Action* action) {
  const auto arguments = std::make_shared<BrowseArguments>();
  Add(mailbox, action, "peek",
      "Print the message that the next receive would get, and leave it there; exit code 4 when "
      "none waits",
      "mailrail mailbox peek orders -o json", arguments, RunPeek);

  CLI::App* browse = Add(mailbox, action, "browse",
                         "List the messages in a mailbox in the order in which they would be "
                         "received, and leave them there; also those that are leased or delayed",
                         "mailrail mailbox browse orders --limit 20\n"
                         "  mailrail mailbox browse failed --from jobs -o json",
                         arguments, RunBrowse);
  AddLimit(*browse, &arguments->limit);
  browse
      ->add_option("--from", arguments->of,
                   "of a dead-letter mailbox: only what was sent to this mailbox")
      ->type_name("MAILBOX");
  AddParsedFlag(*browse, "--body-bytes", &arguments->body_bytes, ReadBodyBytes,
                absl::StrCat("how much of each body JSON has, up to ",
                             FormatSize(kMostBrowsedBytes), " (default: 1K)"))
      ->type_name("SIZE");

  CLI::App* redrive = Add(
      mailbox, action, "redrive",
      "Move dead letters back to the mailboxes that they were sent to; attempts begin anew, and "
      "times to live have no effect any more",
      "mailrail mailbox redrive failed --limit 100\n"
      "  mailrail mailbox redrive failed --to jobs --reason attempts",
      arguments, RunRedrive);
  AddLimit(*redrive, &arguments->limit);
  redrive->add_option("--to", arguments->to, "move all of them to this mailbox of the same node")
      ->type_name("MAILBOX");
  AddParsedFlag(*redrive, "--reason", &arguments->reason, ReadReason,
                "only those that are dead letters for this reason")
      ->type_name("attempts|expired|dropped");
}

}  // namespace mailrail::cli
