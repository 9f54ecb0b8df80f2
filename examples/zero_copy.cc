// Large messages without a copy: the sender writes into shared memory, the receiver, another
// process, reads there. Handing over 32 MiB takes as long as handing over a few bytes.
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <iostream>
#include <numeric>
#include <string>

#include "mailrail/mailrail.h"

namespace {

constexpr size_t kFrameBytes = size_t{32} << 20;
constexpr int kFrames = 5;
constexpr absl::Duration kPatience = absl::Minutes(1);  // then the sender has failed

// What stands at the start of each frame.
struct FrameHeader {
  uint64_t sum;        // of the bytes after the header
  int64_t sent_nanos;  // since the epoch
};

uint64_t Sum(absl::string_view bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0},
                         [](uint64_t sum, char c) { return sum + static_cast<uint8_t>(c); });
}

absl::Status SendFrames(const mailrail::ProcessId& receiver) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  absl::StatusOr<mailrail::Sender> sender = process->Connect(receiver);
  if (!sender.ok()) return sender.status();
  for (int frame = 0; frame < kFrames; ++frame) {
    // Not a buffer of our own, but room in the receiver's inbox.
    absl::StatusOr<mailrail::ClaimedMessage> claim = sender->Claim(kFrameBytes);
    if (!claim.ok()) return claim.status();
    const absl::Span<char> pixels = claim->body().subspan(sizeof(FrameHeader));
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<char>(i * 31 + frame);
    FrameHeader header{Sum({pixels.data(), pixels.size()}), absl::GetCurrentTimeNanos()};
    memcpy(claim->body().data(), &header, sizeof(header));
    if (absl::Status status = claim->Commit(); !status.ok()) return status;
    // When the receiver has looked through it, it says so.
    absl::StatusOr<mailrail::Message> seen = process->inbox().ReceiveFrom(receiver);
    if (!seen.ok()) return seen.status();
  }
  return absl::OkStatus();
}

absl::Status ReceiveFrames(mailrail::Process& process) {
  for (int frame = 0; frame < kFrames; ++frame) {
    absl::StatusOr<mailrail::Message> message = process.inbox().Receive(absl::Now() + kPatience);
    const int64_t received_nanos = absl::GetCurrentTimeNanos();
    if (!message.ok()) return message.status();
    FrameHeader header;
    if (message->body().size() != kFrameBytes) return absl::DataLossError("wrong size");
    memcpy(&header, message->body().data(), sizeof(header));
    // body() is a view of the memory that the sender wrote.
    if (Sum(message->body().substr(sizeof(header))) != header.sum) {
      return absl::DataLossError("wrong sum");
    }
    std::cout << "frame " << frame << ": " << (kFrameBytes >> 20) << " MiB from "
              << message->sender() << ", handed over in "
              << absl::Nanoseconds(received_nanos - header.sent_nanos) << ", sum right"
              << std::endl;
    absl::StatusOr<mailrail::Sender> answer = process.Connect(message->sender());
    if (!answer.ok()) return answer.status();
    if (absl::Status status = answer->Send("seen"); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

int main() {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) {
    std::cerr << "zero_copy: " << process.status() << std::endl;
    return mailrail::ExitCode(process.status());
  }
  const pid_t child = fork();
  if (child == 0) {
    const absl::Status sent = SendFrames(process->id());
    if (!sent.ok()) std::cerr << "zero_copy, sender: " << sent << std::endl;
    _exit(mailrail::ExitCode(sent));
  }
  absl::Status status = ReceiveFrames(*process);
  int result = -1;
  if (waitpid(child, &result, 0) != child || result != 0) {
    status.Update(absl::UnknownError("the sender failed"));
  }
  if (!status.ok()) std::cerr << "zero_copy: " << status << std::endl;
  return mailrail::ExitCode(status);
}
