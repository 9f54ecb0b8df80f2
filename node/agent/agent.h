#ifndef MAILRAIL_NODE_AGENT_AGENT_H_
#define MAILRAIL_NODE_AGENT_AGENT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace mailrail {

// What an agent needs to know to run.
struct AgentConfig {
  // This node's name; unique in the cluster.
  std::string node;
  // Agents of different clusters refuse each other.
  std::string cluster = "default";
  // The Unix socket that programs of this host attach at, and who may: its mode.
  std::string socket;
  uint32_t socket_mode = 0600;
  // Where other agents connect, "HOST:PORT"; empty: this node stands alone.
  std::string listen;
  // What peers are told to dial, when it is not `listen`.
  std::string advertise;
  // Node name to "HOST:PORT".
  std::map<std::string, std::string> peers;
  // Leave when no program has been connected for so long, no mailbox holds a message, and nothing
  // is on its way to another node.
  absl::Duration idle_exit = absl::InfiniteDuration();
  // How long SIGTERM waits for what is on its way to other nodes.
  absl::Duration drain_timeout = absl::Seconds(5);
  uint32_t max_processes = 20000;
};

// Runs the agent proper in this process until it is told to stop (SIGTERM, SIGINT) or is idle, and
// returns the exit code: 0, or the number of a status code, with a line on standard error.
// `keeper_fd` is what the keeper passed, or -1 for an agent without a keeper; `command` is how the
// keeper starts this program again.
int RunAgent(const AgentConfig& config, int keeper_fd, const std::vector<std::string>& command);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_AGENT_H_
