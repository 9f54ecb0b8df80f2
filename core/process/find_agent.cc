#include "core/process/find_agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "core/base/seqpacket.h"

extern char** environ;

namespace mailrail::internal {
namespace {

std::string Environment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

// What a program says on a pipe until it lets go of it, as one line; nothing at the deadline.
absl::optional<std::string> ReadComplaint(const Fd& pipe, absl::Time deadline) {
  std::string text;
  char buffer[512];
  for (;;) {
    const absl::Duration left =
        std::clamp(deadline - absl::Now(), absl::ZeroDuration(), absl::Duration(absl::Hours(1)));
    pollfd entry{pipe.get(), POLLIN, 0};
    const int ready = poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(left)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return absl::nullopt;
    const ssize_t n = read(pipe.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    if (text.size() < 4096) text.append(buffer, static_cast<size_t>(n));
  }
  absl::string_view line = absl::StripAsciiWhitespace(text);
  absl::ConsumePrefix(&line, "mailrail: ");
  return absl::StrReplaceAll(line, {{"\n", "; "}});
}

// Starts `mailrail agent --background`, which returns when its agent listens (exit code 0) or has
// said why it cannot. Two programs that do this at once start one agent: the second one finds the
// socket taken, and that is as good.
absl::Status StartAgent(const std::string& program, const std::string& socket,
                        absl::Time deadline) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("no pipe: ", strerror(errno)));
  }
  const Fd complaints(ends[0]);
  Fd complain(ends[1]);
  const std::string flag = absl::StrCat("--socket=", socket);
  std::string name = program;
  std::string agent = "agent", background = "--background";
  std::string flag_copy = flag;
  char* const arguments[] = {name.data(), agent.data(), background.data(), flag_copy.data(),
                             nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, complain.get(), 2);
  pid_t pid;
  const int error = posix_spawnp(&pid, name.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  complain = Fd();
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("no agent answers at ", socket, ", and '", program,
                                               "' cannot be started: ", strerror(error)));
  }
  const absl::optional<std::string> complaint = ReadComplaint(complaints, deadline);
  // The program that was to start it, not an agent that it may have started.
  if (!complaint.has_value()) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!complaint.has_value()) {
    return absl::DeadlineExceededError(absl::StrCat("no agent answers at ", socket,
                                                    ", and one that was started is not ready yet"));
  }
  if (complaint->empty()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("no agent answers at ", socket, ", and none can be started: ", *complaint));
}

}  // namespace

std::string AgentSocketPath(const std::string& socket) {
  if (!socket.empty()) return socket;
  if (std::string path = Environment("MAILRAIL_SOCKET"); !path.empty()) return path;
  const std::string system = "/run/mailrail/agent.sock";
  const std::string runtime = Environment("XDG_RUNTIME_DIR");
  if (!runtime.empty()) {
    const std::string path = absl::StrCat(runtime, "/mailrail/agent.sock");
    // An agent of the system serves users who have none of their own.
    if (access(path.c_str(), F_OK) == 0 || access(system.c_str(), F_OK) != 0) return path;
  }
  return system;
}

absl::StatusOr<Fd> ConnectToAgent(const AttachOptions& options, absl::Time deadline) {
  const std::string path = AgentSocketPath(options.socket);
  absl::StatusOr<Fd> socket = SeqpacketConnect(path, deadline);
  if (socket.ok() || !absl::IsUnavailable(socket.status())) return socket;
  if (!options.autostart || Environment("MAILRAIL_AUTOSTART") == "0") {
    return absl::UnavailableError(
        absl::StrCat(socket.status().message(), "; start one with: mailrail agent --node NAME"));
  }
  std::string program = options.program;
  if (program.empty()) program = Environment("MAILRAIL_PROGRAM");
  if (program.empty()) program = "mailrail";
  const absl::Status started = StartAgent(program, path, deadline);
  socket = SeqpacketConnect(path, deadline);
  if (socket.ok()) return socket;
  if (!started.ok()) return started;
  return absl::UnavailableError(absl::StrCat(socket.status().message(),
                                             "; starting one failed, see: ", program,
                                             " agent --socket=", path));
}

}  // namespace mailrail::internal
