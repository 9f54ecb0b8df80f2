#include "tests/support/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "tests/support/require.h"

namespace mailrail {

Child::Child(const std::vector<std::string>& command, const std::vector<int>& inherited) {
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  Require(pid_ >= 0, "fork");
  if (pid_ != 0) return;
  // The test may have threads: nothing here but what a signal handler may do.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  for (const int fd : inherited) fcntl(fd, F_SETFD, 0);
  execv(argv[0], argv.data());
  _exit(127);
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    Kill();
    pid_ = std::exchange(other.pid_, -1);
  }
  return *this;
}

bool Child::Running() const {
  if (pid_ < 0) return false;
  siginfo_t info{};
  Require(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0,
          "waitid");
  return info.si_pid == 0;
}

void Child::Signal(int signal) {
  if (pid_ > 0) kill(pid_, signal);
}

void Child::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  Wait();
}

int Child::Wait() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0) Require(errno == EINTR, "waitpid");
  pid_ = -1;
  return status;
}

std::string BuiltProgram(const std::string& path) {
  const char* runfiles = getenv("TEST_SRCDIR");
  const char* workspace = getenv("TEST_WORKSPACE");
  Require(runfiles != nullptr && workspace != nullptr, "TEST_SRCDIR: run it with `bazel test`");
  return std::string(runfiles) + "/" + workspace + "/" + path;
}

}  // namespace mailrail
