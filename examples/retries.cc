// A work queue in which jobs fail: workers lease them, give back what did not work out, and are
// killed by one. What fails three times comes to the dead letters, with the reason.
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "mailrail/mailrail.h"

namespace {

constexpr int kWorkers = 4;  // the job "crash" takes three of them with it
constexpr const char* kJobs[] = {"paint", "flaky", "crash", "poison", "polish"};
constexpr absl::Duration kPatience = absl::Minutes(1);

// Does jobs until the mailbox is destroyed.
absl::Status Work(const std::string& mailbox, const mailrail::ProcessId& asker) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  absl::StatusOr<mailrail::Receiver> jobs =
      process->OpenMailbox(mailbox, {.acknowledgement = mailrail::Acknowledgement::kManual});
  if (!jobs.ok()) return jobs.status();
  absl::StatusOr<mailrail::Sender> reports = process->Connect(asker);
  if (!reports.ok()) return reports.status();
  while (true) {
    absl::StatusOr<mailrail::Message> job = jobs->Receive();
    if (absl::IsUnavailable(job.status())) return absl::OkStatus();  // no more work
    if (!job.ok()) return job.status();
    if (job->body() == "crash") _exit(1);   // its lease ends with this process
    if (job->body() == "poison") continue;  // as an error does: what is not acknowledged goes back
    if (job->body() == "flaky" && job->attempts() == 0) {
      // Not now. It stays first in the queue.
      if (absl::Status status = job->GiveBack(absl::Milliseconds(100)); !status.ok()) return status;
      continue;
    }
    const std::string report = absl::StrCat(job->body(), " at attempt ", job->attempts() + 1);
    if (absl::Status status = reports->Send(report); !status.ok()) return status;
    // Last: who dies before this has not done it.
    if (absl::Status status = job->Acknowledge(); !status.ok()) return status;
  }
}

absl::Status Ask(mailrail::Process& process, const std::string& mailbox, const std::string& dead) {
  absl::StatusOr<mailrail::Sender> jobs = process.ConnectMailbox(mailbox);
  if (!jobs.ok()) return jobs.status();
  for (const char* job : kJobs) {
    if (absl::Status status = jobs->Send(job); !status.ok()) return status;
  }
  absl::StatusOr<mailrail::Receiver> letters = process.OpenMailbox(dead);
  if (!letters.ok()) return letters.status();
  mailrail::Receiver* const both[] = {&process.inbox(), &*letters};
  for (std::set<std::string> settled; settled.size() < std::size(kJobs);) {
    absl::StatusOr<size_t> ready = mailrail::WaitAny(both, absl::Now() + kPatience);
    if (!ready.ok()) return ready.status();
    absl::StatusOr<mailrail::Message> message = both[*ready]->TryReceive();
    if (absl::IsDeadlineExceeded(message.status())) continue;
    if (!message.ok()) return message.status();
    if (message->dead_letter_reason() == mailrail::DeadLetterReason::kAttempts) {
      std::cout << "given up: " << message->body() << std::endl;
    } else {
      std::cout << "done: " << message->body() << std::endl;
    }
    settled.emplace(message->body().substr(0, message->body().find(' ')));
  }
  return absl::OkStatus();
}

}  // namespace

int main() {
  const std::string mailbox = absl::StrCat("jobs-", getpid()), dead = mailbox + "-failed";
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  absl::Status status = process.ok() ? process->CreateMailbox(dead) : process.status();
  if (status.ok()) {
    status = process->CreateMailbox(mailbox, {.max_attempts = 3, .dead_letter = dead});
  }
  for (int i = 0; i < kWorkers && status.ok(); ++i) {
    if (fork() == 0) _exit(mailrail::ExitCode(Work(mailbox, process->id())));
  }
  if (status.ok()) status = Ask(*process, mailbox, dead);
  if (process.ok()) {
    status.Update(process->DestroyMailbox(mailbox));
    status.Update(process->DestroyMailbox(dead));
  }
  while (wait(nullptr) > 0) {
  }
  if (!status.ok()) std::cerr << "retries: " << status << std::endl;
  return mailrail::ExitCode(status);
}
