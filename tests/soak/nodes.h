// The agents and keepers of a cluster, which are killed and stopped one at a time.
#ifndef MAILRAIL_TESTS_SOAK_NODES_H_
#define MAILRAIL_TESTS_SOAK_NODES_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/soak/history.h"
#include "tests/support/cluster.h"

namespace mailrail::soak {

// Targets are numbered: the agent proper of the first node is 0, its keeper 1, and so on. A node
// whose keeper and agent are gone at the same time is another node by contract, so the next strike
// at a node waits until the last is got over: a process can attach, by which the keeper has all.
//
// The caller's orphaned descendants become its children. One thread at a time.
class Nodes {
 public:
  Nodes(Cluster* cluster, std::vector<std::string> names);
  ~Nodes();

  size_t targets() const { return 2 * nodes_.size(); }

  // Whether `target` may be struck now: its node has got over the last strike, and has run for so
  // long since that it is started again at once.
  bool Ready(size_t target);
  // REQUIRES: Ready.
  void Kill(size_t target);
  void Stop(size_t target, int64_t until_ns);

  // Lets go on what has been stopped for long enough.
  void Continue();
  // Lets all go on, and waits until a process can attach to every node. False when none can.
  bool Settle();

  // When nodes' agents were out since the last call: from a strike until a process could attach
  // again, or until they went on.
  std::vector<Outage> TakeOutages() { return std::exchange(outages_, {}); }

  // How many senders of mailboxes all nodes know of: those that are attached, and those that have
  // left or died but for messages that are not received. REQUIRES: Settle has returned true.
  size_t LanesToMailboxes() const;

  // What all nodes list, for reports. REQUIRES: as above.
  std::string Describe() const;

  // Of each node the keeper and the agent proper. REQUIRES: Settle has returned true.
  std::vector<pid_t> Pids();

 private:
  struct Node {
    std::string name;
    pid_t stopped = -1;
    int64_t stopped_until_ns = 0;
    int64_t struck_ns = 0;  // 0: it is not out
    pid_t probe = -1;       // a child that ends once it has attached
    int64_t ready_since_ns = 0;
  };
  enum class Role { kProper, kKeeper };

  static Role RoleOf(size_t target) { return target % 2 == 0 ? Role::kProper : Role::kKeeper; }
  // Waits until there is one.
  pid_t Find(const Node& node, Role role);
  void StartProbe(Node* node);
  // Whether the node has no probe that still tries.
  bool Probed(Node* node);

  void EndOutage(Node* node);

  Cluster* const cluster_;
  std::vector<Node> nodes_;
  std::vector<Outage> outages_;
};

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_NODES_H_
