#include "node/peer/handshake.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/name.h"

namespace mailrail {
namespace {

constexpr size_t kMaxQuotedBytes = 400;

// What a peer said, fit for a line of a log.
std::string Quoted(absl::string_view text) {
  std::string quoted(text.substr(0, kMaxQuotedBytes));
  for (char& c : quoted) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return quoted;
}

// What is demanded of a Hello of either side.
absl::Status CheckPeer(const PeerTransportOptions& self, const proto::Hello& peer) {
  // The version first: of another version nothing else may mean what it seems to.
  if (peer.protocol_version() != self.protocol_version) {
    return absl::UnimplementedError(absl::StrCat(
        "node ", Quoted(peer.node()), " speaks version ", peer.protocol_version(),
        " of the protocol between agents, node ", self.node, " version ", self.protocol_version));
  }
  if (absl::Status named = CheckName("node", peer.node()); !named.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the peer's node name '", Quoted(peer.node()), "' is not well-formed"));
  }
  if (peer.cluster_id() != self.cluster_id) {
    return absl::FailedPreconditionError(
        absl::StrCat("node ", peer.node(), " belongs to cluster '", Quoted(peer.cluster_id()),
                     "', node ", self.node, " to cluster '", self.cluster_id, "'"));
  }
  if (peer.node() == self.node) {
    return absl::FailedPreconditionError(
        absl::StrCat("node ", self.node, " met a node of its own name, '", peer.node(),
                     "': its own address is among its peers', or two nodes have one name"));
  }
  if (!proto::SessionClass_IsValid(peer.session_class())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "node ", peer.node(), " asked for the unknown session class ", peer.session_class()));
  }
  return absl::OkStatus();
}

absl::Status NotTheDialedNode(absl::string_view dialed, absl::string_view found) {
  return absl::FailedPreconditionError(
      absl::StrCat("the address of node ", Quoted(dialed), " leads to node ", found));
}

}  // namespace

proto::Hello MakeHello(const PeerTransportOptions& self, proto::SessionClass session_class) {
  proto::Hello hello;
  hello.set_cluster_id(self.cluster_id);
  hello.set_node(self.node);
  hello.set_node_incarnation(self.node_incarnation);
  hello.set_protocol_version(self.protocol_version);
  hello.set_session_class(session_class);
  hello.set_advertised_address(self.advertised_address);
  return hello;
}

absl::Status CheckHello(const PeerTransportOptions& self, absl::string_view dialed_node,
                        const proto::Envelope& message) {
  if (!message.has_hello()) {
    return absl::InvalidArgumentError("the first message of a session was not a Hello");
  }
  if (absl::Status peer = CheckPeer(self, message.hello()); !peer.ok()) return peer;
  if (!dialed_node.empty() && dialed_node != self.node) {
    return NotTheDialedNode(dialed_node, self.node);
  }
  return absl::OkStatus();
}

absl::Status CheckAnswer(const PeerTransportOptions& self, absl::string_view node,
                         proto::SessionClass session_class, const proto::Envelope& message) {
  if (message.has_refusal()) return RefusalStatus(message.refusal());
  if (!message.has_hello()) {
    return absl::InvalidArgumentError("the peer answered neither with a Hello nor a Refusal");
  }
  if (absl::Status peer = CheckPeer(self, message.hello()); !peer.ok()) return peer;
  if (message.hello().node() != node) return NotTheDialedNode(node, message.hello().node());
  if (message.hello().session_class() != session_class) {
    return absl::InvalidArgumentError(
        absl::StrCat("node ", node, " answered with another session class than was asked for"));
  }
  return absl::OkStatus();
}

proto::Refusal MakeRefusal(const absl::Status& why) {
  proto::Refusal refusal;
  refusal.mutable_status()->set_code(static_cast<int>(why.code()));
  refusal.mutable_status()->set_message(std::string(why.message()));
  return refusal;
}

absl::Status RefusalStatus(const proto::Refusal& refusal) {
  int code = refusal.status().code();
  if (code <= static_cast<int>(absl::StatusCode::kOk) ||
      code > static_cast<int>(absl::StatusCode::kUnauthenticated)) {
    code = static_cast<int>(absl::StatusCode::kUnknown);
  }
  return absl::Status(static_cast<absl::StatusCode>(code), Quoted(refusal.status().message()));
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace mailrail
