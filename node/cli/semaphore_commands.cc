// Semaphores and barriers: `sem` and `barrier`.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "mailrail/sync.h"
#include "node/cli/commands.h"
#include "node/cli/foreground.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

constexpr uint64_t kMostUnits = 32768;
constexpr uint64_t kMostParties = 4096;

struct SemaphoreArguments {
  std::string socket;
  std::string name;
  std::vector<std::string> names;  // of destroy
  std::vector<std::string> command;
  absl::Duration timeout = absl::InfiniteDuration();
  uint64_t limit = 0;
  uint64_t units = 1;
  uint64_t parties = 0;

  absl::Time deadline() const { return absl::Now() + timeout; }
};
using ArgumentsPtr = std::shared_ptr<SemaphoreArguments>;

absl::StatusOr<uint64_t> ReadLimit(absl::string_view text) {
  return ReadNumber(text, 1, kMostUnits);
}
absl::StatusOr<uint64_t> ReadUnits(absl::string_view text) {
  return ReadNumber(text, 0, kMostUnits);
}
absl::StatusOr<uint64_t> ReadParties(absl::string_view text) {
  return ReadNumber(text, 1, kMostParties);
}

using Run = absl::StatusOr<int> (*)(const SemaphoreArguments& arguments, Process& process);

absl::StatusOr<int> ExitCodeOf(const absl::Status& status) {
  if (!status.ok()) return status;
  return 0;
}

absl::StatusOr<int> RunCreate(const SemaphoreArguments& arguments, Process& process) {
  SemaphoreOptions options;
  options.units = static_cast<uint32_t>(arguments.units);
  options.most_units =
      static_cast<uint32_t>(arguments.limit == 0 ? arguments.units : arguments.limit);
  return ExitCodeOf(Semaphore::Open(process, arguments.name, options).status());
}

absl::StatusOr<int> RunRun(const SemaphoreArguments& arguments, Process& process) {
  SemaphoreOptions options;
  options.units = options.most_units = static_cast<uint32_t>(arguments.limit);
  absl::StatusOr<Semaphore> semaphore = Semaphore::Open(process, arguments.name, options);
  if (!semaphore.ok()) return semaphore.status();
  absl::StatusOr<Semaphore::Permit> permit = semaphore->Acquire(arguments.deadline());
  if (!permit.ok()) return permit.status();
  const absl::StatusOr<int> exit_code =
      RunInForeground(arguments.command, {absl::StrCat("MAILRAIL_FENCE=", permit->fence())},
                      [&] { return permit->held(); });
  const absl::Status released = permit->Release();
  if (!exit_code.ok() || released.ok()) return exit_code;
  const int lost = Report(Annotate("the unit was lost while the command ran", released));
  return *exit_code == 0 ? lost : *exit_code;
}

absl::StatusOr<Semaphore> OpenThere(const SemaphoreArguments& arguments, Process& process) {
  SemaphoreOptions options;
  options.open.create = false;
  return Semaphore::Open(process, arguments.name, options);
}

absl::StatusOr<int> RunWait(const SemaphoreArguments& arguments, Process& process) {
  absl::StatusOr<Semaphore> semaphore = OpenThere(arguments, process);
  return ExitCodeOf(semaphore.ok() ? semaphore->Wait(arguments.deadline()) : semaphore.status());
}

absl::StatusOr<int> RunPost(const SemaphoreArguments& arguments, Process& process) {
  absl::StatusOr<Semaphore> semaphore = OpenThere(arguments, process);
  return ExitCodeOf(semaphore.ok() ? semaphore->Post() : semaphore.status());
}

absl::StatusOr<int> RunValue(const SemaphoreArguments& arguments, Process& process) {
  absl::StatusOr<Semaphore> semaphore = OpenThere(arguments, process);
  if (!semaphore.ok()) return semaphore.status();
  return ExitCodeOf(Print(absl::StrCat(semaphore->value(), "\n")));
}

absl::StatusOr<int> RunBarrierWait(const SemaphoreArguments& arguments, Process& process) {
  absl::StatusOr<Barrier> barrier =
      Barrier::Open(process, arguments.name, static_cast<uint32_t>(arguments.parties));
  return ExitCodeOf(barrier.ok() ? barrier->Wait(arguments.deadline()).status() : barrier.status());
}

template <typename Kind>
absl::StatusOr<int> RunDestroy(const SemaphoreArguments& arguments, Process& process) {
  for (const std::string& name : arguments.names) {
    if (absl::Status status = Kind::Destroy(process, name); !status.ok()) return status;
  }
  return 0;
}

int Execute(const SemaphoreArguments& arguments, Run run) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return Report(process.status());
  const absl::StatusOr<int> exit_code = run(arguments, *process);
  return exit_code.ok() ? *exit_code : Report(exit_code.status());
}

