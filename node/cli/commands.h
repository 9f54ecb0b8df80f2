// The subcommands of `mailrail`. Each function adds its own to `app`; when the command line names
// it, it sets `*action` to what is to be done.
#ifndef MAILRAIL_NODE_CLI_COMMANDS_H_
#define MAILRAIL_NODE_CLI_COMMANDS_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "mailrail/mailbox.h"
#include "node/cli/command.h"

namespace mailrail::cli {

void AddAgentCommand(CLI::App& app, Action* action);
void AddListCommands(CLI::App& app, Action* action);  // ps, nodes, links, locks
void AddMailboxCommand(CLI::App& app, Action* action);
void AddQueueCommand(CLI::App& app, Action* action);
void AddPipeCommand(CLI::App& app, Action* action);
void AddFifoCommand(CLI::App& app, Action* action);
void AddBrowseCommands(CLI::App& mailbox, Action* action);  // mailbox peek, browse, redrive
void AddRegionCommand(CLI::App& app, Action* action);
void AddLockCommand(CLI::App& app, Action* action);
void AddSemaphoreCommand(CLI::App& app, Action* action);
void AddBarrierCommand(CLI::App& app, Action* action);
void AddSendCommand(CLI::App& app, Action* action);
void AddRecvCommand(CLI::App& app, Action* action);
void AddCallCommand(CLI::App& app, Action* action);
void AddReplyCommand(CLI::App& app, Action* action);
void AddPingCommand(CLI::App& app, Action* action);
void AddWatchCommand(CLI::App& app, Action* action);
void AddBenchCommand(CLI::App& app, Action* action);
void AddVersionCommand(CLI::App& app, Action* action);

// The value of --policy.
absl::StatusOr<ReceivePolicy> ReadReceivePolicy(absl::string_view text);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_COMMANDS_H_
