#ifndef MAILRAIL_NODE_CLI_BACKGROUND_H_
#define MAILRAIL_NODE_CLI_BACKGROUND_H_

#include <functional>

#include "node/agent/agent.h"

namespace mailrail::cli {

// Runs `serve`, which is to end up as the agent of `config`, in a process of its own in the
// background, and returns the exit code of this one: 0 as soon as the agent answers at its socket,
// else the code of what went wrong, with a line on standard error. When an agent of the same node
// answers there already, nothing is started: so programs that all want an agent start one. An agent
// of another node there is kFailedPrecondition.
//
// In the background standard input and output are /dev/null, and standard error is appended to
// $XDG_STATE_HOME/mailrail/agent.log, by default ~/.local/state/mailrail/agent.log.
int RunInBackground(const AgentConfig& config, const std::function<int()>& serve);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_BACKGROUND_H_
