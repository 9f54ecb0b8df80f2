#include "tests/support/program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "tests/support/child.h"
#include "tests/support/require.h"

namespace mailrail {

ProgramRun RunMailrail(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {BuiltProgram("node/cli/mailrail")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int ends[2];
  Require(pipe2(ends, O_CLOEXEC) == 0, "pipe");
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
  pid_t pid;
  Require(posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ) == 0, "spawn");
  posix_spawn_file_actions_destroy(&actions);
  write_end.Reset();
  ProgramRun run;
  char part[4096];
  ssize_t size;
  while ((size = read(read_end.get(), part, sizeof(part))) > 0) {
    run.output.append(part, static_cast<size_t>(size));
  }
  int status;
  Require(waitpid(pid, &status, 0) == pid, "waitpid");
  if (WIFEXITED(status)) run.exit_code = WEXITSTATUS(status);
  return run;
}

}  // namespace mailrail
