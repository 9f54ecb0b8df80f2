#include "node/cli/child_program.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "core/base/fd.h"
#include "node/cli/line_reader.h"

namespace mailrail::cli {
namespace {

// A file in memory, which is read from its beginning.
absl::StatusOr<Fd> FileWith(absl::string_view bytes) {
  Fd file(memfd_create("mailrail.input", MFD_CLOEXEC));
  if (!file.valid()) return absl::ErrnoToStatus(errno, "memfd_create");
  while (!bytes.empty()) {
    const ssize_t written = write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "write");
    if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (lseek(file.get(), 0, SEEK_SET) != 0) return absl::ErrnoToStatus(errno, "lseek");
  return file;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::StatusOr<ChildOutcome> RunChild(const std::vector<std::string>& command,
                                      absl::string_view input,
                                      const std::vector<std::string>& variables,
                                      size_t most_bytes) {
  absl::StatusOr<Fd> file = FileWith(input);
  if (!file.ok()) return file.status();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment = variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment.emplace_back(*variable);
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, file->get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
  pid_t pid;
  const int error = posix_spawnp(&pid, arguments[0].c_str(), &actions, nullptr,
                                 Pointers(arguments).data(), Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  write_end.Reset();
  if (error != 0) {
    return absl::NotFoundError(absl::StrCat("cannot run ", command[0], ": ", strerror(error)));
  }
  absl::StatusOr<std::string> output = ReadAll(read_end.get(), most_bytes);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return absl::ErrnoToStatus(errno, "waitpid");
  }
  if (!output.ok()) return output.status();
  const int exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ChildOutcome{*std::move(output), exit_code};
}

}  // namespace mailrail::cli
