#include "node/directory/embedded_directory.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"

namespace mailrail {

void EmbeddedDirectory::Ask(const std::string& what, const std::vector<std::string>& nodes,
                            const proto::Request& request, absl::Time deadline,
                            AnswerCallback done) {
  struct Poll {
    std::string what;
    size_t waiting = 0;
    bool answered = false;
    std::string unreached;
    AnswerCallback done;
  };
  const auto poll = std::make_shared<Poll>();
  poll->what = what;
  poll->waiting = nodes.size();
  poll->done = std::move(done);
  if (nodes.empty()) {
    poll->done("", absl::NotFoundError(absl::StrCat("there is no ", what)));
    return;
  }
  const bool one = nodes.size() == 1;
  for (const std::string& peer : nodes) {
    peers_->Call(peer, request, deadline, [poll, peer, one](absl::StatusOr<proto::Reply> reply) {
      --poll->waiting;
      if (poll->answered) return;
      if (reply.ok() || one) {
        poll->answered = true;
        poll->done(peer, std::move(reply));
        return;
      }
      if (!absl::IsNotFound(reply.status())) {
        absl::StrAppend(&poll->unreached, poll->unreached.empty() ? "" : ", ", peer);
      }
      if (poll->waiting > 0) return;
      poll->answered = true;
      poll->done("", absl::NotFoundError(absl::StrCat(
                         "there is no ", poll->what,
                         poll->unreached.empty() ? "" : "; not reached: ", poll->unreached)));
    });
  }
}

void EmbeddedDirectory::FindMailbox(const std::string& name, const std::string& node,
                                    absl::Time deadline, MailboxCallback done) {
  proto::Request request;
  request.set_find_mailbox(name);
  Ask(absl::StrCat("mailbox '", name, "'"), NodesFor(node), request, deadline,
      [done = std::move(done)](const std::string& at, absl::StatusOr<proto::Reply> reply) {
        if (!reply.ok()) return done(reply.status());
        done(FoundMailbox{at, internal::FromProto(reply->spec())});
      });
}

void EmbeddedDirectory::CheckMailbox(const std::string& name, absl::Time deadline,
                                     MailboxCallback done) {
  proto::Request request;
  request.set_find_mailbox(name);
  Ask(absl::StrCat("mailbox '", name, "'"), peers_->ConnectedPeers(), request, deadline,
      [done = std::move(done)](const std::string& at, absl::StatusOr<proto::Reply> reply) {
        if (!reply.ok()) return done(reply.status());
        done(FoundMailbox{at, internal::FromProto(reply->spec())});
      });
}

void EmbeddedDirectory::FindProcess(const std::string& name, const std::string& node,
                                    absl::Time deadline, ProcessCallback done) {
  proto::Request request;
  request.set_resolve_process(name);
  Ask(absl::StrCat("process '", name, "'"), NodesFor(node), request, deadline,
      [done = std::move(done)](const std::string&, absl::StatusOr<proto::Reply> reply) {
        if (!reply.ok()) return done(reply.status());
        done(internal::FromProto(reply->process()));
      });
}

}  // namespace mailrail
