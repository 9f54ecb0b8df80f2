#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "mailrail/pipe.h"
#include "node/cli/commands.h"
#include "node/cli/progress.h"

namespace mailrail::cli {
namespace {

// How much is read from standard input, and written, at a time.
constexpr size_t kBufferBytes = size_t{4} * kPipeAtomicBytes;

struct PipeArguments {
  std::string socket;
  std::string name;
  bool create = true;
  bool follow = false;
};
using ArgumentsPtr = std::shared_ptr<PipeArguments>;

// Writes standard input to `writer`, until its end.
absl::Status WriteInput(PipeWriter* writer, Progress* progress) {
  std::vector<char> buffer(kBufferBytes);
  while (true) {
    const ssize_t count = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::UnavailableError(absl::StrCat("standard input: ", strerror(errno)));
    if (count == 0) return absl::OkStatus();
    const auto bytes = static_cast<size_t>(count);
    if (absl::Status status = writer->Write({buffer.data(), bytes}); !status.ok()) return status;
    progress->AddBytes(bytes);
    progress->Show();
  }
}

absl::Status RunWrite(Process& process, const PipeArguments& arguments) {
  absl::StatusOr<PipeWriter> writer =
      PipeWriter::Open(process, arguments.name, {.create = arguments.create});
  if (!writer.ok()) return writer.status();
  Progress progress;
  const absl::Status status = WriteInput(&*writer, &progress);
  progress.Finish();
  return status;
}

absl::Status RunRead(Process& process, const PipeArguments& arguments) {
  absl::StatusOr<PipeReader> reader =
      PipeReader::Open(process, arguments.name, {.create = arguments.create});
  if (!reader.ok()) return reader.status();
  Progress progress;
  absl::Status status;
  while (status.ok()) {
    const absl::StatusOr<absl::string_view> bytes = reader->ReadView();
    status = bytes.status();
    if (!status.ok()) break;
    if (bytes->empty() && !arguments.follow) break;
    status = Print(*bytes);
    progress.AddBytes(bytes->size());
    progress.Show();
  }
  progress.Finish();
  return status;
}

absl::Status RunDestroy(Process& process, const PipeArguments& arguments) {
  const absl::StatusOr<MailboxState> state = process.StatMailbox(arguments.name);
  if (!state.ok()) return state.status();
  if (!state->options.pipe) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", arguments.name, "' is a mailbox, and no pipe"));
  }
  return process.DestroyMailbox(arguments.name);
}

// What the thread that writes came to.
struct Written {
  absl::Mutex mutex;
  bool ended ABSL_GUARDED_BY(mutex) = false;
  absl::Status status ABSL_GUARDED_BY(mutex);
};

// Standard input to one direction, the other one to standard output, until both have ended.
absl::Status Exchange(absl::StatusOr<Fifo> opened) {
  if (!opened.ok()) return opened.status();
  std::optional<PipeWriter> writer(std::move(opened->writer()));
  PipeReader reader = std::move(opened->reader());
  const auto written = std::make_shared<Written>();
  std::thread writes([&writer, written] {
    Progress progress;
    const absl::Status status = WriteInput(&*writer, &progress);
    writer.reset();  // the other side is told of the end
    absl::MutexLock lock(&written->mutex);
    written->ended = true;
    written->status = status;
  });
  absl::Status status;
  while (status.ok()) {
    const absl::StatusOr<absl::string_view> bytes =
        reader.ReadView(absl::Now() + absl::Milliseconds(200));
    if (absl::IsDeadlineExceeded(bytes.status())) {
      absl::MutexLock lock(&written->mutex);
      status = written->status;
      continue;
    }
    status = bytes.status();
    if (!status.ok() || bytes->empty()) break;
    status = Print(*bytes);
  }
  bool waits;
  {
    absl::MutexLock lock(&written->mutex);
    waits = !written->ended && !status.ok();
  }
  if (waits) {
    // It may wait for standard input for ever.
    Report(status);
    _exit(static_cast<int>(status.code()));
  }
  writes.join();
  absl::MutexLock lock(&written->mutex);
  return status.ok() ? written->status : status;
}

absl::Status RunFifoCreate(Process& process, const PipeArguments& arguments) {
  return Exchange(Fifo::Create(process, arguments.name));
}

absl::Status RunFifoDestroy(Process& process, const PipeArguments& arguments) {
  return Fifo::Destroy(process, arguments.name);
}

absl::Status RunFifoOpen(Process& process, const PipeArguments& arguments) {
  return Exchange(Fifo::Open(process, arguments.name));
}

using Run = absl::Status (*)(Process& process, const PipeArguments& arguments);

absl::Status Attach(const PipeArguments& arguments, Run run) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  return process.ok() ? run(*process, arguments) : process.status();
}

CLI::App* Add(CLI::App& parent, Action* action, const std::string& name, const std::string& help,
              const std::string& example, const ArgumentsPtr& arguments, Run run) {
  CLI::App* command = AddCommand(parent, name, help, example);
  AddSocketFlag(*command, &arguments->socket);
  command->add_option("name", arguments->name, "as log or log@alpha")
      ->type_name("NAME")
      ->required();
  command->callback([arguments, action, run] {
    *action = [arguments, run] { return Report(Attach(*arguments, run)); };
  });
  return command;
}

void AddCreateFlag(CLI::App& command, const ArgumentsPtr& arguments) {
  command.add_flag("--create,!--no-create", arguments->create,
                   "make the pipe, on this node, when there is none (default); else exit code 5");
}

}  // namespace

void AddPipeCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<PipeArguments>();
  CLI::App* const pipe =
      AddCommand(app, "pipe", "Send bytes through named pipes, within a host and between hosts",
                 "mailrail pipe read backup > backup.tar\n"
                 "  tar c /srv | mailrail pipe write backup@alpha");
  pipe->require_subcommand(1);
  AddCreateFlag(*Add(*pipe, action, "write", "Write standard input to a pipe",
                     "mailrail pipe write log < file", arguments, RunWrite),
                arguments);
  CLI::App* const read =
      Add(*pipe, action, "read",
          "Read a pipe until the last writer has left, and write it to standard output",
          "mailrail pipe read log > file", arguments, RunRead);
  AddCreateFlag(*read, arguments);
  read->add_flag("--follow", arguments->follow, "go on when the last writer has left");
  Add(*pipe, action, "destroy", "Destroy a pipe and what is in it", "mailrail pipe destroy log",
      arguments, RunDestroy);
}

void AddFifoCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<PipeArguments>();
  CLI::App* const fifo =
      AddCommand(app, "fifo", "Connect standard input and output with another program, both ways",
                 "mailrail fifo create chat     # on one host\n"
                 "  mailrail fifo open chat       # on another one");
  fifo->require_subcommand(1);
  Add(*fifo, action, "create", "Be one end, and make the FIFO, on this node, unless it is there",
      "mailrail fifo create chat", arguments, RunFifoCreate);
  Add(*fifo, action, "open", "Be the other end", "mailrail fifo open chat", arguments, RunFifoOpen);
  Add(*fifo, action, "destroy", "Destroy a FIFO and what is in it", "mailrail fifo destroy chat",
      arguments, RunFifoDestroy);
}

}  // namespace mailrail::cli
