#include "node/cli/background.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "node/cli/agent_client.h"
#include "node/cli/command.h"

namespace mailrail::cli {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(30);
constexpr absl::Duration kLookAgain = absl::Milliseconds(5);
constexpr char kNowhere[] = "/dev/null";

// Where the agent's standard error goes; makes the folder.
std::string LogPath() {
  const char* state = getenv("XDG_STATE_HOME");
  const char* home = getenv("HOME");
  std::string folder;
  if (state != nullptr && *state != '\0') {
    folder = state;
  } else if (home != nullptr && *home != '\0') {
    folder = absl::StrCat(home, "/.local");
    mkdir(folder.c_str(), 0700);
    absl::StrAppend(&folder, "/state");
  } else {
    return kNowhere;
  }
  mkdir(folder.c_str(), 0700);
  absl::StrAppend(&folder, "/mailrail");
  mkdir(folder.c_str(), 0700);
  return absl::StrCat(folder, "/agent.log");
}

// OK when an agent of this node answers, kUnavailable when none does, kFailedPrecondition when it
// is another node's.
absl::Status CheckAgent(const AgentConfig& config) {
  AttachOptions options;
  options.socket = config.socket;
  options.autostart = false;
  absl::StatusOr<std::unique_ptr<AgentClient>> client = AgentClient::Connect(options);
  if (!client.ok()) return client.status();
  const absl::StatusOr<std::string> node = (*client)->Node();
  if (!node.ok()) return node.status();
  if (*node == config.node) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the agent of another node, ", *node,
                                                    ", listens at ", config.socket,
                                                    "; give this one a --socket of its own"));
}

// Makes this process one that no terminal and no caller holds on to.
void Detach(const std::string& log) {
  setsid();
  const int in = open(kNowhere, O_RDWR);
  int error = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0600);
  if (error < 0) error = in;
  dup2(in, STDIN_FILENO);
  dup2(in, STDOUT_FILENO);
  dup2(error, STDERR_FILENO);
  close_range(STDERR_FILENO + 1, ~0u, 0);
  if (chdir("/") != 0) return;  // it then holds on to its folder, and works all the same
}

int CodeOf(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// The last line of what a file got since it had `begin` bytes.
std::string LastLine(const std::string& path, std::streamoff begin) {
  std::ifstream file(path);
  file.seekg(begin);
  std::string last;
  for (std::string line; std::getline(file, line);) last = line;
  return last;
}

// Says why the agent ended at its start; its log had `log_begin` bytes before.
int ReportEnd(int wait_status, const AgentConfig& config, const std::string& log,
              std::streamoff log_begin) {
  const int code = CodeOf(wait_status);
  std::string why = log == kNowhere ? "" : LastLine(log, log_begin);
  absl::string_view line = why;
  absl::ConsumePrefix(&line, "mailrail agent: ");
  why = std::string(line);
  if (why.empty()) {
    why = absl::StrCat("the agent ended at its start with code ", code,
                       "; see why with: mailrail agent --node=", config.node,
                       " --socket=", config.socket);
  }
  fprintf(stderr, "mailrail: %s\n", why.c_str());
  return code == 0 ? static_cast<int>(absl::StatusCode::kUnavailable) : code;
}

}  // namespace

int RunInBackground(const AgentConfig& config, const std::function<int()>& serve) {
  absl::Status status = CheckAgent(config);
  if (!absl::IsUnavailable(status)) return Report(status);
  const std::string log = LogPath();
  struct stat before = {};
  stat(log.c_str(), &before);
  // One fork is enough: setsid makes the child a session of its own, and as our child its exit code
  // is known for as long as we wait.
  const pid_t pid = fork();
  if (pid < 0) return Report(absl::ErrnoToStatus(errno, "cannot start another process"));
  if (pid == 0) {
    Detach(log);
    _exit(serve());
  }
  absl::optional<int> ended;
  const absl::Time deadline = absl::Now() + kStartTimeout;
  while (absl::Now() < deadline) {
    int wait_status = 0;
    if (!ended.has_value() && waitpid(pid, &wait_status, WNOHANG) == pid) ended = wait_status;
    // Another agent may have been quicker at the socket, and ours then ended: that is as good.
    status = CheckAgent(config);
    if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return Report(status);
    if (ended.has_value()) return ReportEnd(*ended, config, log, before.st_size);
    absl::SleepFor(kLookAgain);
  }
  return Report(
      absl::DeadlineExceededError(absl::StrCat("the agent does not answer at ", config.socket,
                                               " after ", absl::FormatDuration(kStartTimeout))));
}

}  // namespace mailrail::cli
