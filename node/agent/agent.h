#ifndef MAILRAIL_NODE_AGENT_AGENT_H_
#define MAILRAIL_NODE_AGENT_AGENT_H_

#include <string>
#include <vector>

#include "node/config/agent_config.h"

namespace mailrail {

// Runs the agent proper in this process until it is told to stop (SIGTERM, SIGINT) or is idle, and
// returns the exit code: 0, or the number of a status code, with a line on standard error.
// `keeper_fd` is what the keeper passed, or -1 for an agent without a keeper; `command` is how the
// keeper starts this program again.
int RunAgent(const AgentConfig& config, int keeper_fd, const std::vector<std::string>& command);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_AGENT_H_
