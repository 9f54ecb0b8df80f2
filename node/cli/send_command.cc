#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "core/base/fd.h"
#include "core/shm/memory.h"
#include "mailrail/limits.h"
#include "mailrail/process.h"
#include "node/cli/agent_client.h"
#include "node/cli/commands.h"
#include "node/cli/line_reader.h"
#include "node/cli/post.h"
#include "node/cli/progress.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

// A larger body goes to the agent in memory of its own: it would not fit a packet.
constexpr size_t kMaxInlineBytes = 32 * 1024;

constexpr absl::Duration kConnectTimeout = absl::Seconds(10);
constexpr absl::Duration kPostTimeout = absl::Seconds(10);

struct SendArguments {
  std::string socket;
  std::string destination;
  absl::optional<std::string> message;
  std::string file;
  uint64_t priority = 0;
  std::vector<Header> headers;
  std::string reply_to;
  std::string key;
  absl::Duration time_to_live = absl::InfiniteDuration();
  absl::Duration delay = absl::ZeroDuration();
  absl::optional<absl::Duration> timeout;
  absl::optional<absl::Duration> receipt;  // how long to wait for receipts, if they are wanted
  bool to_queue = false;                   // to a mailbox alone
  bool nonblocking = false;

  SendOptions options() const {
    return {.priority = static_cast<int>(priority),
            .time_to_live = time_to_live,
            .delay = delay,
            .headers = headers,
            .reply_to = reply_to,
            .key = key,
            .receipt = receipt.has_value() ? kReceipt : 0};
  }

  static constexpr uint64_t kReceipt = 1;  // which message it is of is not shown
};

std::string Describe(const Receipt& receipt) {
  const std::string to = receipt.dead_letter_mailbox.empty()
                             ? ""
                             : absl::StrCat(", now in ", receipt.dead_letter_mailbox);
  switch (receipt.outcome) {
    case Receipt::Outcome::kReceived:
      return receipt.receiver.pid() == 0
                 ? "received"
                 : absl::StrCat("received by ", receipt.receiver.ToString());
    case Receipt::Outcome::kAttempts:
      return absl::StrCat("handed out as often as the mailbox allows", to);
    case Receipt::Outcome::kExpired:
      return absl::StrCat("expired", to);
    case Receipt::Outcome::kDropped:
      return absl::StrCat("dropped, as the mailbox was full", to);
    case Receipt::Outcome::kPurged:
      return "purged, or destroyed with the mailbox";
    case Receipt::Outcome::kUnknown:
      break;
  }
  return "not known: the mailbox has gone";
}

// Prints what becomes of each message that was sent.
absl::Status PrintReceipts(const SendArguments& arguments, Sender* sender) {
  if (!arguments.receipt.has_value()) return absl::OkStatus();
  const absl::Time deadline = absl::Now() + *arguments.receipt;
  uint64_t not_received = 0;
  while (true) {
    const absl::StatusOr<Receipt> receipt = sender->NextReceipt(deadline);
    if (absl::IsNotFound(receipt.status())) break;  // that was the last
    if (!receipt.ok()) return receipt.status();
    not_received += receipt->outcome != Receipt::Outcome::kReceived;
    printf("%s\n", Describe(*receipt).c_str());
    fflush(stdout);
  }
  if (not_received == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("not received: ", not_received));
}

// Memory with `body`, which others can only read.
absl::StatusOr<Fd> MemoryWith(absl::string_view body) {
  absl::StatusOr<Fd> memory = CreateMemory("mailrail.post", body.size());
  if (!memory.ok()) return memory;
  absl::StatusOr<Mapping> mapping = Mapping::Map(*memory, body.size(), Access::kReadWrite);
  if (!mapping.ok()) return mapping.status();
  memcpy(mapping->data(), body.data(), body.size());
  return OpenReadOnly(*memory);
}

