#include "node/cli/received.h"

namespace mailrail::cli {

ReceivedMessage Shown(const Message& message, const std::string& mailbox) {
  ReceivedMessage shown;
  shown.body = message.body();
  shown.sender = message.sender().ToString();
  shown.priority = message.priority();
  shown.sequence = message.sequence();
  shown.redelivered = message.redelivered();
  shown.mailbox = mailbox;
  shown.headers = message.headers();
  shown.reply_to = std::string(message.reply_to());
  shown.attempts = message.attempts();
  shown.dead_letter_mailbox = std::string(message.dead_letter_mailbox());
  switch (message.dead_letter_reason()) {
    case DeadLetterReason::kNone:
      break;
    case DeadLetterReason::kAttempts:
      shown.dead_letter_reason = "attempts";
      break;
    case DeadLetterReason::kExpired:
      shown.dead_letter_reason = "expired";
      break;
    case DeadLetterReason::kDropped:
      shown.dead_letter_reason = "dropped";
      break;
  }
  return shown;
}

}  // namespace mailrail::cli
