#include "node/cli/agent_client.h"

#include <utility>

#include "core/process/find_agent.h"

namespace mailrail::cli {
namespace {

using internal::AgentReply;

constexpr absl::Duration kListTimeout = absl::Seconds(10);

// Who has not attached is told nothing unasked that matters here.
class IgnoreNotices : public internal::AgentConnection::NoticeHandler {
 public:
  absl::Status OnNotice(const control::Notice&, std::vector<Fd>) override {
    return absl::OkStatus();
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<AgentClient>> AgentClient::Connect(const AttachOptions& options) {
  std::unique_ptr<AgentClient> client(new AgentClient(options));
  if (absl::Status status = client->Reconnect(); !status.ok()) return status;
  return client;
}

absl::Status AgentClient::Reconnect() {
  static IgnoreNotices ignore_notices;
  absl::StatusOr<Fd> socket = internal::ConnectToAgent(options_);
  if (!socket.ok()) return socket.status();
  connection_ = std::make_unique<internal::AgentConnection>(*std::move(socket), &ignore_notices);
  return absl::OkStatus();
}

absl::StatusOr<AgentReply> AgentClient::Call(const control::Request& request, Repeat repeat,
                                             absl::Time deadline, absl::Span<const int> fds) {
  absl::StatusOr<AgentReply> reply = connection_->Call(request, deadline, fds);
  if (reply.ok() || connection_->connected()) return reply;
  if (repeat == Repeat::kMustNot) {
    return absl::UnavailableError(
        "the agent went away before it answered; look whether it was done, then try again");
  }
  if (absl::Status status = Reconnect(); !status.ok()) return status;
  reply = connection_->Call(request, deadline, fds);
  if (reply.ok() || connection_->connected()) return reply;
  return absl::UnavailableError("the agent went away before it answered; try again");
}

absl::StatusOr<control::Listing> AgentClient::List(control::ListKind kind,
                                                   const std::string& name) {
  const absl::Time deadline = absl::Now() + kListTimeout;
  control::Listing all;
  do {
    control::Request request;
    request.mutable_list()->set_kind(kind);
    request.mutable_list()->set_name(name);
    request.mutable_list()->set_after(all.next());
    absl::StatusOr<AgentReply> reply = Call(request, Repeat::kMay, deadline);
    if (!reply.ok()) return reply.status();
    all.clear_next();
    all.MergeFrom(reply->response.listing());
  } while (!all.next().empty());
  return all;
}

absl::StatusOr<std::string> AgentClient::Node() {
  absl::StatusOr<control::Listing> nodes = List(control::NODES);
  if (!nodes.ok()) return nodes.status();
  for (const control::NodeRow& row : nodes->nodes()) {
    if (row.self()) return row.node();
  }
  return absl::InternalError("the agent does not know its own node");
}

}  // namespace mailrail::cli
