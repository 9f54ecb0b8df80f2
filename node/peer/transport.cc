#include "node/peer/transport.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/name.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "node/peer/completions.h"
#include "node/peer/connection.h"
#include "node/peer/credentials.h"
#include "node/peer/event_loop.h"
#include "node/peer/health_service.h"
#include "node/peer/hub.h"
#include "node/peer/streams.h"
#include "proto/peer_service.grpc.pb.h"

namespace mailrail {

// Takes the calls of peers, one after another.
class PeerService {
 public:
  PeerService(Hub* hub, grpc::ServerCompletionQueue* queue) : hub_(hub), queue_(queue) {}

  grpc::Service* service() { return &service_; }

  // Takes calls until the server is shut down; before the hub's loop has ended.
  void Start() {
    next_ = hub_->NewAccepted();
    next_->Await(&service_, queue_, &called_);
  }

 private:
  void OnCall(bool ok) {
    if (!ok) return next_.reset();
    const std::shared_ptr<AcceptedStream> stream = std::move(next_);
    Start();
    hub_->Accept(stream);
  }

  Hub* const hub_;
  grpc::ServerCompletionQueue* const queue_;
  proto::PeerLink::AsyncService service_;
  CompletionOf<PeerService, &PeerService::OnCall> called_{this};
  std::shared_ptr<AcceptedStream> next_;
};

namespace {

// gRPC has it for all servers of a process or for none.
void EnableReflection() {
  static const bool enabled = [] {
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
  // What peers call on and what we dial are served by one thread, of one queue.
  const bool listens = !options.listen_address.empty();
  grpc::ServerBuilder builder;
  grpc::ServerCompletionQueue* server_queue = nullptr;
  std::unique_ptr<grpc::CompletionQueue> queue;
  if (listens) {
    EnableReflection();
    auto servers = builder.AddCompletionQueue();
    server_queue = servers.get();
    queue = std::move(servers);
  } else {
    queue = std::make_unique<grpc::CompletionQueue>();
  }
  transport->hub_ =
      std::make_unique<Hub>(std::move(options), handler, transport->loop_.get(), queue.get());
  transport->completions_ = std::make_unique<Completions>(std::move(queue));
  const PeerTransportOptions& kept = transport->hub_->options();
  if (listens) {
    if (absl::Status status = transport->Listen(kept, &builder, server_queue); !status.ok()) {
      return status;
    }
    transport->hub_->SetPort(transport->port_);
    transport->service_->Start();
    transport->health_->Start();
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

absl::Status PeerTransport::Listen(const PeerTransportOptions& options,
                                   grpc::ServerBuilder* builder,
                                   grpc::ServerCompletionQueue* queue) {
  service_ = std::make_unique<PeerService>(hub_.get(), queue);
  health_ = std::make_unique<HealthService>(queue);
  ConfigurePeerServer(options, builder);
  builder->AddListeningPort(options.listen_address, PeerServerCredentials(), &port_);
  builder->RegisterService(service_->service());
  builder->RegisterService(health_->service());
  server_ = builder->BuildAndStart();
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
  if (health_ != nullptr) health_->AnnounceStop();
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
  }
  hub_->AwaitNoStreams(absl::InfiniteFuture());
  // The server's last words are taken from its queue before it goes.
  completions_.reset();
  server_.reset();
  loop_->Stop();
}

std::vector<PeerStatus> PeerTransport::Peers() const { return hub_->Peers(); }

}  // namespace mailrail
