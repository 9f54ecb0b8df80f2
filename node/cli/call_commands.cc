// Requests and answers: `call` and `reply`.
#include <unistd.h>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "mailrail/limits.h"
#include "mailrail/process.h"
#include "node/cli/child_program.h"
#include "node/cli/commands.h"
#include "node/cli/line_reader.h"
#include "node/cli/received.h"
#include "node/cli/rows.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

constexpr absl::Duration kOpenTimeout = absl::Seconds(10);

// The header of an answer whose program has failed: with what.
constexpr char kExitCodeHeader[] = "exit-code";

// A program may take long. Should it never end its request goes to another at last.
constexpr absl::Duration kLongestProgram = absl::Hours(24);

struct CallArguments {
  std::string socket;
  OutputFormat format = OutputFormat::kText;
  std::string destination;
  absl::optional<std::string> message;
  uint64_t priority = 0;
  std::vector<Header> headers;
  absl::Duration timeout = absl::Seconds(10);
};

absl::Status RunCall(const CallArguments& arguments) {
  const absl::Time deadline = absl::Now() + arguments.timeout;
  std::string body;
  if (arguments.message.has_value()) {
    body = *arguments.message;
  } else {
    absl::StatusOr<std::string> input = ReadAll(STDIN_FILENO, kLargestMaxMessageBytes);
    if (!input.ok()) return Annotate("standard input", input.status());
    body = *std::move(input);
  }
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  absl::StatusOr<Sender> sender = process->Connect(arguments.destination, deadline);
  if (!sender.ok()) return sender.status();
  const absl::StatusOr<Message> answer = sender->Call(
      body, {.priority = static_cast<int>(arguments.priority), .headers = arguments.headers},
      deadline);
  if (!answer.ok()) return answer.status();
  if (absl::Status status =
          Print(FormatMessage(Shown(*answer, arguments.destination), arguments.format));
      !status.ok()) {
    return status;
  }
  const absl::optional<absl::string_view> code = answer->header(kExitCodeHeader);
  if (!code.has_value()) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("the program that answers has failed with ", *code));
}

struct ReplyArguments {
  std::string socket;
  std::string mailbox;
  std::vector<std::string> command;
  uint64_t count = 0;  // 0: without end
};

// Has the program make the answer. A request that wants none is done with when the program has run.
absl::Status Answer(Process& process, const ReplyArguments& arguments, Message& request) {
  if (absl::Status status = request.Extend(kLongestProgram); !status.ok()) return status;
  const absl::StatusOr<ChildOutcome> outcome =
      RunChild(arguments.command, request.body(),
               {absl::StrCat("MAILRAIL_SENDER=", request.sender().ToString()),
                absl::StrCat("MAILRAIL_ATTEMPT=", request.attempts() + 1)},
               kLargestMaxMessageBytes);
  if (!outcome.ok()) return outcome.status();
  if (!request.reply_to().empty()) {
    SendOptions options;
    if (outcome->exit_code != 0) {
      options.headers.push_back({kExitCodeHeader, absl::StrCat(outcome->exit_code)});
    }
    const absl::Status replied = process.Reply(request, outcome->output, options);
    // Whoever asked has gone: that is its own affair.
    if (!replied.ok()) std::cerr << "mailrail: " << replied.message() << std::endl;
  }
  return request.Acknowledge();
}

absl::Status RunReply(const ReplyArguments& arguments) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  absl::StatusOr<Receiver> receiver = process->OpenMailbox(
      arguments.mailbox, {.acknowledgement = Acknowledgement::kManual}, absl::Now() + kOpenTimeout);
  if (!receiver.ok()) return receiver.status();
  for (uint64_t i = 0; arguments.count == 0 || i < arguments.count; ++i) {
    absl::StatusOr<Message> request = receiver->Receive();
    if (!request.ok()) return request.status();
    if (absl::Status status = Answer(*process, arguments, *request); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

void AddCallCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<CallArguments>();
  CLI::App* command =
      AddCommand(app, "call", "Send a request, wait for its answer, and print it",
                 "mailrail call upper 'hello' --timeout 2s\n  mailrail call sum < numbers");
  command
      ->add_option("destination", arguments->destination,
                   "a mailbox, or a process: its id, pid or name")
      ->type_name("DEST")
      ->required();
  command
      ->add_option_function<std::string>(
          "message", [arguments](const std::string& text) { arguments->message = text; },
          "the request; without it all of standard input")
      ->type_name("MESSAGE");
  AddPriorityFlag(*command, &arguments->priority);
  AddHeaderFlag(*command, &arguments->headers);
  AddParsedFlag(*command, "--timeout", &arguments->timeout, ReadDuration,
                "how long to wait; exit code 4 when no answer came (default: 10s)")
      ->type_name("DURATION");
  AddSocketFlag(*command, &arguments->socket);
  AddOutputFlag(*command, &arguments->format);
  command->callback(
      [arguments, action] { *action = [arguments] { return Report(RunCall(*arguments)); }; });
}

void AddReplyCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<ReplyArguments>();
  CLI::App* command = AddCommand(
      app, "reply", "Answer each request in a mailbox with what a program prints",
      "mailrail reply upper -- tr a-z A-Z\n"
      "  mailrail reply sum --count 1 -- sh -c 'paste -sd+ | bc'\n\n"
      "The request is the program's standard input; MAILRAIL_SENDER says who asks, and\n"
      "MAILRAIL_ATTEMPT how often it was tried. A program that fails answers too, with the header\n"
      "exit-code. A request goes to another `reply` when this one is killed.");
  command
      ->add_option("mailbox", arguments->mailbox, "the mailbox's name, as orders or orders@alpha")
      ->type_name("MAILBOX")
      ->required();
  command->add_option("command", arguments->command, "the program and its arguments, after --")
      ->type_name("COMMAND")
      ->required();
  AddParsedFlag(*command, "--count", &arguments->count, ReadCount,
                "stop after so many requests (default: never)")
      ->type_name("N");
  AddSocketFlag(*command, &arguments->socket);
  command->callback(
      [arguments, action] { *action = [arguments] { return Report(RunReply(*arguments)); }; });
}

}  // namespace mailrail::cli
