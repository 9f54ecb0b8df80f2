#ifndef MAILRAIL_NODE_DIRECTORY_EMBEDDED_DIRECTORY_H_
#define MAILRAIL_NODE_DIRECTORY_EMBEDDED_DIRECTORY_H_

#include <functional>
#include <string>
#include <vector>

#include "node/directory/directory.h"
#include "node/directory/peer_caller.h"
#include "node/directory/unknown_name.h"

namespace mailrail {

// The directory without a service of its own: each agent knows its own names, and is asked.
// A name without a node is asked of all peers at once, and the first that has it answers; "nobody
// has it" needs the answer of every peer. A peer that is not connected gets kUnconnectedWait to
// become so.
class EmbeddedDirectory : public Directory {
 public:
  static constexpr absl::Duration kUnconnectedWait = absl::Seconds(1);

  // `peers` outlives it.
  explicit EmbeddedDirectory(PeerCaller* peers) : peers_(peers) {}

  bool HasNode(absl::string_view node) const override;
  void FindMailbox(const std::string& name, const std::string& node, absl::Time deadline,
                   MailboxCallback done) override;
  void FindProcess(const std::string& name, const std::string& node, absl::Time deadline,
                   ProcessCallback done) override;
  void FindName(const std::string& name, const std::string& node, absl::Time deadline,
                NameCallback done) override;
  void FindObject(proto::ObjectKind kind, const std::string& name, const std::string& node,
                  bool only_connected, absl::Time deadline, ObjectCallback done) override;
  void FindRegion(proto::RegionSpec::Kind kind, const std::string& name, const std::string& node,
                  absl::Time deadline, RegionCallback done) override;
  void CheckMailbox(const std::string& name, absl::Time deadline, MailboxCallback done) override;

 private:
  struct Question {
    NameKind kind;
    std::string name;
    std::string node;  // empty: all
    absl::Time deadline;
    proto::Request request;
    bool only_connected = false;
    proto::ObjectKind object = proto::NO_OBJECT;  // it is asked for one of these

    absl::Status Unknown() const;
    absl::Status Unanswered(const std::vector<std::string>& silent) const;
  };
  using AnswerCallback = std::function<void(const std::string& node, absl::StatusOr<proto::Reply>)>;
  struct Poll;
  // `done` gets the first OK reply, or why there is none.
  void Ask(const Question& question, AnswerCallback done);

  PeerCaller* const peers_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_DIRECTORY_EMBEDDED_DIRECTORY_H_
