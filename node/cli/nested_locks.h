// `mailrail lock run` inside each other. What a lock run waits for while its command runs is that
// command, and the lock that this asks for, which the agent's graph of who waits for whom knows
// nothing of: to it these are different processes. So each lock run tells its command, by the
// environment, under which lock runs it runs, and one that waits under others looks for itself.
#ifndef MAILRAIL_NODE_CLI_NESTED_LOCKS_H_
#define MAILRAIL_NODE_CLI_NESTED_LOCKS_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "mailrail/process_id.h"
#include "proto/agent.pb.h"

namespace mailrail::cli {

// The variable: ids of processes with blanks between them, the outermost first.
inline constexpr char kLockRunsVariable[] = "MAILRAIL_LOCK_RUNS";

// Of this process, and of another of this host: empty when it is none's command, or when this one
// may not look (another user's).
std::vector<std::string> LockRunsAbove();
std::vector<std::string> LockRunsAbove(int pid);

// A wait for a lock.
struct LockWait {
  ProcessId who;
  std::vector<std::string> above;  // the lock runs under which it runs
  proto::ObjectKind kind = proto::MUTEX;
  std::string name;
  bool shared = false;  // to read
};

// Whether `wait`, which is under a lock run, would never end: kFailedPrecondition, with all who
// take part in words, when it is in a cycle, and is the youngest of those in it that are under a
// lock run. The others of the cycle go on. `above` is the lock runs above a process of this node.
absl::Status CheckNested(
    const LockWait& wait, const control::Listing& objects,
    absl::FunctionRef<std::vector<std::string>(const ProcessId& process)> above);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_NESTED_LOCKS_H_
