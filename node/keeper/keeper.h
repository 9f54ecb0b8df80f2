// The keeper: a small process that holds an agent's descriptors and starts it again when it dies.
//
//   first start:   mailrail agent        = RunKeeper()
//                    └ agent proper        the command, with "--keeper-fd=N" appended
//   agent died:    the keeper starts the command again; it lists what the last one had stored
//   keeper died:   KeeperClient::fd() hangs up; the agent calls StartKeeper() and stores all again
//   both died:     nothing is kept
//
// The keeper never starts a second agent beside a living one, and an agent is not killed with its
// keeper.
#ifndef MAILRAIL_NODE_KEEPER_KEEPER_H_
#define MAILRAIL_NODE_KEEPER_KEEPER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "node/keeper/restart_policy.h"
#include "node/keeper/store.h"

namespace mailrail {

struct KeeperOptions {
  // The arguments of the agent proper, argv[0] first. The program is always the one that this
  // process runs. "--keeper-fd=N" is appended: KeeperClient::FromFd takes that descriptor.
  std::vector<std::string> agent_command;

  RestartOptions restart;
};

// Runs the keeper in this process, which must have no other threads; returns the exit code for it.
// It starts the agent, holds its records, and starts it again when it died by a signal or with an
// exit code that is not final (IsFinalExitCode); each time it writes a line to standard error. It
// returns when
//   - the agent exits by itself with a final code, or has announced it (KeeperClient::Leave): that
//     code;
//   - SIGTERM or SIGINT came, which are passed on to the agent, and the agent has ended since: its
//     exit code, 128 + n if signal n killed it; 0 if no agent ran at that time;
//   - the first agent cannot be started: the code of the error.
// SIGHUP is passed on, too. It waits for every child that it has or gets: as process 1 of a
// container, for all orphans. The limit of open descriptors is raised as far as allowed, for the
// agent as well.
int RunKeeper(const KeeperOptions& options);

// Called by an agent whose keeper is gone: starts a keeper for this process, which is not its
// child and inherits its standard error, and returns a connection to its empty store. As long as
// the agent has not stored all again, a death of the agent leaves its successor with a part: an
// agent whose records belong together puts one last that says that all are there.
// kUnavailable when the keeper cannot be started; or the code that fits the errno.
// REQUIRES: the keeper before is gone (else there are two, and two agents later on).
absl::StatusOr<std::unique_ptr<KeeperClient>> StartKeeper(const KeeperOptions& options);

// The main program of the keeper that StartKeeper starts, for a program that was called with
// argv[1] == "keeper"; returns its exit code. Without the two descriptors it is RunKeeper:
//
//   keeper [--adopt-pid-fd=N --store-fd=M] [--min-backoff=50ms] [--max-backoff=5s]
//          [--quick-death=1s] [--forget-after=1m] -- command...
int KeeperMain(int argc, char** argv);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_KEEPER_KEEPER_H_
