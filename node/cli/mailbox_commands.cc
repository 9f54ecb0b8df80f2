#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/mailbox/control_page.h"
#include "core/process/grants.h"
#include "mailrail/mailbox.h"
#include "node/cli/agent_client.h"
#include "node/cli/commands.h"
#include "node/cli/rows.h"
#include "node/cli/selection_flags.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(10);

struct MailboxArguments {
  std::string socket;
  OutputFormat format = OutputFormat::kText;
  std::vector<std::string> names;
  uint64_t max_message_bytes = kDefaultMaxMessageBytes;
  uint64_t capacity_messages = kDefaultCapacityMessages;
  uint64_t max_attempts = 0;
  MailboxOptions options;
};
using ArgumentsPtr = std::shared_ptr<MailboxArguments>;

absl::StatusOr<uint64_t> ReadCapacity(absl::string_view text) {
  return ReadNumber(text, 1, kLargestCapacityMessages);
}

absl::StatusOr<uint64_t> ReadAttempts(absl::string_view text) {
  return ReadNumber(text, 0, kMostAttempts);
}

}  // namespace

absl::StatusOr<ReceivePolicy> ReadReceivePolicy(absl::string_view text) {
  if (text == "competing") return ReceivePolicy::kCompeting;
  if (text == "exclusive") return ReceivePolicy::kExclusive;
  if (text == "link") return ReceivePolicy::kLink;
  if (text == "broadcast") return ReceivePolicy::kBroadcast;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is neither competing nor exclusive nor link nor broadcast"));
}

