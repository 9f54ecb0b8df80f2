#ifndef MAILRAIL_NODE_AGENT_PEER_CALLS_H_
#define MAILRAIL_NODE_AGENT_PEER_CALLS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/random/random.h"
#include "node/agent/loop.h"
#include "node/carrier/carrier.h"
#include "node/directory/peer_caller.h"

namespace mailrail {

// Requests to other agents: sends them when the peer is connected, and again after a reconnect,
// until they are answered or their deadline passes; all of them may be repeated. One thread at a
// time: the loop's.
class PeerCalls : public PeerCaller {
 public:
  // Both outlive it.
  PeerCalls(Loop* loop, Carrier* carrier) : loop_(loop), carrier_(carrier) {}

  // A peer that is configured, or has introduced itself.
  void AddPeer(const std::string& node) { peers_.try_emplace(node); }
  void OnPeerUp(const std::string& node);
  void OnPeerDown(const std::string& node);
  void OnReply(const std::string& node, const proto::Reply& reply);

  void Call(const std::string& node, proto::Request request, absl::Time deadline,
            Callback done) override;
  std::vector<std::string> Peers() const override;
  std::vector<std::string> ConnectedPeers() const override;

 private:
  struct Peer {
    bool connected = false;
  };
  struct Pending {
    std::string node;
    proto::Request request;
    Callback done;
    Loop::TimerId timer = 0;
  };
  void Send(const Pending& pending);
  void Finish(uint64_t id, absl::StatusOr<proto::Reply> reply);

  Loop* const loop_;
  Carrier* const carrier_;
  // Not from 0: a reply to an agent before this one may still come.
  uint64_t last_id_ = absl::Uniform<uint64_t>(absl::BitGen());
  std::map<std::string, Peer> peers_;
  std::map<uint64_t, Pending> pending_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_PEER_CALLS_H_
