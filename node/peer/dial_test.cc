// What a node that dials finds, and makes of it.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "node/peer/relay.h"
#include "node/peer/test_node.h"
#include "proto/peer_service.grpc.pb.h"

namespace mailrail {
namespace {

// Dials as node alpha of cluster "test" and returns the problem with node beta.
absl::Status ProblemOf(const std::string& address, absl::StatusCode code) {
  PeerTransportOptions options = OptionsOf("alpha");
  options.peers["beta"] = address;
  TestNode alpha(options);
  absl::Status why = alpha.handler.AwaitProblem("beta", code);
  EXPECT_TRUE(alpha.handler.events().empty());
  return why;
}

TEST(Dial, OfAnotherClusterIsRefused) {
  PeerTransportOptions options = OptionsOf("beta");
  options.cluster_id = "other";
  TestNode beta(options);
  EXPECT_EQ(ProblemOf(beta.address(), absl::StatusCode::kFailedPrecondition).message(),
            "node alpha belongs to cluster 'test', node beta to cluster 'other'");
  EXPECT_TRUE(beta.handler.events().empty());
}

TEST(Dial, OfAnotherVersionIsRefused) {
  PeerTransportOptions options = OptionsOf("beta");
  options.protocol_version = 2;
  TestNode beta(options);
  EXPECT_EQ(ProblemOf(beta.address(), absl::StatusCode::kUnimplemented).message(),
            "node alpha speaks version 1 of the protocol between agents, node beta version 2");
  EXPECT_TRUE(beta.handler.events().empty());
}

TEST(Dial, OfAnAddressThatLeadsToAnotherNodeIsRefused) {
  TestNode gamma(OptionsOf("gamma"));
  EXPECT_EQ(ProblemOf(gamma.address(), absl::StatusCode::kFailedPrecondition).message(),
            "the address of node beta leads to node gamma");
  EXPECT_TRUE(gamma.handler.events().empty());
}

TEST(Dial, OfItselfIsRefused) {
  TestNode alpha(OptionsOf("alpha"));
  EXPECT_FALSE(ProblemOf(alpha.address(), absl::StatusCode::kFailedPrecondition).ok());
  EXPECT_TRUE(alpha.handler.events().empty());
}

TEST(Dial, OfAPortThatNeverAnswersIsAProblem) {
  TestNode beta(OptionsOf("beta"));
  Relay relay(beta.transport->port());
  relay.FallSilent();
  PeerTransportOptions options = OptionsOf("alpha");
  options.handshake_timeout = absl::Milliseconds(100);
  options.peers["beta"] = absl::StrCat("127.0.0.1:", relay.port());
  TestNode alpha(options);
  EXPECT_FALSE(alpha.handler.AwaitProblem("beta", absl::StatusCode::kUnavailable).ok());
  relay.Resume();
  alpha.handler.AwaitOpen("beta", proto::BULK, true);
}

TEST(Dial, ASilentNetworkIsNoticedByBothAndMended) {
  PeerTransportOptions options = OptionsOf("beta");
  options.keepalive_time = options.keepalive_timeout = absl::Milliseconds(200);
  TestNode beta(options);
  Relay relay(beta.transport->port());
  options.node = "alpha";
  options.peers["beta"] = absl::StrCat("127.0.0.1:", relay.port());
  TestNode alpha(options);
  const auto out = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  const auto in = beta.handler.AwaitOpen("alpha", proto::BULK, false);
  relay.FallSilent();
  EXPECT_TRUE(absl::IsUnavailable(alpha.handler.AwaitClose(*out)));
  EXPECT_TRUE(absl::IsUnavailable(beta.handler.AwaitClose(*in)));
  relay.Resume();
  alpha.handler.AwaitOpen("beta", proto::BULK, true)->Write(proto::Frame());
  beta.handler.AwaitFrames(*beta.handler.AwaitOpen("alpha", proto::BULK, false), 1);
}

// Notes from where each class of session was dialed.
class NotingService final : public proto::PeerLink::Service {
 public:
  grpc::Status Session(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<proto::Envelope, proto::Envelope>* stream) override {
    proto::Envelope hello;
    stream->Read(&hello);
    absl::MutexLock lock(&mu_);
    std::string& remote =
        hello.hello().session_class() == proto::URGENT ? urgent_remote_ : bulk_remote_;
    if (remote.empty()) remote = context->peer();
    // Both streams stay until both are here, so neither can have got the other's port.
    const auto both = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return !bulk_remote_.empty() && !urgent_remote_.empty();
    };
    mu_.Await(absl::Condition(&both));
    return grpc::Status::OK;
  }

  std::pair<std::string, std::string> AwaitBoth() {
    absl::MutexLock lock(&mu_);
    const auto both = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return !bulk_remote_.empty() && !urgent_remote_.empty();
    };
    mu_.Await(absl::Condition(&both));
    return {bulk_remote_, urgent_remote_};
  }

 private:
  absl::Mutex mu_;
  std::string bulk_remote_ ABSL_GUARDED_BY(mu_);
  std::string urgent_remote_ ABSL_GUARDED_BY(mu_);
};

TEST(Dial, BulkAndUrgentSessionsHaveConnectionsOfTheirOwn) {
  NotingService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  PeerTransportOptions options = OptionsOf("alpha");
  options.peers["beta"] = absl::StrCat("127.0.0.1:", port);
  TestNode alpha(options);
  const auto [bulk, urgent] = service.AwaitBoth();
  EXPECT_NE(bulk, urgent);
}

TEST(Dial, OfAServerWithoutTheServiceIsAProblem) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  grpc::CompletionQueue* const needed = builder.AddCompletionQueue().release();
  const auto server = builder.BuildAndStart();
  EXPECT_FALSE(ProblemOf(absl::StrCat("127.0.0.1:", port), absl::StatusCode::kUnimplemented).ok());
  server->Shutdown();
  needed->Shutdown();
  void* tag;
  bool ok;
  while (needed->Next(&tag, &ok)) {
  }
  delete needed;
}

}  // namespace
}  // namespace mailrail