namespace {

absl::StatusOr<FullPolicy> ReadPolicy(absl::string_view text) {
  if (text == "block") return FullPolicy::kBlock;
  if (text == "reject") return FullPolicy::kReject;
  if (text == "drop-oldest") return FullPolicy::kDropOldest;
  if (text == "drop-newest") return FullPolicy::kDropNewest;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is neither block nor reject, drop-oldest or drop-newest"));
}

// Puts one request per name, in order; the first error ends it.
absl::Status ForEachName(
    const MailboxArguments& arguments, AgentClient::Repeat repeat,
    const std::function<control::Request(const std::string& name)>& make_request,
    const std::function<absl::Status(const std::string& name, const control::Response& response)>&
        on_response) {
  absl::StatusOr<std::unique_ptr<AgentClient>> client =
      AgentClient::Connect(AttachOptionsFor(arguments.socket));
  if (!client.ok()) return client.status();
  for (const std::string& name : arguments.names) {
    absl::StatusOr<internal::AgentReply> reply =
        (*client)->Call(make_request(name), repeat, absl::Now() + kTimeout);
    if (!reply.ok()) return reply.status();
    if (absl::Status status = on_response(name, reply->response); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Ignore(const std::string&, const control::Response&) { return absl::OkStatus(); }

absl::Status RunCreate(const MailboxArguments& arguments) {
  MailboxOptions options = arguments.options;
  options.max_message_bytes = arguments.max_message_bytes;
  options.capacity_messages = static_cast<uint32_t>(arguments.capacity_messages);
  options.max_attempts = static_cast<uint32_t>(arguments.max_attempts);
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  return ForEachName(
      arguments, AgentClient::Repeat::kMustNot,
      [&options](const std::string& name) {
        control::Request request;
        request.mutable_create_mailbox()->set_name(name);
        internal::ToProto(options, request.mutable_create_mailbox()->mutable_spec());
        return request;
      },
      Ignore);
}

absl::Status RunRemove(const MailboxArguments& arguments) {
  return ForEachName(
      arguments, AgentClient::Repeat::kMustNot,
      [](const std::string& name) {
        control::Request request;
        request.set_destroy_mailbox(name);
        return request;
      },
      [&arguments](const std::string& name, const control::Response& response) {
        return Print(FormatRemoved(name, response.purged(), arguments.format));
      });
}

absl::Status RunPurge(const MailboxArguments& arguments) {
  return ForEachName(
      arguments, AgentClient::Repeat::kMustNot,
      [](const std::string& name) {
        control::Request request;
        request.set_purge_mailbox(name);
        return request;
      },
      [&arguments](const std::string& name, const control::Response& response) {
        return Print(FormatPurged(name, response.purged(), arguments.format));
      });
}

absl::Status RunList(const MailboxArguments& arguments) {
  absl::StatusOr<std::unique_ptr<AgentClient>> client =
      AgentClient::Connect(AttachOptionsFor(arguments.socket));
  if (!client.ok()) return client.status();
  absl::StatusOr<control::Listing> listing = (*client)->List(control::MAILBOXES);
  if (!listing.ok()) return listing.status();
  return Print(FormatMailboxes(*listing, arguments.format));
}

absl::Status RunStat(const MailboxArguments& arguments) {
  const absl::StatusOr<QualifiedName> name = ParseQualifiedName("mailbox", arguments.names[0]);
  if (!name.ok()) return name.status();
  absl::StatusOr<std::unique_ptr<AgentClient>> client =
      AgentClient::Connect(AttachOptionsFor(arguments.socket));
  if (!client.ok()) return client.status();
  if (!name->node.empty()) {
    const absl::StatusOr<std::string> node = (*client)->Node();
    if (!node.ok()) return node.status();
    if (*node != name->node) {
      return absl::InvalidArgumentError(
          absl::StrCat("this is node ", *node, "; ask for the mailbox on node ", name->node));
    }
  }
  absl::StatusOr<control::Listing> listing = (*client)->List(control::MAILBOXES, name->name);
  if (!listing.ok()) return listing.status();
  if (listing->mailboxes().empty()) {
    return absl::NotFoundError(absl::StrCat("there is no mailbox '", name->name,
                                            "' on this node; see mailrail mailbox ls"));
  }
  return Print(FormatMailbox(listing->mailboxes(0), arguments.format));
}

using Run = absl::Status (*)(const MailboxArguments& arguments);

CLI::App* Add(CLI::App& mailbox, Action* action, const std::string& name, const std::string& help,
              const std::string& example, const ArgumentsPtr& arguments, Run run) {
  CLI::App* command = AddCommand(mailbox, name, help, example);
  AddSocketFlag(*command, &arguments->socket);
  command->callback(
      [arguments, action, run] { *action = [arguments, run] { return Report(run(*arguments)); }; });
  return command;
}

void AddNames(CLI::App& command, MailboxArguments* arguments) {
  command.add_option("mailbox", arguments->names, "the mailboxes' names")
      ->type_name("NAME")
      ->required();
}

void AddCreate(CLI::App& mailbox, Action* action, const ArgumentsPtr& arguments) {
  CLI::App* command =
      Add(mailbox, action, "create", "Create mailboxes on this node",
          "mailrail mailbox create orders --max-message-bytes 64K\n"
          "  mailrail mailbox create news --policy broadcast --when-full drop-oldest\n"
          "  mailrail mailbox create jobs --max-attempts 5 --dead-letter failed",
          arguments, RunCreate);
  AddNames(*command, arguments.get());
  AddParsedFlag(*command, "--max-message-bytes", &arguments->max_message_bytes, ReadSize,
                absl::StrCat("the largest body, as 64K or 4M (default: ",
                             FormatSize(kDefaultMaxMessageBytes), ")"))
      ->type_name("SIZE");
  command->add_flag("--fixed-size", arguments->options.fixed_size,
                    "every body has exactly --max-message-bytes");
  AddParsedFlag(
      *command, "--capacity", &arguments->capacity_messages, ReadCapacity,
      absl::StrCat("how many messages of one sender may wait at one priority, up to ",
                   kLargestCapacityMessages, " (default: ", kDefaultCapacityMessages, ")"))
      ->type_name("N");
  AddParsedFlag(*command, "--lease-time", &arguments->options.lease_time, ReadDuration,
                "how long a receiver that acknowledges by hand may keep a message (default: 30s)")
      ->type_name("DURATION");
  AddParsedFlag(*command, "--max-attempts", &arguments->max_attempts, ReadAttempts,
                absl::StrCat("how often a message is handed out at most, up to ", kMostAttempts,
                             " (default: 0, without limit)"))
      ->type_name("N");
  command
      ->add_option("--dead-letter", arguments->options.dead_letter,
                   "the mailbox that gets what was handed out so often")
      ->type_name("MAILBOX");
  AddParsedFlag(
      *command, "--when-full", &arguments->options.when_full, ReadPolicy,
      "senders wait for room, get an error, drop their own oldest message, or the new one "
      "(default: block)")
      ->type_name("block|reject|drop-oldest|drop-newest");
  AddParsedFlag(*command, "--policy", &arguments->options.policy, ReadReceivePolicy,
                "who receives: any process, one at a time, one of at most two processes that use "
                "it at all, or each of them each message (default: competing)")
      ->type_name("competing|exclusive|link|broadcast");
  AddSelectionFlags(*command, &arguments->options);
}

}  // namespace

void AddMailboxCommand(CLI::App& app, Action* action) {
  CLI::App* mailbox =
      AddCommand(app, "mailbox", "Create, list, look into, empty and remove mailboxes",
                 "mailrail mailbox create orders");
  mailbox->require_subcommand(1);
  const auto arguments = std::make_shared<MailboxArguments>();
  AddCreate(*mailbox, action, arguments);

  CLI::App* list =
      Add(*mailbox, action, "ls",
          "List this node's mailboxes; dropped are messages that were purged, or that no "
          "receiver could take",
          "mailrail mailbox ls -o json", arguments, RunList);
  AddOutputFlag(*list, &arguments->format);

  CLI::App* stat = Add(*mailbox, action, "stat", "Show one mailbox of this node",
                       "mailrail mailbox stat orders -o json", arguments, RunStat);
  stat->add_option("mailbox", arguments->names, "the mailbox's name")
      ->type_name("NAME")
      ->expected(1)
      ->required();
  AddOutputFlag(*stat, &arguments->format);

  CLI::App* remove = Add(*mailbox, action, "rm",
                         "Destroy mailboxes and what is in them; a message lost so is counted",
                         "mailrail mailbox rm orders", arguments, RunRemove);
  AddNames(*remove, arguments.get());
  AddOutputFlag(*remove, &arguments->format);

  CLI::App* purge = Add(*mailbox, action, "purge", "Drop the messages that wait in mailboxes",
                        "mailrail mailbox purge orders", arguments, RunPurge);
  AddNames(*purge, arguments.get());
  AddOutputFlag(*purge, &arguments->format);

  AddBrowseCommands(*mailbox, action);
}

}  // namespace mailrail::cli
