#include "node/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "core/base/fd.h"
#include "core/base/seqpacket.h"
#include "node/keeper/spawn.h"
#include "node/keeper/supervisor.h"

namespace mailrail {
namespace {

constexpr absl::string_view kPidFd = "--adopt-pid-fd=";
constexpr absl::string_view kStoreFd = "--store-fd=";
constexpr absl::string_view kMinBackoff = "--min-backoff=";
constexpr absl::string_view kMaxBackoff = "--max-backoff=";
constexpr absl::string_view kQuickDeath = "--quick-death=";
constexpr absl::string_view kForgetAfter = "--forget-after=";

// What stands on the keeper's command line; -1 for a descriptor that does not.
struct KeeperArgs {
  KeeperOptions options;
  int pid_fd = -1;
  int store_fd = -1;
};

std::vector<std::string> FormatArgs(const KeeperArgs& args) {
  const RestartOptions& restart = args.options.restart;
  const std::vector<std::string>& command = args.options.agent_command;
  std::vector<std::string> argv = {
      command[0],
      "keeper",
      absl::StrCat(kPidFd, args.pid_fd),
      absl::StrCat(kStoreFd, args.store_fd),
      absl::StrCat(kMinBackoff, absl::FormatDuration(restart.min_backoff)),
      absl::StrCat(kMaxBackoff, absl::FormatDuration(restart.max_backoff)),
      absl::StrCat(kQuickDeath, absl::FormatDuration(restart.quick_death)),
      absl::StrCat(kForgetAfter, absl::FormatDuration(restart.forget_after)),
      "--",
  };
  argv.insert(argv.end(), command.begin(), command.end());
  return argv;
}

bool ParseArg(absl::string_view arg, KeeperArgs& args) {
  RestartOptions& restart = args.options.restart;
  if (absl::ConsumePrefix(&arg, kPidFd)) return absl::SimpleAtoi(arg, &args.pid_fd);
  if (absl::ConsumePrefix(&arg, kStoreFd)) return absl::SimpleAtoi(arg, &args.store_fd);
  if (absl::ConsumePrefix(&arg, kMinBackoff)) {
    return absl::ParseDuration(arg, &restart.min_backoff);
  }
  if (absl::ConsumePrefix(&arg, kMaxBackoff)) {
    return absl::ParseDuration(arg, &restart.max_backoff);
  }
  if (absl::ConsumePrefix(&arg, kQuickDeath)) {
    return absl::ParseDuration(arg, &restart.quick_death);
  }
  if (absl::ConsumePrefix(&arg, kForgetAfter)) {
    return absl::ParseDuration(arg, &restart.forget_after);
  }
  return false;
}

absl::StatusOr<KeeperArgs> ParseArgs(int argc, char** argv) {
  KeeperArgs args;
  int i = 2;
  for (; i < argc && absl::string_view(argv[i]) != "--"; ++i) {
    if (!ParseArg(argv[i], args)) {
      return absl::InvalidArgumentError(absl::StrCat("wrong argument of keeper: ", argv[i]));
    }
  }
  if (i + 1 >= argc) return absl::InvalidArgumentError("keeper needs -- and a command");
  args.options.agent_command.assign(argv + i + 1, argv + argc);
  if ((args.pid_fd < 0) != (args.store_fd < 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("keeper takes both ", kPidFd, "N and ", kStoreFd, "M, or none"));
  }
  return args;
}

// Tells the user; returns the exit code for wrong arguments.
int ReportWrong(const std::string& message) {
  fprintf(stderr, "mailrail keeper: %s\n", message.c_str());
  return static_cast<int>(absl::StatusCode::kInvalidArgument);
}

// Waits until the child has exited by itself; kUnavailable when it failed. A child that somebody
// else has waited for counts as a success.
absl::Status WaitForExit(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return absl::OkStatus();
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::UnavailableError("the new keeper failed at its start");
}

}  // namespace

int RunKeeper(const KeeperOptions& options) { return Supervisor(options).Run(std::nullopt); }

absl::StatusOr<std::unique_ptr<KeeperClient>> StartKeeper(const KeeperOptions& options) {
  if (options.agent_command.empty()) return absl::InvalidArgumentError("no command of the agent");
  absl::StatusOr<Fd> pid_fd = OpenPidFd(getpid());
  if (!pid_fd.ok()) return pid_fd.status();
  absl::StatusOr<std::pair<Fd, Fd>> sockets = SeqpacketPair();
  if (!sockets.ok()) return sockets.status();
  const int keeper_fds[] = {pid_fd->get(), sockets->second.get()};
  absl::StatusOr<pid_t> pid =
      SpawnSelf(FormatArgs({options, keeper_fds[0], keeper_fds[1]}), keeper_fds);
  if (!pid.ok()) return pid.status();
  sockets->second.Reset();
  absl::Status exited = WaitForExit(*pid);
  if (!exited.ok()) return exited;

  absl::StatusOr<std::unique_ptr<KeeperClient>> client =
      KeeperClient::FromFd(std::move(sockets->first));
  if (!client.ok()) return client.status();
  absl::Status answer = (*client)->List().status();
  if (!answer.ok()) return answer;
  return client;
}

int KeeperMain(int argc, char** argv) {
  absl::StatusOr<KeeperArgs> args = ParseArgs(argc, argv);
  if (!args.ok()) return ReportWrong(std::string(args.status().message()));
  if (args->pid_fd < 0) return RunKeeper(args->options);

  for (int fd : {args->pid_fd, args->store_fd}) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return ReportWrong(absl::StrCat("no descriptor ", fd));
  }
  // The agent waits for the process that it started; the keeper goes on as somebody else's child.
  const pid_t pid = fork();
  if (pid < 0) return static_cast<int>(absl::StatusCode::kUnavailable);
  if (pid > 0) _exit(0);
  return Supervisor(args->options)
      .Run(RunningAgent{.pid_fd = Fd(args->pid_fd), .store = Fd(args->store_fd)});
}

}  // namespace mailrail
