// Direct messages: one process answers, another measures the round trip.
//
//   ping_pong serve [NAME]          answers, under NAME (default: pong), until it is told to stop
//   ping_pong ping [NAME [COUNT]]   COUNT round trips (default: 10000) with NAME, and says stop
//
// Start `serve` first; NAME may be on another node, and may say so: pong@beta.
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "mailrail/mailrail.h"

namespace {

absl::Status Serve(const std::string& name) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  if (absl::Status status = process->RegisterName(name); !status.ok()) return status;
  std::cout << "serving " << name << " as " << process->id() << std::endl;

  // One Sender for each process that sends to us: a link works in both directions, so Connect
  // finds it made.
  absl::flat_hash_map<mailrail::ProcessId, mailrail::Sender> answers;
  while (true) {
    absl::StatusOr<mailrail::Message> message = process->inbox().Receive();
    if (!message.ok()) return message.status();
    if (message->body() == "stop") return absl::OkStatus();
    auto answer = answers.find(message->sender());
    if (answer == answers.end()) {
      absl::StatusOr<mailrail::Sender> sender = process->Connect(message->sender());
      if (!sender.ok()) continue;  // it has gone already
      answer = answers.emplace(message->sender(), *std::move(sender)).first;
    }
    // An error says that the other has gone; the next one may still be served.
    answer->second.Send(message->body()).IgnoreError();
  }
}

absl::Status Ping(const std::string& name, size_t count) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  absl::StatusOr<mailrail::ProcessId> peer = process->Resolve(name);
  if (!peer.ok()) return peer.status();
  absl::StatusOr<mailrail::Sender> sender = process->Connect(*peer);
  if (!sender.ok()) return sender.status();

  std::vector<absl::Duration> times;
  for (size_t i = 0; i < count; ++i) {
    const std::string ping = "ping " + std::to_string(i);
    const absl::Time start = absl::Now();
    if (absl::Status status = sender->Send(ping); !status.ok()) return status;
    // Only from this peer; kUnavailable if it dies before it answers.
    absl::StatusOr<mailrail::Message> answer = process->inbox().ReceiveFrom(*peer);
    if (!answer.ok()) return answer.status();
    if (answer->body() != ping) return absl::DataLossError("not the answer to " + ping);
    times.push_back(absl::Now() - start);
  }
  std::sort(times.begin(), times.end());
  std::cout << count << " round trips between " << process->id() << " and " << *peer << ": half in "
            << times[count / 2] << " or less, 99 % in " << times[count * 99 / 100] << " or less"
            << std::endl;
  return sender->Send("stop");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  const std::string name = argc > 2 ? argv[2] : "pong";
  size_t count = 10000;
  if (argc > 3 && (!absl::SimpleAtoi(argv[3], &count) || count == 0)) count = 1;
  if (command != "serve" && command != "ping") {
    std::cerr << "usage: ping_pong serve [NAME] | ping_pong ping [NAME [COUNT]]" << std::endl;
    return 2;
  }
  const absl::Status status = command == "serve" ? Serve(name) : Ping(name, count);
  if (!status.ok()) std::cerr << "ping_pong: " << status << std::endl;
  return mailrail::ExitCode(status);
}
