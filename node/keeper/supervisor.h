// The keeper's loop: one agent at a time, its store, signals.
#ifndef MAILRAIL_NODE_KEEPER_SUPERVISOR_H_
#define MAILRAIL_NODE_KEEPER_SUPERVISOR_H_

#include <sys/types.h>

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/fd.h"
#include "node/keeper/keeper.h"
#include "node/keeper/restart_policy.h"
#include "node/keeper/store_server.h"

namespace mailrail {

// An agent that runs, as its keeper knows it.
struct RunningAgent {
  Fd pid_fd;
  Fd store;        // the keeper's end of the connection; invalid once the agent has closed it
  pid_t pid = -1;  // -1 when it is not the keeper's child
};

// Watches an agent until there is nothing more to watch. It changes the process's signal mask and
// limit of descriptors, and waits for all its children. One thread at a time.
class Supervisor {
 public:
  explicit Supervisor(const KeeperOptions& options) : options_(options), policy_(options.restart) {}

  // Starts an agent, or takes over the one given; returns the keeper's exit code. Called once.
  int Run(std::optional<RunningAgent> adopted);

 private:
  using Clock = std::chrono::steady_clock;

  absl::Status PrepareProcess();
  absl::Status StartAgent();
  void Step();
  int TimeoutMs() const;

  // Carries out up to `limit` requests of the agent's; notices when the connection has ended.
  void ServeStore(int limit, bool answer);
  void Answer(StoreServer::Reply reply);

  void HandleSignals();
  void PassOn(int signal, bool from_terminal);
  void WaitForChildren();

  void HandleEndOfAgent();
  void RestartAfter(absl::Duration lived, const std::string& what);

  const KeeperOptions options_;
  RestartPolicy policy_;
  StoreServer store_;
  Fd signals_;

  std::optional<RunningAgent> agent_;
  Clock::time_point started_at_;
  bool first_agent_ = true;
  std::optional<int> wait_status_;            // of the agent, when it was the keeper's child
  std::optional<StoreServer::Reply> unsent_;  // the agent takes no replies; no request is read

  Clock::time_point restart_at_;  // when there is no agent
  bool stopping_ = false;         // SIGTERM or SIGINT came
  std::optional<int> exit_code_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_KEEPER_SUPERVISOR_H_
