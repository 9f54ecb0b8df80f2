#ifndef MAILRAIL_NODE_CLI_SELECTION_FLAGS_H_
#define MAILRAIL_NODE_CLI_SELECTION_FLAGS_H_

#include "mailrail/mailbox.h"
#include "node/cli/command.h"

namespace mailrail::cli {

// The flags that say who gets which message of a mailbox, and in what order. `options` outlives
// the command.
void AddSelectionFlags(CLI::App& command, MailboxOptions* options);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_SELECTION_FLAGS_H_
