#ifndef MAILRAIL_NODE_CLI_POST_H_
#define MAILRAIL_NODE_CLI_POST_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace mailrail::cli {

// One message to a mailbox that the agent sends, so that this program need not attach: by a lane of
// the agent's, which all that are sent so share.
struct QueuePost {
  std::string socket;
  std::string mailbox;
  int priority = 0;
  bool nonblocking = false;                    // kDeadlineExceeded when there is no room
  absl::Duration timeout = absl::Seconds(10);  // how long it waits for room otherwise
};
absl::Status PostToQueue(const QueuePost& post, absl::string_view body);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_POST_H_
