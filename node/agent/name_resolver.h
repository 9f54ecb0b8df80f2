#ifndef MAILRAIL_NODE_AGENT_NAME_RESOLVER_H_
#define MAILRAIL_NODE_AGENT_NAME_RESOLVER_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "core/base/name.h"
#include "node/agent/registry.h"
#include "node/directory/directory.h"

namespace mailrail {

// Finds what a name that a program gives stands for: on this node, and then, by the directory, on
// others. The callbacks are called at once or later. kInvalidArgument for what is no name,
// kNotFound, kUnavailable as the directory has them. One thread at a time: the loop's.
class NameResolver {
 public:
  // Both outlive it.
  NameResolver(Registry* registry, Directory* directory)
      : registry_(registry), directory_(directory) {}

  // A mailbox of this node, which is there during the callback, or of another.
  struct Mailbox {
    LocalMailbox* here = nullptr;
    FoundMailbox far;
    std::string name;  // without a node
  };
  struct Found {
    absl::optional<ProcessId> process;
    Mailbox mailbox;  // when it is no process
  };

  // A process by its id, its pid or a registered name. A pid without a node is one of this node.
  using ProcessCallback = std::function<void(absl::StatusOr<ProcessId>)>;
  void FindProcess(const std::string& text, absl::Time deadline, ProcessCallback done);

  using MailboxCallback = std::function<void(absl::StatusOr<Mailbox>)>;
  void FindMailbox(const std::string& text, absl::Time deadline, MailboxCallback done);

  // Whatever it is: a process of this node, a mailbox of this node, or what another node has.
  using FoundCallback = std::function<void(absl::StatusOr<Found>)>;
  void Find(const std::string& text, absl::Time deadline, FoundCallback done);

 private:
  bool IsHere(const std::string& node) const { return node.empty() || node == registry_->node(); }
  absl::Status CheckNode(const std::string& node) const;
  absl::StatusOr<ProcessId> ParseId(const std::string& text) const;
  absl::StatusOr<QualifiedName> ParseName(absl::string_view what, const std::string& text) const;
  void FindId(const ProcessId& id, absl::Time deadline, ProcessCallback done);

  Registry* const registry_;
  Directory* const directory_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_NAME_RESOLVER_H_
