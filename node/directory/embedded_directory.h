#ifndef MAILRAIL_NODE_DIRECTORY_EMBEDDED_DIRECTORY_H_
#define MAILRAIL_NODE_DIRECTORY_EMBEDDED_DIRECTORY_H_

#include <memory>
#include <string>
#include <vector>

#include "node/directory/directory.h"
#include "node/directory/peer_caller.h"

namespace mailrail {

// The directory without a service of its own: each agent knows its own names, and is asked.
// A name without a node is asked of all peers at once, and the first that has it answers; "nobody
// has it" needs the answer of every peer.
class EmbeddedDirectory : public Directory {
 public:
  // `peers` outlives it.
  explicit EmbeddedDirectory(PeerCaller* peers) : peers_(peers) {}

  void FindMailbox(const std::string& name, const std::string& node, absl::Time deadline,
                   MailboxCallback done) override;
  void CheckMailbox(const std::string& name, absl::Time deadline, MailboxCallback done) override;
  void FindProcess(const std::string& name, const std::string& node, absl::Time deadline,
                   ProcessCallback done) override;

 private:
  using AnswerCallback = std::function<void(const std::string& node, absl::StatusOr<proto::Reply>)>;
  // Asks these nodes; `done` gets the first OK reply, or the failure of the only one or of all.
  void Ask(const std::string& what, const std::vector<std::string>& nodes,
           const proto::Request& request, absl::Time deadline, AnswerCallback done);
  std::vector<std::string> NodesFor(const std::string& node) const {
    return node.empty() ? peers_->Peers() : std::vector<std::string>{node};
  }

  PeerCaller* const peers_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_DIRECTORY_EMBEDDED_DIRECTORY_H_
