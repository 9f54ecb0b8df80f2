#ifndef MAILRAIL_NODE_DIRECTORY_PEER_CALLER_H_
#define MAILRAIL_NODE_DIRECTORY_PEER_CALLER_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/peer.pb.h"

namespace mailrail {

// Asks the agents of other nodes. One thread at a time: the agent's loop.
class PeerCaller {
 public:
  virtual ~PeerCaller() = default;

  // `done` gets the peer's reply, or what it failed with: kNotFound for a node that is not
  // configured, kUnavailable when it is not reached until the deadline (a call waits for the
  // connection), kDeadlineExceeded when it does not answer.
  using Callback = std::function<void(absl::StatusOr<proto::Reply>)>;
  virtual void Call(const std::string& node, proto::Request request, absl::Time deadline,
                    Callback done) = 0;

  // The names of all peers, or of those that are connected now.
  virtual std::vector<std::string> Peers() const = 0;
  virtual std::vector<std::string> ConnectedPeers() const = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_DIRECTORY_PEER_CALLER_H_
