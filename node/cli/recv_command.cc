#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/fd.h"
#include "mailrail/process.h"
#include "node/cli/browsed_rows.h"
#include "node/cli/commands.h"
#include "node/cli/rows.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

constexpr absl::Duration kOpenTimeout = absl::Seconds(10);

struct RecvArguments {
  std::string socket;
  OutputFormat format = OutputFormat::kText;
  std::string mailbox;
  uint64_t count = 0;  // 0: without end
  bool follow = false;
  bool ack = false;
  absl::Duration timeout = absl::InfiniteDuration();
};

// With --ack it is done with when it is printed.
absl::Status PrintMessage(const RecvArguments& arguments, Message& message) {
  ReceivedMessage shown;
  shown.body = message.body();
  if (arguments.format == OutputFormat::kJson) {
    shown.sender = message.sender().ToString();
    shown.priority = message.priority();
    shown.sequence = message.sequence();
    shown.redelivered = message.redelivered();
    shown.headers = message.headers();
    shown.reply_to = std::string(message.reply_to());
    shown.attempts = message.attempts();
    shown.dead_letter_mailbox = std::string(message.dead_letter_mailbox());
    shown.dead_letter_reason = NameOf(message.dead_letter_reason());
    shown.mailbox = arguments.mailbox;
  }
  absl::Status status = Print(FormatMessage(shown, arguments.format));
  return status.ok() && arguments.ack ? message.Acknowledge() : status;
}

// Waits until there may be a message, a signal came, or nobody reads our output any more.
class FollowWait {
 public:
  enum class Event { kLook, kStop, kTimeout };

  // Blocks SIGINT and SIGTERM. REQUIRES: no other thread runs yet.
  absl::Status Prepare() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return absl::ErrnoToStatus(errno, "signals");
    signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    return signals_.valid() ? absl::OkStatus() : absl::ErrnoToStatus(errno, "signalfd");
  }

  // `receiver_fd` -1 only looks at the rest.
  Event Wait(int receiver_fd, absl::Time deadline) {
    pollfd fds[] = {
        {.fd = receiver_fd, .events = POLLIN, .revents = 0},
        {.fd = signals_.get(), .events = POLLIN, .revents = 0},
        {.fd = STDOUT_FILENO, .events = 0, .revents = 0},
    };
    constexpr int64_t kMostMs = 3600000;
    while (true) {
      const int64_t left_ms = absl::ToInt64Milliseconds(
          std::min(deadline - absl::Now(), absl::Milliseconds(kMostMs)) + absl::Microseconds(999));
      const int ready =
          poll(fds, std::size(fds), static_cast<int>(std::clamp<int64_t>(left_ms, 0, kMostMs)));
      if (ready > 0 && (fds[1].revents | fds[2].revents) != 0) return Event::kStop;
      if (ready > 0) return Event::kLook;
      if (absl::Now() >= deadline) return Event::kTimeout;
    }
  }

 private:
  Fd signals_;
};

absl::Status NothingCame(const RecvArguments& arguments) {
  return absl::DeadlineExceededError(absl::StrCat("no message came to ", arguments.mailbox,
                                                  " within ",
                                                  absl::FormatDuration(arguments.timeout)));
}

absl::Status Receive(const RecvArguments& arguments, Receiver& receiver) {
  for (uint64_t i = 0; i < arguments.count; ++i) {
    absl::StatusOr<Message> message = receiver.Receive(absl::Now() + arguments.timeout);
    if (absl::IsDeadlineExceeded(message.status())) return NothingCame(arguments);
    if (!message.ok()) return message.status();
    if (absl::Status status = PrintMessage(arguments, *message); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Until a signal comes, or nobody reads on: a message is taken only when it can be printed.
absl::Status Follow(const RecvArguments& arguments, Receiver& receiver, FollowWait& wait) {
  const absl::StatusOr<int> fd = receiver.Descriptor();
  if (!fd.ok()) return fd.status();
  uint64_t received = 0;
  absl::Time deadline = absl::Now() + arguments.timeout;
  while (arguments.count == 0 || received < arguments.count) {
    if (wait.Wait(-1, absl::InfinitePast()) == FollowWait::Event::kStop) break;
    absl::StatusOr<Message> message = receiver.TryReceive();
    if (message.ok()) {
      if (absl::Status status = PrintMessage(arguments, *message); !status.ok()) return status;
      ++received;
      deadline = absl::Now() + arguments.timeout;
      continue;
    }
    if (!absl::IsDeadlineExceeded(message.status())) return message.status();
    const FollowWait::Event event = wait.Wait(*fd, deadline);
    if (event == FollowWait::Event::kStop) break;
    if (event == FollowWait::Event::kTimeout) return NothingCame(arguments);
  }
  return absl::OkStatus();
}

absl::Status RunRecv(const RecvArguments& arguments) {
  FollowWait wait;
  if (arguments.follow) {
    if (absl::Status status = wait.Prepare(); !status.ok()) return status;
  }
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  const ReceiveOptions options = {.acknowledgement = arguments.ack ? Acknowledgement::kManual
                                                                   : Acknowledgement::kAutomatic};
  absl::StatusOr<Receiver> receiver =
      process->OpenMailbox(arguments.mailbox, options, absl::Now() + kOpenTimeout);
  if (!receiver.ok()) return receiver.status();
  return arguments.follow ? Follow(arguments, *receiver, wait) : Receive(arguments, *receiver);
}

}  // namespace

void AddRecvCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<RecvArguments>();
  CLI::App* command =
      AddCommand(app, "recv", "Receive messages from a mailbox and print them, one a line",
                 "mailrail recv orders --timeout 5s\n  mailrail recv orders --follow -o json");
  command
      ->add_option("mailbox", arguments->mailbox, "the mailbox's name, as orders or orders@alpha")
      ->type_name("MAILBOX")
      ->required();
  AddParsedFlag(*command, "--count", &arguments->count, ReadCount,
                "stop after so many messages (default: 1; with --follow: never)")
      ->type_name("N");
  AddParsedFlag(*command, "--timeout", &arguments->timeout, ReadDuration,
                "how long to wait for each message; exit code 4 when none came (default: inf)")
      ->type_name("DURATION");
  command->add_flag("--follow", arguments->follow,
                    "go on until SIGINT or SIGTERM, or until nobody reads the output");
  command->add_flag("--ack", arguments->ack,
                    "acknowledge each message when it is printed: what could not be goes back");
  AddSocketFlag(*command, &arguments->socket);
  AddOutputFlag(*command, &arguments->format);
  command->callback([arguments, action] {
    if (arguments->count == 0 && !arguments->follow) arguments->count = 1;
    *action = [arguments] { return Report(RunRecv(*arguments)); };
  });
}

}  // namespace mailrail::cli
