// When a keeper starts its agent again, and when it does not.
#ifndef MAILRAIL_NODE_KEEPER_RESTART_POLICY_H_
#define MAILRAIL_NODE_KEEPER_RESTART_POLICY_H_

#include "absl/time/time.h"

namespace mailrail {

struct RestartOptions {
  // The waits between restarts double from the one to the other.
  absl::Duration min_backoff = absl::Milliseconds(50);
  absl::Duration max_backoff = absl::Seconds(5);

  // An agent that lived for less than this died at its start.
  absl::Duration quick_death = absl::Seconds(1);

  // An agent that lived for this long makes earlier deaths forgotten.
  absl::Duration forget_after = absl::Minutes(1);
};

// How many deaths at the start are followed by a restart at once; from then on it waits.
inline constexpr int kRestartsAtOnce = 3;

// The waits before restarts. It has no clock: it is told how long each agent lived.
// Thread-compatible.
class RestartPolicy {
 public:
  explicit RestartPolicy(const RestartOptions& options) : options_(options) {}

  // Notes a death; returns how long to wait before the restart. Zero for an agent that did not die
  // at its start.
  absl::Duration DelayAfterDeath(absl::Duration lived);

 private:
  const RestartOptions options_;
  int quick_deaths_ = 0;
  absl::Duration next_delay_ = options_.min_backoff;
};

// Whether the keeper leaves, too, when its agent has exited by itself with `exit_code`: yes after
// 0; and after the codes of a wrong command line or configuration (kInvalidArgument,
// kPermissionDenied, kFailedPrecondition), if it was the first agent that this keeper started.
bool IsFinalExitCode(int exit_code, bool first_agent);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_KEEPER_RESTART_POLICY_H_
