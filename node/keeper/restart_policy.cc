#include "node/keeper/restart_policy.h"

#include <algorithm>

#include "absl/status/status.h"

namespace mailrail {

absl::Duration RestartPolicy::DelayAfterDeath(absl::Duration lived) {
  if (lived >= options_.forget_after) {
    quick_deaths_ = 0;
    next_delay_ = options_.min_backoff;
  }
  if (lived >= options_.quick_death) return absl::ZeroDuration();
  if (quick_deaths_ < kRestartsAtOnce) {
    ++quick_deaths_;
    return absl::ZeroDuration();
  }
  const absl::Duration delay = std::min(next_delay_, options_.max_backoff);
  next_delay_ = delay * 2;
  return delay;
}

bool IsFinalExitCode(int exit_code, bool first_agent) {
  switch (static_cast<absl::StatusCode>(exit_code)) {
    case absl::StatusCode::kOk:
      return true;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kFailedPrecondition:
      return first_agent;
    default:
      return false;
  }
}

}  // namespace mailrail
