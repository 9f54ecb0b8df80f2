#include "node/agent/peer_calls.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mailrail {

void PeerCalls::Send(const Pending& pending) {
  proto::Frame frame;
  *frame.mutable_request() = pending.request;
  // If the session went away just now it is sent again when there is a new one.
  carrier_->Send(pending.node, std::move(frame));
}

void PeerCalls::OnPeerUp(const std::string& node) {
  peers_[node].connected = true;
  for (const auto& [id, pending] : pending_) {
    if (pending.node == node) Send(pending);
  }
}

void PeerCalls::OnPeerDown(const std::string& node) { peers_[node].connected = false; }

void PeerCalls::OnReply(const std::string& node, const proto::Reply& reply) {
  const auto pending = pending_.find(reply.id());
  if (pending == pending_.end() || pending->second.node != node) return;
  if (reply.status().code() == 0) {
    Finish(reply.id(), reply);
  } else {
    Finish(reply.id(), absl::Status(static_cast<absl::StatusCode>(reply.status().code()),
                                    reply.status().message()));
  }
}

void PeerCalls::Finish(uint64_t id, absl::StatusOr<proto::Reply> reply) {
  const auto it = pending_.find(id);
  const Callback done = std::move(it->second.done);
  loop_->Cancel(it->second.timer);
  pending_.erase(it);
  done(std::move(reply));
}

void PeerCalls::Call(const std::string& node, proto::Request request, absl::Time deadline,
                     Callback done) {
  if (!peers_.contains(node)) {
    done(absl::NotFoundError(absl::StrCat("there is no node '", node, "' in this cluster")));
    return;
  }
  const uint64_t id = ++last_id_;
  request.set_id(id);
  Pending& pending = pending_[id];
  pending.node = node;
  pending.request = std::move(request);
  pending.done = std::move(done);
  pending.timer = loop_->RunAt(deadline, [this, id, node] {
    const bool connected = peers_[node].connected;
    Finish(id, connected ? absl::DeadlineExceededError(
                               absl::StrCat("node ", node, " did not answer until the deadline"))
                         : absl::UnavailableError(
                               absl::StrCat("node ", node, " was not reached until the deadline")));
  });
  if (peers_[node].connected) Send(pending);
}

std::vector<std::string> PeerCalls::Peers() const {
  std::vector<std::string> names;
  for (const auto& [name, peer] : peers_) names.push_back(name);
  return names;
}

std::vector<std::string> PeerCalls::ConnectedPeers() const {
  std::vector<std::string> names;
  for (const auto& [name, peer] : peers_) {
    if (peer.connected) names.push_back(name);
  }
  return names;
}

}  // namespace mailrail