CLI::App* Add(CLI::App& parent, Action* action, const std::string& name, const std::string& help,
              const std::string& example, const ArgumentsPtr& arguments, Run run) {
  CLI::App* const command = AddCommand(parent, name, help, example);
  AddSocketFlag(*command, &arguments->socket);
  command->callback([arguments, action, run] {
    *action = [arguments, run] { return Execute(*arguments, run); };
  });
  return command;
}

template <typename T>
void AddName(CLI::App& command, T* name) {
  command.add_option("name", *name, "what it is called")->type_name("NAME")->required();
}

void AddTimeout(CLI::App& command, SemaphoreArguments* arguments) {
  AddParsedFlag(command, "--timeout", &arguments->timeout, ReadDuration,
                "how long to wait; exit code 4 when that was in vain (default: inf)")
      ->type_name("DURATION");
}

void AddSemaphoreRun(CLI::App& semaphore, Action* action, const ArgumentsPtr& arguments) {
  CLI::App* const command = Add(
      semaphore, action, "run",
      "Run a program while it holds a unit of a semaphore, which is made if there is none",
      "mailrail sem run encoders --limit 2 -- ./encode film.mkv\n\n"
      "So at most N programs run at once. The exit code is the program's; signals reach it, and "
      "it is\nkilled when this command is, whose unit comes back.",
      arguments, RunRun);
  AddName(*command, &arguments->name);
  command->add_option("command", arguments->command, "the program and its arguments, after --")
      ->type_name("COMMAND")
      ->required();
  AddParsedFlag(*command, "--limit", &arguments->limit, ReadLimit,
                "how many at once, the same for all that use this name")
      ->type_name("N")
      ->required();
  AddTimeout(*command, arguments.get());
}

}  // namespace

void AddSemaphoreCommand(CLI::App& app, Action* action) {
  CLI::App* const semaphore =
      AddCommand(app, "sem", "Use semaphores by name: so many at once, or so many of something",
                 "mailrail sem run encoders --limit 2 -- ./encode film.mkv\n"
                 "  mailrail sem create full --units 0 --limit 10; mailrail sem wait full");
  semaphore->require_subcommand(1);
  const auto arguments = std::make_shared<SemaphoreArguments>();
  AddSemaphoreRun(*semaphore, action, arguments);
  CLI::App* const create =
      Add(*semaphore, action, "create", "Make a semaphore on this node, unless it is there",
          "mailrail sem create full --units 0 --limit 10", arguments, RunCreate);
  AddName(*create, &arguments->name);
  AddParsedFlag(*create, "--units", &arguments->units, ReadUnits,
                "how many are free at first (default: 1)")
      ->type_name("N");
  AddParsedFlag(*create, "--limit", &arguments->limit, ReadLimit,
                "how many there may be (default: as many as at first)")
      ->type_name("N");
  CLI::App* const wait = Add(*semaphore, action, "wait", "Use up a unit, when there is one",
                             "mailrail sem wait full --timeout 5s", arguments, RunWait);
  AddName(*wait, &arguments->name);
  AddTimeout(*wait, arguments.get());
  CLI::App* const post =
      Add(*semaphore, action, "post", "Add a unit; exit code 8 when there are as many as may be",
          "mailrail sem post full", arguments, RunPost);
  AddName(*post, &arguments->name);
  CLI::App* const value = Add(*semaphore, action, "value", "Print how many units are free",
                              "mailrail sem value full", arguments, RunValue);
  AddName(*value, &arguments->name);
  CLI::App* const destroy =
      Add(*semaphore, action, "destroy", "Remove semaphores: who waits for one fails",
          "mailrail sem destroy full", arguments, RunDestroy<Semaphore>);
  AddName(*destroy, &arguments->names);
}

void AddBarrierCommand(CLI::App& app, Action* action) {
  CLI::App* const barrier = AddCommand(app, "barrier", "Let programs wait for each other",
                                       "mailrail barrier wait phase-1 --parties 3");
  barrier->require_subcommand(1);
  const auto arguments = std::make_shared<SemaphoreArguments>();
  CLI::App* const wait =
      Add(*barrier, action, "wait", "Wait until so many have come, again and again",
          "mailrail barrier wait phase-1 --parties 3 && ./phase-2", arguments, RunBarrierWait);
  AddName(*wait, &arguments->name);
  AddParsedFlag(*wait, "--parties", &arguments->parties, ReadParties,
                "how many wait for each other; a barrier is made if there is none (default: as "
                "the one that is there)")
      ->type_name("N");
  AddTimeout(*wait, arguments.get());
  CLI::App* const destroy = Add(*barrier, action, "destroy", "Remove barriers: who waits fails",
                                "mailrail barrier destroy phase-1", arguments, RunDestroy<Barrier>);
  AddName(*destroy, &arguments->names);
}

}  // namespace mailrail::cli
