#ifndef MAILRAIL_CORE_PROCESS_FIND_AGENT_H_
#define MAILRAIL_CORE_PROCESS_FIND_AGENT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/fd.h"
#include "mailrail/process.h"

namespace mailrail::internal {

// The socket that `socket` (an option; may be empty) stands for: itself, $MAILRAIL_SOCKET,
// $XDG_RUNTIME_DIR/mailrail/agent.sock if there is such a folder for the user's run-time files,
// else /run/mailrail/agent.sock.
std::string AgentSocketPath(const std::string& socket);

// Connects to the agent, and starts one first when none answers and the options allow it.
// kUnavailable with what to do; kDeadlineExceeded.
absl::StatusOr<Fd> ConnectToAgent(const AttachOptions& options, absl::Time deadline);
inline absl::StatusOr<Fd> ConnectToAgent(const AttachOptions& options) {
  return ConnectToAgent(options, absl::Now() + options.timeout);
}

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_FIND_AGENT_H_
