// Counts the text that mailbox `chunks` has, on any node, until the mailbox is destroyed.
//
//   worker      (may be started before the coordinator; then it waits for it)
#include <iostream>

#include "examples/word_count/count.h"
#include "mailrail/mailrail.h"
#include "mailrail/protobuf.h"

namespace mailrail::examples {
namespace {

constexpr absl::Duration kAskAgain = absl::Milliseconds(100);

// Whether the coordinator, or its node, may only not be there yet.
bool MayCome(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsUnavailable(status);
}

absl::StatusOr<ProcessId> FindCoordinator(Process& process) {
  while (true) {
    absl::StatusOr<ProcessId> coordinator = process.Resolve("word_count");
    if (coordinator.ok() || !MayCome(coordinator.status())) return coordinator;
    absl::SleepFor(kAskAgain);
  }
}

absl::Status Work() {
  absl::StatusOr<Process> process = Process::Attach();
  if (!process.ok()) return process.status();
  absl::StatusOr<ProcessId> id = FindCoordinator(*process);
  if (!id.ok()) return id.status();
  absl::StatusOr<Sender> coordinator = process->Connect(*id);
  if (!coordinator.ok()) return coordinator.status();
  absl::StatusOr<Receiver> chunks = process->OpenMailbox("chunks");
  if (!chunks.ok()) return chunks.status();

  Report joined, status;
  joined.mutable_joined();
  status.mutable_status();
  if (absl::Status sent = SendProto(*coordinator, joined); !sent.ok()) return sent;
  // All workers start together. kUnavailable if the coordinator dies first.
  absl::StatusOr<Message> start = process->inbox().ReceiveFrom(*id);
  if (!start.ok()) return start.status();

  // The inbox first: a question is answered ahead of all chunks that wait.
  Receiver* const receivers[] = {&process->inbox(), &*chunks};
  while (true) {
    absl::StatusOr<size_t> ready = WaitAny(receivers);
    if (!ready.ok()) return ready.status();
    absl::StatusOr<Message> message = receivers[*ready]->TryReceive();
    if (absl::IsDeadlineExceeded(message.status())) continue;  // another worker was quicker
    if (*ready == 1 && absl::IsUnavailable(message.status())) return absl::OkStatus();  // destroyed
    if (!message.ok()) return message.status();

    absl::Status sent;
    if (*ready == 0) {
      sent = SendProto(*coordinator, status, {.priority = kMaxPriority});
    } else {
      Report counted;
      *counted.mutable_counted() = CountText(message->body());
      sent = SendProto(*coordinator, counted);
      status.mutable_status()->set_chunks(status.status().chunks() + 1);
    }
    if (!sent.ok()) return sent;
  }
}

}  // namespace
}  // namespace mailrail::examples

int main() {
  const absl::Status status = mailrail::examples::Work();
  if (!status.ok()) std::cerr << "worker: " << status << std::endl;
  return mailrail::ExitCode(status);
}
