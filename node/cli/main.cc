// The program `mailrail`.
#include <stdio.h>
#include <string.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "node/cli/commands.h"
#include "node/config/version.h"
#include "node/keeper/keeper.h"

namespace mailrail::cli {
namespace {

constexpr char kFooter[] =
    "Example:\n"
    "  mailrail mailbox create orders\n"
    "  mailrail send orders 'a message'\n"
    "  mailrail recv orders\n"
    "\n"
    "The exit code is 0, or the number of the error's code: 3 wrong arguments, 4 timeout, 5 not\n"
    "found, 6 exists, 7 not allowed, 8 full, 9 wrong state, 10 detached, 12 other version,\n"
    "13 defect, 14 not reached or gone, 15 damaged memory.";

// The innermost subcommand that the command line names.
std::string CommandName(const CLI::App& app) {
  std::string name = app.get_name();
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    absl::StrAppend(&name, " ", command->get_name());
  }
  return name;
}

int Main(int argc, char** argv) {
  CLI::App app("Messages between processes of one host and of several", "mailrail");
  app.footer(kFooter);
  app.set_version_flag("--version", absl::StrCat("mailrail ", kVersion));
  app.require_subcommand(1);
  Action action;
  AddAgentCommand(app, &action);
  AddListCommands(app, &action);
  AddMailboxCommand(app, &action);
  AddQueueCommand(app, &action);
  AddPipeCommand(app, &action);
  AddFifoCommand(app, &action);
  AddSendCommand(app, &action);
  AddRecvCommand(app, &action);
  AddCallCommand(app, &action);
  AddReplyCommand(app, &action);
  AddRegionCommand(app, &action);
  AddLockCommand(app, &action);
  AddSemaphoreCommand(app, &action);
  AddBarrierCommand(app, &action);
  AddPingCommand(app, &action);
  AddWatchCommand(app, &action);
  AddBenchCommand(app, &action);
  AddVersionCommand(app, &action);
  // CLI11 throws; nothing of that leaves this function.
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Report(Print(app.help()));
  } catch (const CLI::CallForVersion& version) {
    return Report(Print(absl::StrCat(version.what(), "\n")));
  } catch (const CLI::RequiredError& error) {
    // CLI11 asks for a subcommand before it tells of a word that is none.
    const std::vector<std::string> rest = app.remaining(/*recurse=*/true);
    const std::string why = rest.empty() ? error.what() : absl::StrCat("no command ", rest[0]);
    return Report(
        absl::InvalidArgumentError(absl::StrCat(why, "; see ", CommandName(app), " --help")));
  } catch (const CLI::Error& error) {
    return Report(absl::InvalidArgumentError(
        absl::StrCat(error.what(), "; see ", CommandName(app), " --help")));
  }
  return action();
}

}  // namespace
}  // namespace mailrail::cli

int main(int argc, char** argv) {
  // Debian builds Abseil with the search for lock cycles, which makes each lock several times as
  // slow.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // Called by an agent whose keeper died, never by people: so it is not among the commands.
  if (argc > 1 && strcmp(argv[1], "keeper") == 0) return mailrail::KeeperMain(argc, argv);
  return mailrail::cli::Main(argc, argv);
}
