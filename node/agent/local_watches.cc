// The local service's part about watches.
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/process/grants.h"
#include "node/agent/local_service.h"
#include "node/directory/unknown_name.h"

namespace mailrail {

void LocalService::AddWatch(const CallPtr& call, const absl::StatusOr<Subject>& subject) {
  const LocalProcess* const caller = Caller(*call);
  if (caller == nullptr) return;
  if (!subject.ok()) return Respond(*call, subject.status());
  const absl::StatusOr<mailrail::Watch*> watch =
      watches_->Add(*caller, call->request.watch().id(), *subject);
  if (!watch.ok()) return Respond(*call, watch.status());
  RespondWatched(*call, **watch);
}

void LocalService::RespondWatched(const Call& call, const mailrail::Watch& watch) {
  control::Response response;
  response.mutable_watched()->set_id(watch.watch);
  response.mutable_watched()->set_name(watch.subject.Name());
  Respond(call, std::move(response));
}

void LocalService::Watch(const CallPtr& call) {
  const control::Watch& watch = call->request.watch();
  // The same request again, after this agent was started again: it was done, and may have ended.
  if (const mailrail::Watch* const done = registry_->FindWatch(call->number, watch.id())) {
    return RespondWatched(*call, *done);
  }
  switch (watch.kind()) {
    case proto::PROCESS:
      return resolver_.FindProcess(
          watch.name(), call->deadline, [this, call](absl::StatusOr<ProcessId> id) {
            AddWatch(call,
                     id.ok() ? absl::StatusOr<Subject>(Subject::OfProcess(*id)) : id.status());
          });
    case proto::MAILBOX:
      return FindMailbox(
          call, watch.name(),
          [this, call](LocalMailbox* mailbox) {
            AddWatch(call, Subject::OfMailbox(registry_->node(), mailbox->name, mailbox->id));
          },
          [this, call](const FoundMailbox& found, const std::string& name) {
            AddWatch(call, Subject::OfMailbox(found.node, name, found.id));
          });
    case proto::NODE:
      return WatchNode(call);
    default:
      return Respond(*call, absl::InvalidArgumentError("a watch of nothing"));
  }
}

void LocalService::WatchNode(const CallPtr& call) {
  const std::string& node = call->request.watch().name();
  if (absl::Status status = CheckName("node", node); !status.ok()) return Respond(*call, status);
  if (node == registry_->node()) {
    return Respond(*call, absl::InvalidArgumentError(absl::StrCat(
                              node, " is this process's own node: it cannot outlive it")));
  }
  if (!directory_->HasNode(node)) return Respond(*call, UnknownNode(node));
  // Its answer says that it is reached.
  proto::Request request;
  request.mutable_ping();
  peers_->Call(node, std::move(request), call->deadline,
               [this, call, node](const absl::StatusOr<proto::Reply>& reply) {
                 AddWatch(call, reply.ok() ? absl::StatusOr<Subject>(Subject::OfNode(node))
                                           : reply.status());
               });
}

}  // namespace mailrail
