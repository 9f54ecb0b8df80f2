#ifndef MAILRAIL_NODE_CLI_RECEIVED_H_
#define MAILRAIL_NODE_CLI_RECEIVED_H_

#include <string>

#include "mailrail/message.h"
#include "node/cli/rows.h"

namespace mailrail::cli {

// What to print of a message that came from `mailbox`. Its body is a view of the message's.
ReceivedMessage Shown(const Message& message, const std::string& mailbox);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_RECEIVED_H_
