#include "node/agent/end_reason.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"

namespace mailrail {
namespace {

// The first version of the kernel's struct pidfd_info, which Debian's headers do not have.
struct PidfdInfo {
  uint64_t mask;
  uint64_t cgroup_id;
  uint32_t ids[11];
  int32_t exit_code;
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr uint64_t kExitCode = 1 << 3;

// The wait status of a process that was waited for.
absl::optional<int> StatusFromPidfd(int pidfd) {
  PidfdInfo info = {};
  info.mask = kExitCode;
  if (ioctl(pidfd, _IOWR(0xFF, 11, PidfdInfo), &info) != 0) return absl::nullopt;
  if ((info.mask & kExitCode) == 0) return absl::nullopt;
  return info.exit_code;
}

// The wait status of a process that was not waited for yet.
absl::optional<int> StatusOfZombie(int pidfd, pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string line;
  if (!std::getline(file, line)) return absl::nullopt;
  // The name, in parentheses, may hold anything; after it comes the state.
  const size_t state = line.rfind(") ");
  if (state == std::string::npos || line.compare(state + 2, 1, "Z") != 0) return absl::nullopt;
  int status = 0;
  if (!absl::SimpleAtoi(line.substr(line.rfind(' ') + 1), &status)) return absl::nullopt;
  // Not waited for until now, so the pid was not another's.
  if (syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) != 0) return absl::nullopt;
  return status;
}

}  // namespace

EndReason HowItEnded(int pidfd, pid_t pid) {
  pollfd ended = {pidfd, POLLIN, 0};
  if (poll(&ended, 1, 0) == 0) return EndReason::kDetached;
  absl::optional<int> status = StatusOfZombie(pidfd, pid);
  if (!status.has_value()) status = StatusFromPidfd(pidfd);
  if (!status.has_value()) return EndReason::kEnded;
  return WIFSIGNALED(*status) ? EndReason::kKilled : EndReason::kExited;
}

}  // namespace mailrail
