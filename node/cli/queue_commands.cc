#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "mailrail/message_queue.h"
#include "node/cli/commands.h"
#include "node/cli/line_reader.h"
#include "node/cli/post.h"
#include "node/cli/rows.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

struct QueueArguments {
  std::string socket;
  OutputFormat format = OutputFormat::kText;
  std::vector<std::string> names;  // of commands that take several
  std::string name;                // of the others
  uint64_t max_messages = QueueOptions().max_messages;
  uint64_t max_message_bytes = QueueOptions().max_message_bytes;
  bool exclusive = false;
  bool nonblocking = false;
  absl::optional<std::string> message;
  uint64_t priority = 0;
  uint64_t count = 1;
  absl::optional<absl::Duration> timeout;

  absl::Time deadline() const { return absl::Now() + timeout.value_or(absl::InfiniteDuration()); }
};
using ArgumentsPtr = std::shared_ptr<QueueArguments>;

absl::StatusOr<uint64_t> ReadMaxMessages(absl::string_view text) {
  return ReadNumber(text, 1, kLargestCapacityMessages);
}

// For each name, in order; the first error ends it.
absl::Status ForEachName(
    const QueueArguments& arguments,
    const std::function<absl::Status(Process& process, const std::string& name)>& run) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  for (const std::string& name : arguments.names) {
    if (absl::Status status = run(*process, name); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status RunCreate(const QueueArguments& arguments) {
  return ForEachName(arguments, [&arguments](Process& process, const std::string& name) {
    return MessageQueue::Open(process, name,
                              {.access = QueueAccess::kSend,
                               .create = true,
                               .exclusive = arguments.exclusive,
                               .max_messages = static_cast<uint32_t>(arguments.max_messages),
                               .max_message_bytes = arguments.max_message_bytes})
        .status();
  });
}

absl::Status RunUnlink(const QueueArguments& arguments) {
  return ForEachName(arguments, [](Process& process, const std::string& name) {
    return MessageQueue::Unlink(process, name);
  });
}

absl::Status RunAttributes(const QueueArguments& arguments) {
  return ForEachName(arguments, [&arguments](Process& process, const std::string& name) {
    const absl::StatusOr<MailboxState> state =
        process.StatMailbox(std::string(absl::StripPrefix(name, "/")));
    if (!state.ok()) return state.status();
    return Print(FormatQueue(
        {name, state->options.capacity_messages, state->options.max_message_bytes, state->waiting},
        arguments.format));
  });
}

// Each line of standard input.
absl::Status SendLines(const QueueArguments& arguments) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  absl::StatusOr<MessageQueue> queue =
      MessageQueue::Open(*process, arguments.name,
                         {.access = QueueAccess::kSend, .nonblocking = arguments.nonblocking});
  if (!queue.ok()) return queue.status();
  LineReader reader(STDIN_FILENO, kLargestMaxMessageBytes);
  for (uint64_t number = 1;;) {
    const absl::StatusOr<std::vector<absl::string_view>> lines = reader.Next();
    if (!lines.ok() || lines->empty()) return lines.status();
    for (const absl::string_view line : *lines) {
      const absl::Status status =
          queue->Send(line, static_cast<int>(arguments.priority), arguments.deadline());
      if (!status.ok()) {
        return Annotate(absl::StrCat("line ", number, ", all before it are sent"), status);
      }
      ++number;
    }
  }
}

absl::Status RunSend(const QueueArguments& arguments) {
  if (!arguments.message.has_value()) return SendLines(arguments);
  QueuePost post;
  post.socket = arguments.socket;
  post.mailbox = std::string(absl::StripPrefix(arguments.name, "/"));
  post.priority = static_cast<int>(arguments.priority);
  post.nonblocking = arguments.nonblocking;
  if (arguments.timeout.has_value()) post.timeout = *arguments.timeout;
  return PostToQueue(post, *arguments.message);
}

absl::Status PrintMessage(const QueueArguments& arguments, const Message& message) {
  ReceivedMessage shown;
  shown.body = message.body();
  shown.sender = message.sender().ToString();
  shown.priority = message.priority();
  shown.sequence = message.sequence();
  shown.redelivered = message.redelivered();
  shown.mailbox = std::string(absl::StripPrefix(arguments.name, "/"));
  shown.headers = message.headers();
  shown.reply_to = std::string(message.reply_to());
  shown.attempts = message.attempts();
  return Print(FormatMessage(shown, arguments.format));
}

absl::Status RunReceive(const QueueArguments& arguments) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  absl::StatusOr<MessageQueue> queue =
      MessageQueue::Open(*process, arguments.name,
                         {.access = QueueAccess::kReceive, .nonblocking = arguments.nonblocking});
  if (!queue.ok()) return queue.status();
  for (uint64_t i = 0; i < arguments.count; ++i) {
    const absl::StatusOr<Message> message = queue->Receive(arguments.deadline());
    if (absl::IsDeadlineExceeded(message.status())) {
      return absl::DeadlineExceededError(absl::StrCat("no message is in ", arguments.name));
    }
    if (!message.ok()) return message.status();
    if (absl::Status status = PrintMessage(arguments, *message); !status.ok()) return status;
  }
  return absl::OkStatus();
}

