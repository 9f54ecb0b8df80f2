// A receiver and a sender. In one terminal `hello receive`, in another `hello send`; also on two
// hosts, for names are known to the whole cluster.
#include <iostream>

#include "mailrail/mailrail.h"

absl::Status Receive() {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  if (absl::Status status = process->RegisterName("greeter"); !status.ok()) return status;
  std::cout << "I am " << process->id() << ", also called greeter" << std::endl;
  absl::StatusOr<mailrail::Message> message = process->inbox().Receive();
  if (!message.ok()) return message.status();
  std::cout << message->sender() << " says: " << message->body() << std::endl;
  return absl::OkStatus();
}

absl::Status Send() {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  absl::StatusOr<mailrail::Sender> greeter = process->Connect("greeter");
  if (!greeter.ok()) return greeter.status();
  return greeter->Send("hello");
}

int main(int argc, char** argv) {
  const bool sends = argc > 1 && absl::string_view(argv[1]) == "send";
  const absl::Status status = sends ? Send() : Receive();
  if (!status.ok()) std::cerr << "hello: " << status << std::endl;
  return mailrail::ExitCode(status);
}
