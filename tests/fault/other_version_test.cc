// A peer that speaks another version of the protocol between agents is named to whoever asks the
// agent for its nodes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "proto/peer_service.grpc.pb.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"
#include "tests/support/program.h"

namespace mailrail {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kOurVersion = 1;

// An agent of version 2, as far as its first word goes: it answers whoever dials, politely or not.
class AgentOfVersion2 final : public proto::PeerLink::Service {
 public:
  explicit AgentOfVersion2(bool refuses) : refuses_(refuses) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~AgentOfVersion2() override { server_->Shutdown(absl::ToChronoTime(absl::Now())); }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

  grpc::Status Session(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<proto::Envelope, proto::Envelope>* stream) override {
    proto::Envelope heard;
    if (!stream->Read(&heard)) return grpc::Status::OK;
    EXPECT_EQ(heard.hello().protocol_version(), kOurVersion);
    proto::Envelope answer;
    if (refuses_) {
      proto::StatusInfo* status = answer.mutable_refusal()->mutable_status();
      status->set_code(static_cast<int>(absl::StatusCode::kUnimplemented));
      status->set_message("node alpha speaks version 1, node beta version 2");
    } else {
      *answer.mutable_hello() = heard.hello();
      answer.mutable_hello()->set_node("beta");
      answer.mutable_hello()->set_protocol_version(kOurVersion + 1);
    }
    stream->Write(answer);
    // Until the dialer hangs up.
    while (stream->Read(&heard)) {
    }
    return grpc::Status::OK;
  }

 private:
  const bool refuses_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// What `mailrail nodes` prints of beta, once it says why it is not connected.
std::string RowOf(const Cluster& cluster, const std::string& format) {
  std::string row;
  Eventually([&] {
    const ProgramRun run =
        RunMailrail({"nodes", "-o", format, "--socket", cluster.Socket("alpha")});
    const size_t begin = run.output.find("beta");
    if (run.exit_code != 0 || begin == std::string::npos) return false;
    row = run.output.substr(begin);
    return row.find("version") != std::string::npos;
  });
  return row;
}

class OtherVersionTest : public ::testing::TestWithParam<bool> {};

TEST_P(OtherVersionTest, NodesSaysInWordsThatAPeerSpeaksAnotherVersion) {
  const AgentOfVersion2 beta(/*refuses=*/GetParam());
  const auto cluster =
      Cluster::Start({"alpha"}, Agents::kKept, {"--peer", absl::StrCat("beta=", beta.address())});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const std::string text = RowOf(**cluster, "text");
  EXPECT_THAT(text, HasSubstr("not connected"));
  EXPECT_THAT(text, HasSubstr("version 1"));
  EXPECT_THAT(text, HasSubstr("version 2"));
  const std::string json = RowOf(**cluster, "json");
  EXPECT_THAT(json, HasSubstr("\"connected\": false"));
  EXPECT_THAT(json, HasSubstr("version 2"));
}

INSTANTIATE_TEST_SUITE_P(WhoeverRefuses, OtherVersionTest, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "ThePeer" : "ThisAgent"; });

}  // namespace
}  // namespace mailrail
