#ifndef MAILRAIL_NODE_CLI_FOREGROUND_H_
#define MAILRAIL_NODE_CLI_FOREGROUND_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mailrail::cli {

// Runs a program, found in PATH, to its end, with the input and output of this one; `variables`
// (NAME=VALUE) go into its environment, in the place of those that are there. What this program is
// asked to do by a signal it passes on (SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2; they
// stay blocked here from then on). When this program is killed so is that one, but not what it has
// started itself.
//
// As long as it runs `keeps` is asked from time to time whether it may go on; the first time that
// it may not it is sent SIGTERM.
//
// Its exit code, 128 and the signal's number when one has killed it, as of a shell. kNotFound when
// it cannot be started. One thread at a time: the main thread.
absl::StatusOr<int> RunInForeground(const std::vector<std::string>& command,
                                    const std::vector<std::string>& variables,
                                    const std::function<bool()>& keeps);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_FOREGROUND_H_