// Sends one message itself.
absl::Status SendAttached(const SendArguments& arguments, absl::string_view body) {
  const absl::Time deadline = absl::Now() + arguments.timeout.value_or(kPostTimeout);
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  absl::StatusOr<Sender> sender = process->Connect(arguments.destination, deadline);
  if (!sender.ok()) return sender.status();
  const absl::Status sent = sender->Send(body, arguments.options(), deadline);
  return sent.ok() ? PrintReceipts(arguments, &*sender) : sent;
}

// Has the agent send one message, so that this program need not attach.
absl::Status Post(const SendArguments& arguments, absl::string_view body) {
  // Receipts are for who stays.
  if (arguments.receipt.has_value()) return SendAttached(arguments, body);
  control::Request request;
  control::Post* post = request.mutable_post();
  post->set_destination(arguments.destination);
  post->set_priority(static_cast<uint32_t>(arguments.priority));
  for (const Header& header : arguments.headers) {
    proto::Header* const added = post->add_headers();
    added->set_name(header.name);
    added->set_value(header.value);
  }
  post->set_reply_to(arguments.reply_to);
  post->set_key(arguments.key);
  post->set_to_mailbox(arguments.to_queue);
  post->set_no_wait(arguments.nonblocking);
  if (arguments.time_to_live < absl::Hours(24 * 365 * 100)) {
    post->set_time_to_live_ms(static_cast<uint64_t>(
        std::max<int64_t>(absl::ToInt64Milliseconds(arguments.time_to_live), 1)));
  }
  post->set_delay_ms(static_cast<uint64_t>(
      absl::ToInt64Milliseconds(absl::Ceil(arguments.delay, absl::Milliseconds(1)))));
  Fd memory;
  std::vector<int> fds;
  if (body.size() <= kMaxInlineBytes) {
    post->set_body(std::string(body));
  } else {
    absl::StatusOr<Fd> filled = MemoryWith(body);
    if (!filled.ok()) return filled.status();
    memory = *std::move(filled);
    post->set_memory_bytes(body.size());
    fds.push_back(memory.get());
  }
  absl::StatusOr<std::unique_ptr<AgentClient>> client =
      AgentClient::Connect(AttachOptionsFor(arguments.socket));
  if (!client.ok()) return client.status();
  const absl::Duration timeout = arguments.timeout.value_or(kPostTimeout);
  absl::Status status =
      (*client)->Call(request, AgentClient::Repeat::kMustNot, absl::Now() + timeout, fds).status();
  // Of a link of two processes only an attached one can be one.
  return absl::IsFailedPrecondition(status) ? SendAttached(arguments, body) : status;
}

absl::Status SendFile(const SendArguments& arguments) {
  Fd file;
  int fd = STDIN_FILENO;
  if (arguments.file != "-") {
    file.Reset(open(arguments.file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot read ", arguments.file, ": ", strerror(errno)));
    }
    fd = file.get();
  }
  const absl::StatusOr<std::string> body = ReadAll(fd, kLargestMaxMessageBytes);
  if (!body.ok()) return Annotate(arguments.file, body.status());
  return Post(arguments, *body);
}

// Sends all of `lines`, with the timeout for each wait for room.
absl::Status SendLines(Sender& sender, const SendArguments& arguments,
                       absl::Span<const absl::string_view> lines, Progress* progress) {
  const SendOptions options = arguments.options();
  size_t batch = lines.size();
  while (!lines.empty()) {
    const absl::Time deadline = absl::Now() + arguments.timeout.value_or(absl::InfiniteDuration());
    const absl::StatusOr<size_t> sent = sender.SendBatch(lines.first(batch), options, deadline);
    if (absl::IsInvalidArgument(sent.status()) && batch > 1) {
      // One of them has a wrong size, and none was sent: those before it are to be.
      batch = 1;
      continue;
    }
    if (!sent.ok()) return sent.status();
    for (const absl::string_view line : lines.first(*sent)) progress->Add(line.size());
    lines.remove_prefix(*sent);
    batch = std::min(batch, lines.size());
    progress->Show();
  }
  return absl::OkStatus();
}

absl::Status SendStandardInput(const SendArguments& arguments) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  absl::StatusOr<Sender> sender =
      process->Connect(arguments.destination, absl::Now() + kConnectTimeout);
  if (!sender.ok()) return sender.status();
  LineReader reader(STDIN_FILENO, sender->max_message_bytes());
  Progress progress;
  absl::Status status;
  while (status.ok()) {
    const absl::StatusOr<std::vector<absl::string_view>> lines = reader.Next();
    status = lines.status();
    if (!status.ok() || lines->empty()) break;
    status = SendLines(*sender, arguments, *lines, &progress);
  }
  progress.Finish();
  if (status.ok()) return PrintReceipts(arguments, &*sender);
  return Annotate(absl::StrCat("line ", progress.messages() + 1, ", all before it are sent"),
                  status);
}

