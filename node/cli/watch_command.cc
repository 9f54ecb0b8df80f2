#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "mailrail/process.h"
#include "node/cli/commands.h"
#include "node/cli/rows.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

constexpr absl::Duration kFindTimeout = absl::Seconds(10);

struct WatchArguments {
  std::string socket;
  OutputFormat format = OutputFormat::kText;
  std::vector<std::string> names;
  absl::Duration timeout = absl::InfiniteDuration();
};

// What a name of the command line stands for. A mailbox's name may be without its node.
struct Watched {
  std::string asked;
  Ended what;

  bool Is(const Ended& ended) const {
    if (ended.kind != what.kind) return false;
    return ended.name == what.name || (what.kind == Ended::Kind::kMailbox &&
                                       absl::StartsWith(ended.name, absl::StrCat(what.name, "@")));
  }
};

// A node of this name, else a process, else a mailbox.
absl::StatusOr<Watched> Find(Process& process, const std::string& name) {
  const absl::Status node = process.WatchNode(name, absl::Now() + kFindTimeout);
  if (node.ok()) return Watched{name, {Ended::Kind::kNode, name}};
  // It is one, and cannot be watched.
  const bool is_node = !absl::IsNotFound(node) && !absl::IsInvalidArgument(node);
  if (is_node) return node;
  const absl::StatusOr<ProcessId> id = process.Watch(name, absl::Now() + kFindTimeout);
  if (id.ok()) return Watched{name, {Ended::Kind::kProcess, id->ToString()}};
  const absl::Status mailbox = process.WatchMailbox(name, absl::Now() + kFindTimeout);
  if (mailbox.ok()) return Watched{name, {Ended::Kind::kMailbox, name}};
  if (absl::IsInvalidArgument(mailbox)) return id.status();  // such as a pid
  if (absl::IsNotFound(mailbox) && absl::IsNotFound(id.status())) {
    return absl::NotFoundError(absl::StrCat(
        "there is no node, process or mailbox '", name,
        "' that can be watched; see mailrail nodes, mailrail ps and mailrail mailbox ls"));
  }
  return mailbox;
}

absl::Status RunWatch(const WatchArguments& arguments) {
  const absl::Time deadline = absl::Now() + arguments.timeout;
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  std::vector<Watched> watched;
  for (const std::string& name : arguments.names) {
    absl::StatusOr<Watched> found = Find(*process, name);
    if (!found.ok()) return found.status();
    watched.push_back(*std::move(found));
  }
  while (!watched.empty()) {
    const absl::StatusOr<Message> message = process->inbox().Receive(deadline);
    if (absl::IsDeadlineExceeded(message.status())) {
      return absl::DeadlineExceededError(
          absl::StrCat(watched.front().asked, watched.size() > 1 ? " and others have" : " has",
                       " not ended within ", absl::FormatDuration(arguments.timeout)));
    }
    if (!message.ok()) return message.status();
    const Ended ended = message->ended();
    // A name that was given twice has two lines.
    for (const Watched& each : watched) {
      if (!each.Is(ended)) continue;
      const EndedRow row = {each.asked, ended, message->end()};
      if (absl::Status status = Print(FormatEnded(row, arguments.format)); !status.ok()) {
        return status;
      }
    }
    std::erase_if(watched, [&ended](const Watched& each) { return each.Is(ended); });
  }
  return absl::OkStatus();
}

}  // namespace

void AddWatchCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<WatchArguments>();
  CLI::App* command = AddCommand(
      app, "watch", "Wait for the end of processes, mailboxes and nodes, and print each, with why",
      "mailrail watch orders beta\n  mailrail watch billing@beta 4711 --timeout 1m -o json");
  command
      ->add_option("names", arguments->names,
                   "a node, as beta; a process, by its id, pid or name, as billing@beta; or a "
                   "mailbox, as orders or orders@beta: the first of these that there is")
      ->type_name("NAME")
      ->required();
  AddParsedFlag(*command, "--timeout", &arguments->timeout, ReadDuration,
                "how long to wait; exit code 4 when not all have ended (default: inf)")
      ->type_name("DURATION");
  AddSocketFlag(*command, &arguments->socket);
  AddOutputFlag(*command, &arguments->format);
  command->callback(
      [arguments, action] { *action = [arguments] { return Report(RunWatch(*arguments)); }; });
}

}  // namespace mailrail::cli
