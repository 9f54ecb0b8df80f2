#include "node/agent/end_reason.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
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

// What a file of the form of /proc/PID/stat says from the state on; empty when it says nothing.
std::vector<std::string> ReadStat(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return {};
  // The name, in parentheses, may hold anything; after it comes the state.
  const size_t state = line.rfind(") ");
  if (state == std::string::npos) return {};
  return absl::StrSplit(line.substr(state + 2), ' ');
}

// The wait status of a process that was not waited for yet.
absl::optional<int> StatusOfZombie(int pidfd, pid_t pid) {
  const std::vector<std::string> stat = ReadStat(absl::StrCat("/proc/", pid, "/stat"));
  if (stat.empty() || stat[0] != "Z") return absl::nullopt;
  int status = 0;
  if (!absl::SimpleAtoi(stat.back(), &status)) return absl::nullopt;
  // Not waited for until now, so the pid was not another's.
  if (syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) != 0) return absl::nullopt;
  return status;
}

// In ReadStat's, and of them: PF_EXITING, which the kernel sets before it closes a descriptor.
constexpr size_t kFlags = 6;
constexpr uint32_t kExiting = 4;

bool ThreadIsDying(const std::string& path) {
  const std::vector<std::string> stat = ReadStat(path);
  uint32_t flags = 0;
  // A thread whose file is gone is, too.
  if (stat.size() <= kFlags) return true;
  return absl::SimpleAtoi(stat[kFlags], &flags) && (flags & kExiting) != 0;
}

}  // namespace

bool IsDying(pid_t pid) {
  std::error_code error;
  std::filesystem::directory_iterator thread(absl::StrCat("/proc/", pid, "/task"), error);
  bool found = false;
  // Not by a range-for, which throws when the process ends meanwhile.
  for (; !error && thread != std::filesystem::directory_iterator(); thread.increment(error)) {
    found = true;
    if (!ThreadIsDying(thread->path() / "stat")) return false;
  }
  return found;
}

EndReason HowItEnded(int pidfd, pid_t pid) {
  pollfd ended = {pidfd, POLLIN, 0};
  if (poll(&ended, 1, 0) == 0) return EndReason::kDetached;
  absl::optional<int> status = StatusOfZombie(pidfd, pid);
  if (!status.has_value()) status = StatusFromPidfd(pidfd);
  if (!status.has_value()) return EndReason::kEnded;
  return WIFSIGNALED(*status) ? EndReason::kKilled : EndReason::kExited;
}

}  // namespace mailrail
