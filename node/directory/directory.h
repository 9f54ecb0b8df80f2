#ifndef MAILRAIL_NODE_DIRECTORY_DIRECTORY_H_
#define MAILRAIL_NODE_DIRECTORY_DIRECTORY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "mailrail/mailbox.h"
#include "mailrail/process_id.h"
#include "proto/common.pb.h"

namespace mailrail {

// A mailbox of another node.
struct FoundMailbox {
  std::string node;
  uint64_t id = 0;  // there: tells it from another that is made under its name later
  MailboxOptions options;
};

// A named object of another node.
struct FoundObject {
  std::string node;
  uint64_t id = 0;  // there
};

// A named region or value of another node.
struct FoundRegion {
  std::string node;
  uint64_t stamp = 0;  // tells it from every other that has had, or will have, its name
  proto::RegionSpec spec;
};

// What a name stands for on another node.
using FoundName = std::variant<ProcessId, FoundMailbox>;

// Who in the cluster owns a name. This node's own names are not asked here.
//
// Answers come later, in the agent's loop. kNotFound when all nodes have said that they do not have
// the name, kUnavailable when nobody has it and some node did not answer. One thread at a time.
class Directory {
 public:
  virtual ~Directory() = default;

  // Whether the cluster has a node of this name, connected or not.
  virtual bool HasNode(absl::string_view node) const = 0;

  // In these `node` empty means any. A node that is named is waited for until the deadline.
  using MailboxCallback = std::function<void(absl::StatusOr<FoundMailbox>)>;
  virtual void FindMailbox(const std::string& name, const std::string& node, absl::Time deadline,
                           MailboxCallback done) = 0;

  // A registered name, or the text form of an id with the `node` that it has.
  using ProcessCallback = std::function<void(absl::StatusOr<ProcessId>)>;
  virtual void FindProcess(const std::string& name, const std::string& node, absl::Time deadline,
                           ProcessCallback done) = 0;

  // Whatever has this name; where a node has both, its process.
  using NameCallback = std::function<void(absl::StatusOr<FoundName>)>;
  virtual void FindName(const std::string& name, const std::string& node, absl::Time deadline,
                        NameCallback done) = 0;

  // A mutex, semaphore or the like, where it is. `only_connected`: nodes that are down are not
  // asked, and there is none if none of the others has it.
  using ObjectCallback = std::function<void(absl::StatusOr<FoundObject>)>;
  virtual void FindObject(proto::ObjectKind kind, const std::string& name, const std::string& node,
                          bool only_connected, absl::Time deadline, ObjectCallback done) = 0;
  using RegionCallback = std::function<void(absl::StatusOr<FoundRegion>)>;
  virtual void FindRegion(proto::RegionSpec::Kind kind, const std::string& name,
                          const std::string& node, absl::Time deadline, RegionCallback done) = 0;

  // Whether another node that is reached now has a mailbox of this name: kNotFound if none. Nodes
  // that are down are not asked: names are unique among the nodes that answer.
  virtual void CheckMailbox(const std::string& name, absl::Time deadline, MailboxCallback done) = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_DIRECTORY_DIRECTORY_H_
