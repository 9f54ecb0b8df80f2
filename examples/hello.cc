// A receiver and a sender. In one terminal `hello receive`, in another `hello send`; also on two
// hosts, for names are known to the whole cluster.
#include <iostream>

#include "mailrail/mailrail.h"

absl::Status Run(bool sends) {
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  if (!process.ok()) return process.status();
  if (sends) {
    absl::StatusOr<mailrail::Sender> greeter = process->Connect("greeter");
    return greeter.ok() ? greeter->Send("hello") : greeter.status();
  }
  if (absl::Status status = process->RegisterName("greeter"); !status.ok()) return status;
  std::cout << "I am " << process->id() << ", also called greeter" << std::endl;
  absl::StatusOr<mailrail::Message> message = process->inbox().Receive();
  if (message.ok()) std::cout << message->sender() << " says: " << message->body() << std::endl;
  return message.status();
}

int main(int argc, char** argv) {
  const absl::Status status = Run(argc > 1 && absl::string_view(argv[1]) == "send");
  if (!status.ok()) std::cerr << "hello: " << status << std::endl;
  return mailrail::ExitCode(status);
}
