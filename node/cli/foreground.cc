#include "node/cli/foreground.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/fd.h"

namespace mailrail::cli {
namespace {

constexpr absl::Duration kAskAgain = absl::Milliseconds(200);
constexpr int kPassedOn[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

std::vector<std::string> EnvironmentWith(const std::vector<std::string>& variables) {
  std::vector<std::string> environment = variables;
  for (char** old = environ; *old != nullptr; ++old) {
    bool replaced = false;
    for (const std::string& variable : variables) {
      replaced |= absl::StartsWith(*old, variable.substr(0, variable.find('=') + 1));
    }
    if (!replaced) environment.emplace_back(*old);
  }
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Waits for the child, and passes signals on to it.
int Attend(pid_t child, const sigset_t& signals, const std::function<bool()>& keeps) {
  bool may_run = true;
  while (true) {
    siginfo_t info;
    const timespec ask_again = absl::ToTimespec(kAskAgain);
    const int signal = sigtimedwait(&signals, &info, &ask_again);
    if (may_run && !keeps()) {
      may_run = false;
      kill(child, SIGTERM);
    }
    if (signal < 0) continue;  // or interrupted by one that is handled
    int status = 0;
    if (signal == SIGCHLD && waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    // What a terminal sends it sends to the child as well.
    const bool from_a_process = info.si_code <= 0;
    if (signal != SIGCHLD && from_a_process) kill(child, signal);
  }
}

}  // namespace

absl::StatusOr<int> RunInForeground(const std::vector<std::string>& command,
                                    const std::vector<std::string>& variables,
                                    const std::function<bool()>& keeps) {
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment = EnvironmentWith(variables);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  sigset_t signals, before;
  sigemptyset(&signals);
  for (const int signal : kPassedOn) sigaddset(&signals, signal);
  sigaddset(&signals, SIGCHLD);
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  signal(SIGCHLD, SIG_DFL);  // whoever started this program may have ignored it
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return absl::ErrnoToStatus(errno, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(128 + SIGKILL);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    execvpe(argv[0], argv.data(), envp.data());
    const int error = errno;
    // Else the other end tells of no error: then of its end, by the exit code.
    if (write(write_end.get(), &error, sizeof(error)) < 0) _exit(126);
    _exit(127);
  }
  write_end.Reset();
  int error = 0;
  ssize_t size;
  do size = read(read_end.get(), &error, sizeof(error));
  while (size < 0 && errno == EINTR);
  const int exit_code = Attend(child, signals, keeps);
  if (size == sizeof(error)) {
    return absl::NotFoundError(absl::StrCat("cannot run ", command[0], ": ", strerror(error)));
  }
  return exit_code;
}

}  // namespace mailrail::cli
