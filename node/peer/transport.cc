#include "node/peer/transport.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/name.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "node/peer/connection.h"
#include "node/peer/credentials.h"
#include "node/peer/event_loop.h"
#include "node/peer/hub.h"
#include "proto/peer_service.grpc.pb.h"

namespace mailrail {
namespace {

class PeerService final : public proto::PeerLink::CallbackService {
 public:
  explicit PeerService(Hub* hub) : hub_(hub) {}

  grpc::ServerBidiReactor<proto::Envelope, proto::Envelope>* Session(
      grpc::CallbackServerContext* context) override {
    return hub_->Accept(context);
  }

 private:
  Hub* const hub_;
};

// gRPC has these for all servers of a process or for none.
void EnableStandardServices() {
  static const bool enabled = [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  static_cast<void>(enabled);
}

absl::Status CheckPeerAddress(absl::string_view node, absl::string_view address) {
  if (absl::Status named = CheckName("node", node); !named.ok()) return named;
  if (address.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("node ", node, " has no address"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<PeerTransport>> PeerTransport::Start(PeerTransportOptions options,
                                                                    SessionHandler* handler) {
  if (absl::Status named = CheckName("node", options.node); !named.ok()) return named;
  if (options.cluster_id.empty()) return absl::InvalidArgumentError("the cluster has no id");
  if (options.max_message_bytes > std::numeric_limits<int>::max()) {
    return absl::InvalidArgumentError("gRPC has no messages of 2 GiB or more");
  }
  for (const auto& [node, address] : options.peers) {
    if (absl::Status peer = CheckPeerAddress(node, address); !peer.ok()) return peer;
  }
  std::unique_ptr<PeerTransport> transport(new PeerTransport);
  transport->loop_ = std::make_unique<EventLoop>();
  transport->hub_ = std::make_unique<Hub>(std::move(options), handler, transport->loop_.get());
  const PeerTransportOptions& kept = transport->hub_->options();
  if (!kept.listen_address.empty()) {
    if (absl::Status listening = transport->Listen(kept); !listening.ok()) return listening;
    transport->hub_->SetPort(transport->port_);
  }
  for (const auto& [node, address] : kept.peers) transport->hub_->AddPeer(node, address);
  // Peers may have dialed already: what they said waits for the loop to start.
  transport->loop_->Start();
  transport->started_ = true;
  return transport;
}

PeerTransport::PeerTransport() = default;

PeerTransport::~PeerTransport() {
  if (started_) Shutdown(absl::InfinitePast());
}

absl::Status PeerTransport::Listen(const PeerTransportOptions& options) {
  EnableStandardServices();
  service_ = std::make_unique<PeerService>(hub_.get());
  grpc::ServerBuilder builder;
  ConfigurePeerServer(options, &builder);
  builder.AddListeningPort(options.listen_address, PeerServerCredentials(), &port_);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen_address));
  }
  return absl::OkStatus();
}

absl::Status PeerTransport::AddPeer(absl::string_view node, absl::string_view address) {
  if (absl::Status peer = CheckPeerAddress(node, address); !peer.ok()) return peer;
  hub_->AddPeer(std::string(node), std::string(address));
  return absl::OkStatus();
}

void PeerTransport::AnnounceStop() {
  if (server_ != nullptr) server_->GetHealthCheckService()->SetServingStatus(false);
}

void PeerTransport::Shutdown(absl::Time deadline) {
  AnnounceStop();
  hub_->Drain();
  hub_->AwaitNoStreams(deadline);
  hub_->CloseAll();
  if (server_ != nullptr) {
    // Ends, too, what others have open on the port, such as a watch of the health service.
    server_->Shutdown(absl::ToChronoTime(absl::UnixEpoch()));
    server_->Wait();
    server_.reset();
  }
  hub_->AwaitNoStreams(absl::InfiniteFuture());
  loop_->Stop();
}

std::vector<PeerStatus> PeerTransport::Peers() const { return hub_->Peers(); }

}  // namespace mailrail
