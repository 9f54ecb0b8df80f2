#ifndef MAILRAIL_NODE_DIRECTORY_DIRECTORY_H_
#define MAILRAIL_NODE_DIRECTORY_DIRECTORY_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mailrail/mailbox.h"
#include "mailrail/process_id.h"

namespace mailrail {

// A mailbox of another node.
struct FoundMailbox {
  std::string node;
  MailboxOptions options;
};

// Who in the cluster owns a name. This node's own names are not asked here.
//
// Answers come later, in the agent's loop. kNotFound when nobody in the cluster has the name,
// kUnavailable when the node asked for is not reached until the deadline. One thread at a time.
class Directory {
 public:
  virtual ~Directory() = default;

  using MailboxCallback = std::function<void(absl::StatusOr<FoundMailbox>)>;
  // `node` empty: any.
  virtual void FindMailbox(const std::string& name, const std::string& node, absl::Time deadline,
                           MailboxCallback done) = 0;

  // Whether another node that is reached now has a mailbox of this name: kNotFound if none.
  virtual void CheckMailbox(const std::string& name, absl::Time deadline, MailboxCallback done) = 0;

  using ProcessCallback = std::function<void(absl::StatusOr<ProcessId>)>;
  // A registered name or the text form of an id; `node` empty: any.
  virtual void FindProcess(const std::string& name, const std::string& node, absl::Time deadline,
                           ProcessCallback done) = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_DIRECTORY_DIRECTORY_H_
