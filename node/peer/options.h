#ifndef MAILRAIL_NODE_PEER_OPTIONS_H_
#define MAILRAIL_NODE_PEER_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace mailrail {

// The version of proto/peer.proto. Two agents talk only if theirs are equal.
inline constexpr uint32_t kProtocolVersion = 1;

// Who this node is to its peers, whom it dials, and how patient it is.
struct PeerTransportOptions {
  std::string cluster_id;
  std::string node;
  uint64_t node_incarnation = 0;
  uint32_t protocol_version = kProtocolVersion;

  // "HOST:PORT"; port 0 lets the system choose. Empty: peers are dialed, none can dial us.
  std::string listen_address;
  // Where peers that do not know us can dial back; empty: nowhere. Port 0 stands for the port that
  // was chosen for `listen_address`.
  std::string advertised_address;
  // Node name to "HOST:PORT". This node's own name may be among them, and is skipped.
  std::map<std::string, std::string> peers;
  // Whether a peer that is not among `peers` is dialed at the address that its Hello advertises,
  // as long as it has sessions with us.
  bool dial_back = true;

  // The largest Batch on the wire: the largest message body, and slack for what is around it.
  size_t max_message_bytes = (size_t{128} << 20) + (size_t{1} << 20);

  // Between dials that failed: doubled from the minimum to the maximum, with jitter. A session
  // that lasted for the maximum starts again from the minimum; a refusal waits for the maximum.
  absl::Duration backoff_min = absl::Milliseconds(50);
  absl::Duration backoff_max = absl::Seconds(2);
  // How long a stream may take to its first message, connecting included.
  absl::Duration handshake_timeout = absl::Seconds(5);
  // A connection that has been silent for `keepalive_time` is asked for a sign of life. A
  // connection on which such a question, or data, is unanswered for `keepalive_timeout` is lost.
  absl::Duration keepalive_time = absl::Seconds(10);
  absl::Duration keepalive_timeout = absl::Seconds(5);

  // Gets one line without a newline for each change of state; called from one thread at a time.
  std::function<void(absl::string_view)> log = [](absl::string_view) {};
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_OPTIONS_H_
