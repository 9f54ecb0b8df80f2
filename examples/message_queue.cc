// A program moved over from POSIX message queues; each call says which one it was.
//
//   message_queue put TEXT PRIORITY    puts a job into the queue /jobs, and makes that if need be
//   message_queue show                 how many jobs wait
//   message_queue work                 does jobs until none has come for half a second
//   message_queue remove
#include <cstdlib>
#include <iostream>
#include <string>

#include "mailrail/mailrail.h"

namespace {

using mailrail::MessageQueue;

constexpr char kName[] = "/jobs";
constexpr size_t kLargestJob = 256;

absl::Status Put(mailrail::Process& process, const std::string& job, int priority) {
  // mq_open(kName, O_CREAT | O_WRONLY, 0600, &attributes)
  absl::StatusOr<MessageQueue> queue = MessageQueue::Open(process, kName,
                                                          {.access = mailrail::QueueAccess::kSend,
                                                           .create = true,
                                                           .max_messages = 100,
                                                           .max_message_bytes = kLargestJob});
  if (!queue.ok()) return queue.status();
  // mq_send(queue, job.data(), job.size(), priority)
  return queue->Send(job, priority);
}

absl::Status Show(mailrail::Process& process) {
  // mq_open(kName, O_RDONLY)
  absl::StatusOr<MessageQueue> queue =
      MessageQueue::Open(process, kName, {.access = mailrail::QueueAccess::kReceive});
  if (!queue.ok()) return queue.status();
  // mq_getattr(queue, &attributes)
  absl::StatusOr<mailrail::QueueAttributes> attributes = queue->GetAttributes();
  if (!attributes.ok()) return attributes.status();
  std::cout << attributes->current_messages << " of " << attributes->max_messages << " jobs wait"
            << std::endl;
  return absl::OkStatus();
}

absl::Status Work(mailrail::Process& process) {
  // mq_open(kName, O_RDONLY)
  absl::StatusOr<MessageQueue> queue =
      MessageQueue::Open(process, kName, {.access = mailrail::QueueAccess::kReceive});
  if (!queue.ok()) return queue.status();
  char buffer[kLargestJob];
  while (true) {
    int priority = 0;
    // mq_timedreceive(queue, buffer, sizeof(buffer), &priority, &deadline)
    absl::StatusOr<size_t> bytes =
        queue->Receive(absl::MakeSpan(buffer), &priority, absl::Now() + absl::Milliseconds(500));
    if (absl::IsDeadlineExceeded(bytes.status())) return absl::OkStatus();  // ETIMEDOUT
    if (!bytes.ok()) return bytes.status();
    std::cout << "priority " << priority << ": " << std::string(buffer, *bytes) << std::endl;
  }
}

absl::Status Run(int argc, char** argv) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();  // the one call more
  if (!process.ok()) return process.status();
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "put" && argc == 4) return Put(*process, argv[2], std::atoi(argv[3]));
  if (what == "show") return Show(*process);
  if (what == "work") return Work(*process);
  if (what == "remove") return MessageQueue::Unlink(*process, kName);  // mq_unlink(kName)
  return absl::InvalidArgumentError("message_queue put TEXT PRIORITY | show | work | remove");
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status = Run(argc, argv);
  if (!status.ok()) std::cerr << "message_queue: " << status << std::endl;
  return mailrail::ExitCode(status);
}
