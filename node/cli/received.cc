#include "node/cli/received.h"

#include "node/cli/browsed_rows.h"

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
  shown.key = std::string(message.key());
  shown.attempts = message.attempts();
  shown.dead_letter_mailbox = std::string(message.dead_letter_mailbox());
  shown.dead_letter_reason = NameOf(message.dead_letter_reason());
  return shown;
}

}  // namespace mailrail::cli
