// Priorities run from 0 to 31. The highest goes first; equal ones keep the order of their sends.
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "mailrail/mailrail.h"

namespace {

absl::Status SendAndReceive(mailrail::Process& process, const std::string& mailbox) {
  absl::StatusOr<mailrail::Sender> sender = process.ConnectMailbox(mailbox);
  if (!sender.ok()) return sender.status();
  absl::StatusOr<mailrail::Receiver> receiver = process.OpenMailbox(mailbox);
  if (!receiver.ok()) return receiver.status();

  struct Order {
    std::string what;
    int priority;
  };
  const std::vector<Order> orders = {
      {"report 1", 0},
      {"report 2", 0},
      {"order 1", 10},
      {"report 3", 0},
      {"stop", mailrail::kUrgentPriority},
      {"order 2", 10},
  };
  for (const Order& order : orders) {
    const absl::Status status = sender->Send(order.what, {.priority = order.priority});
    if (!status.ok()) return status;
    std::cout << "sent      " << order.priority << "\t" << order.what << "\n";
  }

  std::vector<std::string> received;
  while (true) {
    absl::StatusOr<mailrail::Message> message = receiver->TryReceive();
    if (absl::IsDeadlineExceeded(message.status())) break;  // nothing is left
    if (!message.ok()) return message.status();
    std::cout << "received  " << message->priority() << "\t" << message->body() << "\n";
    received.emplace_back(message->body());
  }
  std::cout << std::flush;
  const std::string order = absl::StrJoin(received, ", ");
  if (order != "stop, order 1, order 2, report 1, report 2, report 3") {
    return absl::InternalError("the order is wrong: " + order);
  }

  // Beyond the range nothing is sent.
  const absl::Status refused = sender->Send("too urgent", {.priority = 32});
  std::cout << "priority 32 is refused: " << refused.message() << std::endl;
  return absl::IsInvalidArgument(refused) ? absl::OkStatus()
                                          : absl::InternalError("priority 32 was not refused");
}

}  // namespace

int main() {
  const std::string mailbox = absl::StrCat("priority-", getpid());
  absl::StatusOr<mailrail::Process> process = mailrail::Process::Attach();
  absl::Status status = process.ok() ? process->CreateMailbox(mailbox) : process.status();
  if (status.ok()) {
    status = SendAndReceive(*process, mailbox);
    status.Update(process->DestroyMailbox(mailbox));
  }
  if (!status.ok()) std::cerr << "priority: " << status << std::endl;
  return mailrail::ExitCode(status);
}
