#ifndef MAILRAIL_NODE_CONFIG_AGENT_CONFIG_H_
#define MAILRAIL_NODE_CONFIG_AGENT_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>

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
  // Leave when no process has been attached for so long, and no mailbox holds a message.
  absl::Duration idle_exit = absl::InfiniteDuration();
  // How long SIGTERM waits for what is on its way to other nodes.
  absl::Duration drain_timeout = absl::Seconds(5);
  // How long a node that does not answer keeps what its processes hold of locks of this one.
  absl::Duration object_lease = absl::Seconds(30);
  uint32_t max_processes = 20000;
  // Shared memory for messages on this node; 0: half of the host's, or of what the agent's cgroup
  // may have.
  uint64_t memory_bytes = 0;
  // The most of it that one process may have for what it sends; 0: a share of what is left.
  uint64_t process_memory_bytes = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CONFIG_AGENT_CONFIG_H_
