#ifndef MAILRAIL_TESTS_SUPPORT_CLUSTER_H_
#define MAILRAIL_TESTS_SUPPORT_CLUSTER_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/support/child.h"

namespace mailrail {

// How a cluster's agents, `mailrail agent`, run.
enum class Agents {
  kAlone,  // the agent proper by itself
  kKept,   // a keeper, and the agent proper as its child
};

// Agents of several nodes, each in a process of its own, on this host: sockets in a new folder
// under /tmp, and addresses of the loopback network that no other test has. Killed, and the folder
// removed, when this goes. One thread at a time: the test's main thread.
class Cluster {
 public:
  // Starts an agent for each name, which knows all others, and waits until each answers and each
  // pair is connected. kDeadlineExceeded when that does not happen within Patience(), kAborted when
  // an agent has ended. `flags` are given to every agent besides its own.
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(const std::vector<std::string>& nodes,
                                                        Agents agents = Agents::kKept,
                                                        std::vector<std::string> flags = {});
  ~Cluster();

  // The socket to attach at.
  const std::string& Socket(const std::string& node) const { return nodes_.at(node).socket; }

  // Where a node's agent listens for other agents.
  const std::string& Address(const std::string& node) const { return nodes_.at(node).address; }

  // The process that was started for a node: its agent, or the agent's keeper.
  Child& Agent(const std::string& node) { return nodes_.at(node).agent; }

  // Whether a node's agent proper is the one that answered first: it has not died since.
  bool FirstAgentRuns(const std::string& node);

  // Kills the agent of a node, and its keeper, with SIGKILL, and with it the node.
  void Kill(const std::string& node);

  // The process of the agent proper; waits until there is one.
  pid_t Proper(const std::string& node);
  // The processes that run for a node now: also those that a new keeper has started.
  std::vector<pid_t> Running(const std::string& node) const;
  // REQUIRES: kKept. Kills the agent proper, and waits until its keeper has started another.
  void KillProper(const std::string& node);

  // Starts a killed one again, and waits as Start does.
  absl::Status Restart(const std::string& node);

  // Waits until each agent that runs answers and is connected with each other one that runs.
  absl::Status WaitUntilConnected();

 private:
  struct Node {
    std::string socket;
    std::string address;
    Child agent;
    pid_t first_proper = -1;
  };

  Cluster(std::string folder, Agents agents, std::vector<std::string> flags)
      : folder_(std::move(folder)), agents_(agents), flags_(std::move(flags)) {}
  void StartAgent(const std::string& name);
  absl::Status CheckConnected();

  const std::string folder_;
  const Agents agents_;
  const std::vector<std::string> flags_;
  std::map<std::string, Node> nodes_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_CLUSTER_H_
