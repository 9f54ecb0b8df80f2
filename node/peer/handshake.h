#ifndef MAILRAIL_NODE_PEER_HANDSHAKE_H_
#define MAILRAIL_NODE_PEER_HANDSHAKE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grpcpp/support/status.h"
#include "node/peer/options.h"
#include "proto/peer.pb.h"

// The first message of either side of a stream, and what is demanded of it. A peer may send
// anything; what a status quotes of it is cut and has its control characters replaced, so that it
// is fit for a log.
//
// Every check gives OK or
//   kInvalidArgument     the message is not well-formed
//   kUnimplemented       the peer speaks another version of the protocol
//   kFailedPrecondition  the peer is of another cluster, is this node itself, or is another node
//                        than was dialed
namespace mailrail {

// The request metadata in which a dialer says which node it means to reach. A node that has
// another name refuses before the session could take the place of a rightful one.
inline constexpr char kDialedNodeKey[] = "mailrail-dialed-node";

// What this node says of itself.
proto::Hello MakeHello(const PeerTransportOptions& self, proto::SessionClass session_class);

// Whether `message`, the first of a peer that dialed `dialed_node` (empty: it did not say), may be
// answered by a Hello.
absl::Status CheckHello(const PeerTransportOptions& self, absl::string_view dialed_node,
                        const proto::Envelope& message);

// Whether `message`, the answer of the peer that was dialed as `node`, opens the session. If it is
// a Refusal, that is the result.
absl::Status CheckAnswer(const PeerTransportOptions& self, absl::string_view node,
                         proto::SessionClass session_class, const proto::Envelope& message);

// REQUIRES: `why` is not OK.
proto::Refusal MakeRefusal(const absl::Status& why);
// What a Refusal says; never OK, whatever the peer sent.
absl::Status RefusalStatus(const proto::Refusal& refusal);

// The two kinds of status have the same codes.
grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_HANDSHAKE_H_
