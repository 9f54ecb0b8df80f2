#include "node/keeper/spawn.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/status/status.h"

namespace mailrail {
namespace {

// posix_spawn's attributes and actions, destroyed in every case.
class SpawnSetup {
 public:
  SpawnSetup() {
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_init(&actions_);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  // These give an errno, 0 for success.
  int UnblockSignals() {
    sigset_t none;
    sigemptyset(&none);
    const int error = posix_spawnattr_setsigmask(&attributes_, &none);
    return error != 0 ? error : posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
  }
  // A descriptor that is duplicated to its own number is not closed on exec.
  int Pass(int fd) { return posix_spawn_file_actions_adddup2(&actions_, fd, fd); }
  int Spawn(pid_t* pid, char* const* argv) {
    return posix_spawn(pid, "/proc/self/exe", &actions_, &attributes_, argv, environ);
  }

 private:
  posix_spawnattr_t attributes_;
  posix_spawn_file_actions_t actions_;
};

}  // namespace

absl::StatusOr<pid_t> SpawnSelf(const std::vector<std::string>& argv, absl::Span<const int> fds) {
  if (argv.empty()) return absl::InvalidArgumentError("a command without a name");
  std::vector<char*> pointers;
  for (const std::string& arg : argv) pointers.push_back(const_cast<char*>(arg.c_str()));
  pointers.push_back(nullptr);

  SpawnSetup setup;
  int error = setup.UnblockSignals();
  for (int fd : fds) {
    if (error == 0) error = setup.Pass(fd);
  }
  pid_t pid = -1;
  if (error == 0) error = setup.Spawn(&pid, pointers.data());
  if (error != 0) return absl::ErrnoToStatus(error, "cannot start another process");
  return pid;
}

absl::StatusOr<Fd> OpenPidFd(pid_t pid) {
  Fd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "pidfd_open");
  return fd;
}

void SignalPidFd(const Fd& pid_fd, int signal) {
  syscall(SYS_pidfd_send_signal, pid_fd.get(), signal, nullptr, 0);
}

}  // namespace mailrail
