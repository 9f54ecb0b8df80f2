// How messages that somebody has looked at are printed. In JSON the keys are stable: scripts read
// them; those that a received message has too are the same (rows.h).
#ifndef MAILRAIL_NODE_CLI_BROWSED_ROWS_H_
#define MAILRAIL_NODE_CLI_BROWSED_ROWS_H_

#include <string>
#include <vector>

#include "mailrail/mailbox.h"
#include "node/cli/command.h"

namespace mailrail::cli {

// A table with the beginning of each body, or an array of objects.
std::string FormatBrowsed(const std::string& mailbox, const std::vector<BrowsedMessage>& messages,
                          OutputFormat format);

// The body and a newline, or an object on one line.
std::string FormatPeeked(const std::string& mailbox, const BrowsedMessage& message,
                         OutputFormat format);

// How many dead letters were moved, and how many not, and why.
std::string FormatRedriven(const std::string& mailbox, const Redriven& redriven,
                           OutputFormat format);

// As DeadLetterReason; empty for kNone.
std::string NameOf(DeadLetterReason reason);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_BROWSED_ROWS_H_
