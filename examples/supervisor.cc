// A supervisor: starts workers, watches them, and starts one again when it ends, later each time.
// `supervisor 3` runs three, until `mailrail send supervisor stop`.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "mailrail/mailrail.h"

namespace {

// Keys of the wait set: the inbox, and below that, for each worker, a timer: when it is started
// again, or must have said that it is there.
constexpr uint64_t kInbox = 1000;
constexpr absl::Duration kStartTimeout = absl::Seconds(10);
constexpr absl::Duration kLongestPause = absl::Seconds(10);

struct Worker {
  pid_t pid = 0;  // 0: none was started yet
  mailrail::ProcessId id;
  absl::Duration pause = absl::Milliseconds(100);
};

// Says that it is there, and works until its supervisor has ended.
absl::Status Work(uint64_t number, const mailrail::ProcessId& supervisor) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  if (absl::Status status = process->Watch(supervisor); !status.ok()) return status;
  absl::StatusOr<mailrail::Sender> report = process->Connect(supervisor);
  if (!report.ok()) return report.status();
  if (absl::Status status = report->Send(absl::StrCat(number)); !status.ok()) return status;
  while (true) {
    absl::StatusOr<mailrail::Message> task = process->inbox().Receive();
    if (!task.ok() || task->end() != mailrail::EndReason::kNone) return task.status();
  }
}

absl::Status Supervise(mailrail::Process& process, std::vector<Worker>& workers) {
  if (absl::Status status = process.RegisterName("supervisor"); !status.ok()) return status;
  mailrail::WaitSet set(process);
  absl::Status status = set.Add(kInbox, process.inbox());
  for (size_t i = 0; i < workers.size(); ++i) status.Update(set.AddTimer(i, absl::InfinitePast()));
  while (status.ok()) {
    absl::StatusOr<uint64_t> key = set.Wait();
    if (!key.ok()) return key.status();
    if (*key != kInbox) {
      Worker& worker = workers[*key];
      if (worker.pid != 0 && kill(worker.pid, SIGKILL) == 0) waitpid(worker.pid, nullptr, 0);
      worker.pid = fork();
      if (worker.pid == 0) _exit(mailrail::ExitCode(Work(*key, process.id())));
      status = set.AddTimer(*key, absl::Now() + kStartTimeout);
      continue;
    }
    absl::StatusOr<mailrail::Message> message = process.inbox().TryReceive();
    if (absl::IsDeadlineExceeded(message.status())) continue;
    if (!message.ok() || message->body() == "stop") return message.status();
    size_t number = 0;
    if (message->end() == mailrail::EndReason::kNone) {
      if (!absl::SimpleAtoi(message->body(), &number) || number >= workers.size()) continue;
      set.Remove(number).IgnoreError();  // it is there in time
      workers[number].id = message->sender();
      std::cout << "worker " << number << " is " << message->sender() << std::endl;
      if (process.Watch(message->sender()).ok()) continue;  // else it has ended already
    }
    while (number < workers.size() && workers[number].id != message->sender()) ++number;
    if (number == workers.size()) continue;
    Worker& worker = workers[number];
    std::cout << "worker " << number << " has ended; again in " << worker.pause << std::endl;
    status = set.AddTimer(number, absl::Now() + worker.pause);
    worker.pause = std::min(2 * worker.pause, kLongestPause);
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  size_t count = 2;
  if (argc > 1 && !absl::SimpleAtoi(argv[1], &count)) count = 2;
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  std::vector<Worker> workers(std::min<size_t>(count, kInbox));
  const absl::Status status = process.ok() ? Supervise(*process, workers) : process.status();
  for (const Worker& worker : workers) {
    if (worker.pid > 0) kill(worker.pid, SIGTERM);
  }
  if (!status.ok()) std::cerr << "supervisor: " << status << std::endl;
  return mailrail::ExitCode(status);
}
