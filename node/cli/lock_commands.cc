// Locks: `lock` and `locks`.
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "mailrail/monitor.h"
#include "mailrail/status.h"
#include "mailrail/sync.h"
#include "node/cli/agent_client.h"
#include "node/cli/commands.h"
#include "node/cli/foreground.h"
#include "node/cli/nested_locks.h"
#include "node/cli/object_rows.h"
#include "node/config/units.h"

namespace mailrail::cli {
namespace {

// After so long, again and again, one that waits under another lock run looks whether they wait for
// each other: after times that differ, since who looks does not wait meanwhile, and so is not seen.
constexpr int kLeastWaitMs = 50;
constexpr int kMostWaitMs = 350;

struct LockArguments {
  std::string socket;
  std::string name;
  std::vector<std::string> names;
  std::vector<std::string> command;
  absl::Duration timeout = absl::InfiniteDuration();
  bool read = false, write = false;  // neither: a mutex
  proto::ObjectKind kind = proto::MUTEX;
};
using ArgumentsPtr = std::shared_ptr<LockArguments>;

absl::StatusOr<proto::ObjectKind> ReadKind(absl::string_view text) {
  for (const proto::ObjectKind kind : {proto::MUTEX, proto::SHARED_MUTEX, proto::CONDITION}) {
    if (text == NameOf(kind)) return kind;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is neither mutex nor shared-mutex nor condition"));
}

// kFailedPrecondition when `wait` is in a cycle. Without an answer of the agent it is in none.
absl::Status LookForCycle(const LockArguments& arguments, const LockWait& wait) {
  AttachOptions options = AttachOptionsFor(arguments.socket);
  options.autostart = false;
  absl::StatusOr<std::unique_ptr<AgentClient>> client = AgentClient::Connect(options);
  if (!client.ok()) return absl::OkStatus();
  const absl::StatusOr<control::Listing> objects = (*client)->List(control::OBJECTS);
  if (!objects.ok()) return absl::OkStatus();
  return CheckNested(wait, *objects,
                     [](const ProcessId& process) { return LockRunsAbove(process.pid()); });
}

template <typename Lock>
absl::StatusOr<Grant> Await(const LockArguments& arguments, const Process& process, Lock lock) {
  const absl::Time deadline = absl::Now() + arguments.timeout;
  const size_t at = std::min(arguments.name.find('@'), arguments.name.size());
  const std::string node = arguments.name.substr(at);
  const LockWait wait = {process.id(), LockRunsAbove(), arguments.kind,
                         arguments.name.substr(0, at), arguments.read};
  // What other nodes' locks wait for is not to be seen here; and an agent in another container sees
  // other pids than this one.
  const bool here = node.empty() || node == absl::StrCat("@", process.id().node());
  if (!here || wait.above.empty() || process.id().pid() != getpid()) return lock(deadline);
  std::minstd_rand random(static_cast<uint32_t>(getpid()));
  std::uniform_int_distribution<int> wait_ms(kLeastWaitMs, kMostWaitMs);
  while (true) {
    const absl::Time look_at = absl::Now() + absl::Milliseconds(wait_ms(random));
    const absl::StatusOr<Grant> grant = lock(std::min(deadline, look_at));
    if (!absl::IsDeadlineExceeded(grant.status()) || absl::Now() >= deadline) return grant;
    if (absl::Status status = LookForCycle(arguments, wait); !status.ok()) return status;
  }
}

absl::StatusOr<int> RunHolding(const LockArguments& arguments, const Process& process,
                               const Grant& grant, const std::function<bool()>& held) {
  if (grant.owner_died) {
    std::cerr << "mailrail: the last owner of '" << arguments.name
              << "' has died with it: what it guards may be half changed" << std::endl;
  }
  std::vector<std::string> above = LockRunsAbove();
  above.push_back(process.id().ToString());
  return RunInForeground(arguments.command,
                         {absl::StrCat("MAILRAIL_FENCE=", grant.fence),
                          absl::StrCat(kLockRunsVariable, "=", absl::StrJoin(above, " "))},
                         held);
}

template <typename Lockable>
absl::StatusOr<int> LockAndRun(const LockArguments& arguments) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  absl::StatusOr<Lockable> lock = Lockable::Open(*process, arguments.name);
  if (!lock.ok()) return lock.status();
  constexpr bool kIsMutex = std::is_same_v<Lockable, Mutex>;
  const absl::StatusOr<Grant> grant = Await(arguments, *process, [&](absl::Time deadline) {
    if constexpr (!kIsMutex) {
      if (arguments.read) return lock->LockShared(deadline);
    }
    return lock->Lock(deadline);
  });
  if (!grant.ok()) return grant.status();
  const absl::StatusOr<int> exit_code =
      RunHolding(arguments, *process, *grant, [&] { return lock->HeldByThisThread(); });
  absl::Status unlocked;
  if constexpr (kIsMutex) {
    unlocked = lock->Unlock();
  } else {
    unlocked = arguments.read ? lock->UnlockShared() : lock->Unlock();
  }
  if (!exit_code.ok() || unlocked.ok()) return exit_code;
  const int lost = Report(Annotate("the lock was lost while the command ran", unlocked));
  return *exit_code == 0 ? lost : *exit_code;
}

int RunLock(LockArguments arguments) {
  const bool is_shared_mutex = arguments.read || arguments.write;
  if (is_shared_mutex) arguments.kind = proto::SHARED_MUTEX;
  const absl::StatusOr<int> exit_code =
      is_shared_mutex ? LockAndRun<SharedMutex>(arguments) : LockAndRun<Mutex>(arguments);
  return exit_code.ok() ? *exit_code : Report(exit_code.status());
}

absl::Status RunDestroy(const LockArguments& arguments) {
  absl::StatusOr<Process> process = Process::Attach(AttachOptionsFor(arguments.socket));
  if (!process.ok()) return process.status();
  for (const std::string& name : arguments.names) {
    const absl::Status status =
        arguments.kind == proto::SHARED_MUTEX ? SharedMutex::Destroy(*process, name)
        : arguments.kind == proto::CONDITION  ? Condition::Destroy(*process, name)
                                              : Mutex::Destroy(*process, name);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void AddRun(CLI::App& lock, Action* action, const ArgumentsPtr& arguments) {
  CLI::App* const command = AddCommand(
      lock, "run", "Run a program while it has a lock, which is made if there is none",
      "mailrail lock run accounts -- ./post-entries\n"
      "  mailrail lock run accounts --timeout 5s -- ./post-entries || echo busy\n"
      "  mailrail lock run prices --read -- ./report      # with others that read\n\n"
      "The exit code is the program's. MAILRAIL_FENCE tells it the fencing token; what the lock\n"
      "guards refuses a smaller one than it has seen. Signals reach the program. When the lock is\n"
      "lost, as its node was not reached, the program gets SIGTERM. When this command is killed\n"
      "so is the program, and the next owner is told on standard error. A wait that\n"
      "would never end, since others wait for what this one holds, ends with exit code 9; lock\n"
      "runs that are run by lock runs of the same user count as one.");
  command->add_option("lock", arguments->name, "the lock's name")->type_name("NAME")->required();
  command->add_option("command", arguments->command, "the program and its arguments, after --")
      ->type_name("COMMAND")
      ->required();
  CLI::Option* const write =
      command->add_flag("--write", arguments->write, "of a shared mutex: alone");
  command
      ->add_flag("--read", arguments->read,
                 "of a shared mutex: with others that read. Without either it is a mutex")
      ->excludes(write);
  AddParsedFlag(*command, "--timeout", &arguments->timeout, ReadDuration,
                "how long to wait for the lock; exit code 4 when it was not to be had (default: "
                "inf)")
      ->type_name("DURATION");
  AddSocketFlag(*command, &arguments->socket);
  command->callback([arguments, action] { *action = [arguments] { return RunLock(*arguments); }; });
}

}  // namespace

void AddLockCommand(CLI::App& app, Action* action) {
  CLI::App* const lock =
      AddCommand(app, "lock", "Run programs one at a time: mutexes and shared mutexes by name",
                 "mailrail lock run accounts -- ./post-entries\n"
                 "  mailrail locks");
  lock->require_subcommand(1);
  const auto arguments = std::make_shared<LockArguments>();
  AddRun(*lock, action, arguments);
  CLI::App* const destroy = AddCommand(
      *lock, "destroy", "Remove locks: who waits for one fails, who has it goes on",
      "mailrail lock destroy accounts\n  mailrail lock destroy prices --kind shared-mutex");
  destroy->add_option("lock", arguments->names, "the locks' names")->type_name("NAME")->required();
  AddParsedFlag(*destroy, "--kind", &arguments->kind, ReadKind,
                "which of that name (default: mutex)")
      ->type_name("mutex|shared-mutex|condition");
  AddSocketFlag(*destroy, &arguments->socket);
  destroy->callback(
      [arguments, action] { *action = [arguments] { return Report(RunDestroy(*arguments)); }; });
}

}  // namespace mailrail::cli