absl::Status RunSend(const SendArguments& arguments) {
  if (arguments.message.has_value()) return Post(arguments, *arguments.message);
  if (!arguments.file.empty()) return SendFile(arguments);
  return SendStandardInput(arguments);
}

}  // namespace

absl::Status PostToQueue(const QueuePost& post, absl::string_view body) {
  SendArguments arguments;
  arguments.socket = post.socket;
  arguments.destination = post.mailbox;
  arguments.priority = static_cast<uint64_t>(post.priority);
  arguments.timeout = post.timeout;
  arguments.to_queue = true;
  arguments.nonblocking = post.nonblocking;
  return Post(arguments, body);
}

void AddSendCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<SendArguments>();
  CLI::App* command =
      AddCommand(app, "send", "Send a message, a file, or each line of standard input as a message",
                 "mailrail send orders 'one message' --priority 5 --header kind=test\n"
                 "  seq 1000 | mailrail send orders");
  command
      ->add_option("destination", arguments->destination,
                   "a mailbox, or a process: its id, pid or name")
      ->type_name("DEST")
      ->required();
  CLI::Option* message = command->add_option_function<std::string>(
      "message", [arguments](const std::string& text) { arguments->message = text; },
      "the message; without it, and without --file, lines of standard input");
  message->type_name("MESSAGE");
  command
      ->add_option("--file", arguments->file,
                   "send what is in this file as one message; - is standard input")
      ->type_name("PATH")
      ->excludes(message);
  AddPriorityFlag(*command, &arguments->priority);
  AddHeaderFlag(*command, &arguments->headers);
  AddParsedFlag(*command, "--ttl", &arguments->time_to_live, ReadDuration,
                "how long it is of use: nobody receives it after that (default: inf)")
      ->type_name("DURATION");
  AddParsedFlag(*command, "--delay", &arguments->delay, ReadDuration,
                "how long nobody receives it yet, up to six days; mailboxes only (default: 0s)")
      ->type_name("DURATION");
  command
      ->add_option("--reply-to", arguments->reply_to,
                   "where answers are to go: a mailbox or a process")
      ->type_name("NAME");
  command
      ->add_option("--key", arguments->key,
                   "what it is about: a mailbox may give all messages of a key to one receiver")
      ->type_name("KEY");
  command
      ->add_option_function<std::string>(
          "--timeout",
          [arguments](const std::string& text) { arguments->timeout = ReadDuration(text).value(); },
          "how long a message may wait for room (default: 10s for one, inf for lines)")
      ->type_name("DURATION")
      ->check([](const std::string& text) {
        return std::string(ReadDuration(text).status().message());
      });
  command
      ->add_option_function<std::string>(
          "--receipt",
          [arguments](const std::string& text) { arguments->receipt = ReadDuration(text).value(); },
          "wait so long for what becomes of it, and print that: who has received it, or that it "
          "expired, was dropped, ...; mailboxes only")
      ->type_name("DURATION")
      ->check([](const std::string& text) {
        return std::string(ReadDuration(text).status().message());
      });
  AddSocketFlag(*command, &arguments->socket);
  command->callback(
      [arguments, action] { *action = [arguments] { return Report(RunSend(*arguments)); }; });
}

}  // namespace mailrail::cli
