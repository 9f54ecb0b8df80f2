// Starting this program again as another process.
#ifndef MAILRAIL_NODE_KEEPER_SPAWN_H_
#define MAILRAIL_NODE_KEEPER_SPAWN_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/fd.h"

namespace mailrail {

// Starts the program that this process runs (/proc/self/exe) with these arguments, argv[0] first.
// `fds` are open in it under the same numbers, although they are closed on exec otherwise. It has
// no signal blocked. Safe in a process with threads. The code that fits the errno on failure.
absl::StatusOr<pid_t> SpawnSelf(const std::vector<std::string>& argv, absl::Span<const int> fds);

// A descriptor, closed on exec, that is readable when the process has ended.
// REQUIRES: `pid` is this process, or a child that nobody has waited for yet.
absl::StatusOr<Fd> OpenPidFd(pid_t pid);

// Sends a signal to the process; nothing happens when it has ended.
void SignalPidFd(const Fd& pid_fd, int signal);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_KEEPER_SPAWN_H_
