#ifndef MAILRAIL_NODE_PEER_TRANSPORT_H_
#define MAILRAIL_NODE_PEER_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "node/peer/options.h"
#include "node/peer/session.h"

namespace grpc {
class Server;
class ServerBuilder;
class ServerCompletionQueue;
}  // namespace grpc

namespace mailrail {

class Completions;
class EventLoop;
class HealthService;
class Hub;
class PeerService;

// What is known of one peer.
struct PeerStatus {
  std::string node;
  // Where it is dialed; empty when it is not.
  std::string address;
  // Whether both sessions that we dial, bulk and urgent, are open.
  bool connected = false;
  // How many sessions are open: two that we dialed and two that it dialed are all.
  int open_sessions = 0;
  // The latest known; 0 when there has been no session yet.
  uint64_t incarnation = 0;
  // Why it is not connected, or OK.
  absl::Status last_error;
};

// The transport between agents: it keeps two sessions with each peer that it dials, one for bulk
// and one for urgent traffic, each on a connection of its own, and takes those that peers dial. It
// knows nothing of what the frames mean. On the same port it answers the standard health service
// and server reflection. Thread-safe; must not be destroyed, nor shut down, from a handler's call.
class PeerTransport {
 public:
  // Listens, and dials the peers from now on. The handler may be called before this returns, and
  // must outlive the transport.
  //   kInvalidArgument  a node's name, the cluster's or an address is not well-formed
  //   kUnavailable      the address cannot be listened on
  static absl::StatusOr<std::unique_ptr<PeerTransport>> Start(PeerTransportOptions options,
                                                              SessionHandler* handler);

  // Shuts down without waiting for what is queued.
  ~PeerTransport();

  PeerTransport(const PeerTransport&) = delete;
  PeerTransport& operator=(const PeerTransport&) = delete;

  // Dials `node` at `address` from now on; a known peer has that address from its next dial on.
  // kInvalidArgument.
  absl::Status AddPeer(absl::string_view node, absl::string_view address);

  // A stop is coming: the health service says so from now on. All else goes on as before.
  void AnnounceStop();

  // Sends what is queued, as far as that is done by `deadline`, and ends every session. Each has
  // had its OnClose when this returns, and the handler is not called any more. One thread only.
  void Shutdown(absl::Time deadline);

  // Every peer that is dialed or has sessions, by name.
  std::vector<PeerStatus> Peers() const;

  // The port that is listened on; 0 when none is.
  int port() const { return port_; }

 private:
  PeerTransport();

  absl::Status Listen(const PeerTransportOptions& options, grpc::ServerBuilder* builder,
                      grpc::ServerCompletionQueue* queue);

  // The hub uses the loop, the server the services, one of which the hub, and all of them the
  // completions, which end before the hub does.
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<PeerService> service_;
  std::unique_ptr<HealthService> health_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Completions> completions_;
  int port_ = 0;
  bool started_ = false;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_TRANSPORT_H_
