// A mailbox as a work queue: three workers compete for tasks, and send what they make of them to
// the program that asked, directly by its process ID.
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "mailrail/mailrail.h"

namespace {

constexpr int kWorkers = 3;
constexpr uint64_t kTasks = 3000;
constexpr absl::Duration kPatience = absl::Minutes(1);  // without a result, a worker has failed

// Squares numbers until the mailbox is destroyed.
absl::Status Work(const std::string& mailbox, const mailrail::ProcessId& asker) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  absl::StatusOr<mailrail::Receiver> tasks = process->OpenMailbox(mailbox);
  if (!tasks.ok()) return tasks.status();
  absl::StatusOr<mailrail::Sender> results = process->Connect(asker);
  if (!results.ok()) return results.status();
  if (absl::Status status = results->Send("ready"); !status.ok()) return status;
  while (true) {
    absl::StatusOr<mailrail::Message> task = tasks->Receive();
    if (absl::IsUnavailable(task.status())) return absl::OkStatus();  // no more work
    if (!task.ok()) return task.status();
    uint64_t number = 0;
    if (!absl::SimpleAtoi(task->body(), &number)) return absl::DataLossError("not a number");
    const std::string square = absl::StrCat(number * number);
    if (absl::Status status = results->Send(square); !status.ok()) return status;
  }
}

// Sends the tasks when all workers wait for them, and gathers the results.
absl::Status Ask(mailrail::Process& process, const std::string& mailbox) {
  absl::StatusOr<mailrail::Sender> tasks = process.ConnectMailbox(mailbox);
  if (!tasks.ok()) return tasks.status();
  std::map<std::string, int> done;  // by worker
  while (done.size() < kWorkers) {
    absl::StatusOr<mailrail::Message> ready = process.inbox().Receive(absl::Now() + kPatience);
    if (!ready.ok()) return ready.status();
    done[ready->sender().ToString()] = 0;
  }
  for (uint64_t i = 1; i <= kTasks; ++i) {
    if (absl::Status status = tasks->Send(absl::StrCat(i)); !status.ok()) return status;
  }
  std::set<std::string> squares;
  for (uint64_t i = 1; i <= kTasks; ++i) {
    absl::StatusOr<mailrail::Message> result = process.inbox().Receive(absl::Now() + kPatience);
    if (!result.ok()) return result.status();
    ++done[result->sender().ToString()];
    squares.emplace(result->body());
  }
  for (const auto& [worker, count] : done) std::cout << worker << " did " << count << " tasks\n";
  if (squares.size() != kTasks) return absl::DataLossError("a task was lost or done twice");
  std::cout << "all " << kTasks << " tasks were done, each once" << std::endl;
  return absl::OkStatus();
}

}  // namespace

int main() {
  const std::string mailbox = absl::StrCat("tasks-", getpid());
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  absl::Status status = process.ok() ? process->CreateMailbox(mailbox) : process.status();
  std::vector<pid_t> workers;
  for (int i = 0; i < kWorkers && status.ok(); ++i) {
    const pid_t pid = fork();
    // A child has nothing of its parent's Process but its ID; it attaches for itself.
    if (pid == 0) _exit(mailrail::ExitCode(Work(mailbox, process->id())));
    workers.push_back(pid);
  }
  if (status.ok()) status = Ask(*process, mailbox);
  if (process.ok()) status.Update(process->DestroyMailbox(mailbox));
  for (const pid_t pid : workers) {
    int result = -1;
    if (waitpid(pid, &result, 0) != pid || result != 0) status.Update(absl::UnknownError("worker"));
  }
  if (!status.ok()) std::cerr << "work_queue: " << status << std::endl;
  return mailrail::ExitCode(status);
}
