// A server with competing workers: whoever is free answers the next request. A worker that dies
// with one leaves it to another, and the caller knows nothing of it.
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <set>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "mailrail/mailrail.h"

namespace {

constexpr int kWorkers = 3;
constexpr int kRequests = 300;

// Says that it is there, and answers requests until the mailbox is destroyed.
absl::Status Work(const std::string& mailbox, const mailrail::ProcessId& asker) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  // By hand: a request is done with when it is answered, not when it is received.
  absl::StatusOr<mailrail::Receiver> requests =
      process->OpenMailbox(mailbox, {.acknowledgement = mailrail::Acknowledgement::kManual});
  if (!requests.ok()) return requests.status();
  absl::StatusOr<mailrail::Sender> to_asker = process->Connect(asker);
  if (!to_asker.ok()) return to_asker.status();
  if (absl::Status status = to_asker->Send("ready"); !status.ok()) return status;
  while (true) {
    absl::StatusOr<mailrail::Message> request = requests->Receive();
    if (absl::IsUnavailable(request.status())) return absl::OkStatus();  // no more work
    if (!request.ok()) return request.status();
    int number;
    if (!absl::SimpleAtoi(request->body(), &number)) return absl::InternalError("not a number");
    if (number == 100 && request->attempts() == 0) _exit(1);  // a crash
    absl::Status status = process->Reply(*request, absl::StrCat(number * number));
    // It may have waited no longer.
    if (!status.ok() && !absl::IsUnavailable(status) && !absl::IsNotFound(status)) return status;
    if (status = request->Acknowledge(); !status.ok()) return status;
  }
}

absl::Status Ask(mailrail::Process& process, const std::string& mailbox) {
  absl::StatusOr<mailrail::Sender> server = process.ConnectMailbox(mailbox);
  if (!server.ok()) return server.status();
  for (int i = 0; i < kWorkers; ++i) {
    if (absl::Status ready = process.inbox().Receive().status(); !ready.ok()) return ready;
  }
  std::set<std::string> workers;
  for (int number = 1; number <= kRequests; ++number) {
    absl::StatusOr<mailrail::Message> answer = server->Call(absl::StrCat(number));
    if (!answer.ok()) return answer.status();
    workers.insert(answer->sender().ToString());
    if (answer->body() != absl::StrCat(number * number)) {
      return absl::InternalError("a wrong answer");
    }
  }
  std::cout << kRequests << " requests were answered, by " << workers.size() << " workers"
            << std::endl;
  return absl::OkStatus();
}

}  // namespace

int main() {
  const std::string mailbox = absl::StrCat("squares-", getpid());
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  absl::Status status = process.ok() ? process->CreateMailbox(mailbox) : process.status();
  for (int i = 0; i < kWorkers && status.ok(); ++i) {
    if (fork() == 0) _exit(mailrail::ExitCode(Work(mailbox, process->id())));
  }
  if (status.ok()) status = Ask(*process, mailbox);
  if (process.ok()) status.Update(process->DestroyMailbox(mailbox));
  while (wait(nullptr) > 0) {
  }
  if (!status.ok()) std::cerr << "calls: " << status << std::endl;
  return mailrail::ExitCode(status);
}