using Run = absl::Status (*)(const QueueArguments& arguments);

CLI::App* Add(CLI::App& queue, Action* action, const std::string& name, const std::string& help,
              const std::string& example, const ArgumentsPtr& arguments, Run run) {
  CLI::App* command = AddCommand(queue, name, help, example);
  AddSocketFlag(*command, &arguments->socket);
  command->callback(
      [arguments, action, run] { *action = [arguments, run] { return Report(run(*arguments)); }; });
  return command;
}

template <typename T>
void AddName(CLI::App& command, T* name) {
  command.add_option("queue", *name, "as /jobs, jobs or /jobs@alpha")
      ->type_name("QUEUE")
      ->required();
}

// --nonblock and --timeout.
void AddWaiting(CLI::App& command, QueueArguments* arguments, const std::string& what) {
  CLI::Option* const nonblocking = command.add_flag(
      "--nonblock", arguments->nonblocking, "do not wait; exit code 4 when that would have to be");
  command
      .add_option_function<std::string>(
          "--timeout",
          [arguments](const std::string& text) { arguments->timeout = ReadDuration(text).value(); },
          what)
      ->type_name("DURATION")
      ->excludes(nonblocking)
      ->check([](const std::string& text) {
        return std::string(ReadDuration(text).status().message());
      });
}

void AddCreate(CLI::App& queue, Action* action, const ArgumentsPtr& arguments) {
  CLI::App* const command =
      Add(queue, action, "create", "Make message queues on this node, unless they are there",
          "mailrail queue create /jobs --max-messages 100 --max-message-bytes 4K", arguments,
          RunCreate);
  AddName(*command, &arguments->names);
  AddParsedFlag(*command, "--max-messages", &arguments->max_messages, ReadMaxMessages,
                absl::StrCat("how many messages of one sender may wait at one priority, up to ",
                             kLargestCapacityMessages, " (default: ", arguments->max_messages, ")"))
      ->type_name("N");
  AddParsedFlag(*command, "--max-message-bytes", &arguments->max_message_bytes, ReadSize,
                absl::StrCat("the largest message, as 64K or 4M (default: ",
                             FormatSize(arguments->max_message_bytes), ")"))
      ->type_name("SIZE");
  command->add_flag("--exclusive", arguments->exclusive, "exit code 6 when one is there already");
}

void AddSend(CLI::App& queue, Action* action, const ArgumentsPtr& arguments) {
  CLI::App* const command =
      Add(queue, action, "send", "Send a message, or each line of standard input as a message",
          "mailrail queue send /jobs 'a job' --priority 9\n"
          "  mailrail queue send /jobs 'a job' --nonblock || echo the queue is full",
          arguments, RunSend);
  AddName(*command, &arguments->name);
  command
      ->add_option_function<std::string>(
          "message", [arguments](const std::string& text) { arguments->message = text; },
          "the message; without it, lines of standard input")
      ->type_name("MESSAGE");
  AddPriorityFlag(*command, &arguments->priority);
  AddWaiting(*command, arguments.get(),
             "how long each waits for room; exit code 4 when none came (default: 10s for one "
             "message, inf for lines)");
}

void AddReceive(CLI::App& queue, Action* action, const ArgumentsPtr& arguments) {
  CLI::App* const command =
      Add(queue, action, "receive",
          "Receive messages, the highest priority first, and print each with a newline",
          "mailrail queue receive /jobs --timeout 5s\n"
          "  while job=$(mailrail queue receive /jobs --nonblock); do echo \"$job\"; done",
          arguments, RunReceive);
  AddName(*command, &arguments->name);
  AddParsedFlag(*command, "--count", &arguments->count, ReadCount,
                "stop after so many messages (default: 1)")
      ->type_name("N");
  AddWaiting(*command, arguments.get(),
             "how long to wait for each message; exit code 4 when none came (default: inf)");
  AddOutputFlag(*command, &arguments->format);
}

}  // namespace

void AddQueueCommand(CLI::App& app, Action* action) {
  CLI::App* const queue =
      AddCommand(app, "queue", "Use message queues as POSIX has them: mailboxes by other names",
                 "mailrail queue create /jobs\n"
                 "  mailrail queue send /jobs 'a job' --priority 9\n"
                 "  mailrail queue receive /jobs");
  queue->require_subcommand(1);
  const auto arguments = std::make_shared<QueueArguments>();
  AddCreate(*queue, action, arguments);
  AddSend(*queue, action, arguments);
  AddReceive(*queue, action, arguments);
  CLI::App* const attributes =
      Add(*queue, action, "attr", "Show the limits of queues, and how many messages wait in them",
          "mailrail queue attr /jobs -o json", arguments, RunAttributes);
  AddName(*attributes, &arguments->names);
  AddOutputFlag(*attributes, &arguments->format);
  CLI::App* const unlink = Add(*queue, action, "unlink", "Remove queues and what is in them",
                               "mailrail queue unlink /jobs", arguments, RunUnlink);
  AddName(*unlink, &arguments->names);
}

}  // namespace mailrail::cli
