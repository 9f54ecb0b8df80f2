// What strangers, tools and faulty peers find on an agent's port.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/channel.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "gtest/gtest.h"
#include "node/peer/handshake.h"
#include "node/peer/test_node.h"
#include "proto/peer_service.grpc.pb.h"

namespace mailrail {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A call as a stranger would make it, on a connection of its own.
class RawCall {
 public:
  explicit RawCall(int port) : channel_(ConnectTo(port)) {
    stream_ = proto::PeerLink::NewStub(channel_)->Session(&context_);
  }
  explicit RawCall(std::shared_ptr<grpc::Channel> channel) : channel_(std::move(channel)) {
    stream_ = proto::PeerLink::NewStub(channel_)->Session(&context_);
  }
  ~RawCall() {
    if (stream_ == nullptr) return;
    context_.TryCancel();
    stream_->Finish();
  }

  static std::shared_ptr<grpc::Channel> ConnectTo(int port) {
    grpc::ChannelArguments args;
    args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port),
                                     grpc::InsecureChannelCredentials(), args);
  }

  void SayHello(const PeerTransportOptions& node, proto::SessionClass session_class) {
    proto::Envelope message;
    *message.mutable_hello() = MakeHello(node, session_class);
    stream_->Write(message);
  }
  void Write(const proto::Envelope& message) { stream_->Write(message); }
  bool Read(proto::Envelope* message) { return stream_->Read(message); }
  void WritesDone() { stream_->WritesDone(); }

  grpc::Status Finish() {
    proto::Envelope ignored;
    while (stream_->Read(&ignored)) {
    }
    const grpc::Status status = stream_->Finish();
    stream_.reset();
    return status;
  }

 private:
  grpc::ClientContext context_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::ClientReaderWriter<proto::Envelope, proto::Envelope>> stream_;
};

// A node whose port is tried.
class Port : public ::testing::Test {
 protected:
  Port() { Start(OptionsOf("alpha")); }

  void Start(PeerTransportOptions options) {
    transport_.reset();
    auto started = PeerTransport::Start(std::move(options), &handler_);
    ASSERT_TRUE(started.ok()) << started.status();
    transport_ = *std::move(started);
  }

  // That a rightful peer still gets through.
  void ExpectPeersAreServed() {
    PeerTransportOptions options = OptionsOf("beta");
    options.peers["alpha"] = absl::StrCat("127.0.0.1:", transport_->port());
    TestNode beta(options);
    beta.handler.AwaitOpen("alpha", proto::BULK, true);
  }

  // Sends one message to any method and returns the first answer; if there is none, "" and why.
  std::string CallOnce(const std::string& method, const std::string& request, grpc::Status* status);

  RecordingHandler handler_;
  std::unique_ptr<PeerTransport> transport_;
};

std::string Port::CallOnce(const std::string& method, const std::string& request,
                           grpc::Status* status) {
  grpc::GenericStub stub(RawCall::ConnectTo(transport_->port()));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto stream = stub.PrepareCall(&context, method, &queue);
  const auto next = [&] {
    void* tag;
    bool ok = false;
    EXPECT_TRUE(queue.Next(&tag, &ok));
    return ok;
  };
  stream->StartCall(nullptr);
  next();
  const grpc::Slice slice(request);
  stream->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  next();
  grpc::ByteBuffer answer;
  stream->Read(&answer, nullptr);
  const bool answered = next();
  stream->WritesDone(nullptr);
  next();
  if (!answered) {
    stream->Finish(status, nullptr);
    next();
    return "";
  }
  *status = grpc::Status::OK;
  context.TryCancel();
  grpc::Status ignored;
  stream->Finish(&ignored, nullptr);
  next();
  grpc::Slice whole;
  EXPECT_TRUE(answer.DumpToSingleSlice(&whole).ok());
  return std::string(reinterpret_cast<const char*>(whole.begin()), whole.size());
}

TEST_F(Port, SaysThatItIsServing) {
  grpc::Status status;
  // A HealthCheckResponse whose first field, the status, is SERVING, 1.
  EXPECT_EQ(CallOnce("/grpc.health.v1.Health/Check", "", &status), "\x08\x01");
}

TEST_F(Port, SaysThatItIsNotServingOnceItsStopIsAnnouncedAndServesOn) {
  transport_->AnnounceStop();
  grpc::Status status;
  // NOT_SERVING, 2.
  EXPECT_EQ(CallOnce("/grpc.health.v1.Health/Check", "", &status), "\x08\x02");
  ExpectPeersAreServed();
}

TEST_F(Port, ListsItsServices) {
  grpc::Status status;
  // A ServerReflectionRequest whose field 7, list_services, is "*".
  const std::string services = CallOnce(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "\x3a\x01*", &status);
  EXPECT_THAT(services, HasSubstr("mailrail.proto.PeerLink"));
  EXPECT_THAT(services, HasSubstr("grpc.health.v1.Health"));
}

TEST_F(Port, RefusesOtherCalls) {
  grpc::Status status;
  EXPECT_EQ(CallOnce("/mailrail.proto.PeerLink/NoSuchCall", "", &status), "");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  ExpectPeersAreServed();
}

TEST_F(Port, SurvivesGarbageBytes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 50; ++i) {
    std::string garbage = i % 2 == 0 ? "" : "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (size_t n = random() % 4096; n > 0; --n) garbage.push_back(static_cast<char>(random()));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(transport_->port()));
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_GE(send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL), 0);
    close(fd);
  }
  ExpectPeersAreServed();
}

TEST_F(Port, SurvivesGarbageMessages) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 50; ++i) {
    std::string garbage;
    for (size_t n = random() % 256; n > 0; --n) garbage.push_back(static_cast<char>(random()));
    grpc::Status status;
    CallOnce("/mailrail.proto.PeerLink/Session", garbage, &status);
  }
  ExpectPeersAreServed();
}

TEST_F(Port, EndsAStreamThatSaysNoHello) {
  PeerTransportOptions options = OptionsOf("alpha");
  options.handshake_timeout = absl::Milliseconds(100);
  Start(options);
  RawCall call(transport_->port());
  const grpc::Status status = call.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(status.error_message(), "no Hello within 100ms");
}

TEST_F(Port, LimitsTheStreamsThatSayNoHello) {
  std::vector<std::unique_ptr<RawCall>> calls;
  constexpr int kConnections = 10;
  constexpr int kStreams = 30;
  for (int i = 0; i < kConnections; ++i) {
    const auto channel = RawCall::ConnectTo(transport_->port());
    for (int j = 0; j < kStreams; ++j) calls.push_back(std::make_unique<RawCall>(channel));
  }
  // Which of them are refused depends on the order in which they came.
  int refused = 0;
  for (const auto& call : calls) {
    call->WritesDone();
    if (call->Finish().error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) ++refused;
  }
  EXPECT_GT(refused, 0);
  ExpectPeersAreServed();
}

TEST_F(Port, RefusesAFirstMessageThatIsNoHello) {
  RawCall call(transport_->port());
  proto::Envelope message;
  message.mutable_batch()->add_frames();
  call.Write(message);
  ASSERT_TRUE(call.Read(&message));
  EXPECT_EQ(message.refusal().status().code(),
            static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_FALSE(call.Read(&message));
}

TEST_F(Port, ClosesASessionThatSaysHelloTwice) {
  RawCall call(transport_->port());
  call.SayHello(OptionsOf("beta"), proto::BULK);
  proto::Envelope message;
  ASSERT_TRUE(call.Read(&message));
  EXPECT_EQ(message.hello().node(), "alpha");
  const auto session = handler_.AwaitOpen("beta", proto::BULK, false);
  call.SayHello(OptionsOf("beta"), proto::BULK);
  EXPECT_FALSE(call.Read(&message));
  EXPECT_TRUE(absl::IsInvalidArgument(handler_.AwaitClose(*session)));
}

TEST_F(Port, ADialerThatHangsUpInGoodOrderGetsWhatIsQueued) {
  RawCall call(transport_->port());
  call.SayHello(OptionsOf("beta"), proto::BULK);
  const auto session = handler_.AwaitOpen("beta", proto::BULK, false);
  // More than HTTP/2 lets through before the dialer reads.
  constexpr int kFrames = 30;
  for (int i = 0; i < kFrames; ++i) {
    proto::Frame frame;
    frame.mutable_data()->set_records(std::string(8 << 10, 'x'));
    session->Write(std::move(frame));
  }
  call.WritesDone();
  proto::Envelope message;
  ASSERT_TRUE(call.Read(&message));
  int frames = 0;
  while (call.Read(&message)) frames += message.batch().frames_size();
  EXPECT_EQ(frames, kFrames);
  EXPECT_TRUE(call.Finish().ok());
  EXPECT_TRUE(absl::IsUnavailable(handler_.AwaitClose(*session)));
}

TEST_F(Port, ANewerSessionTakesThePlaceOfTheOlder) {
  RawCall older(transport_->port());
  older.SayHello(OptionsOf("beta"), proto::BULK);
  handler_.AwaitOpen("beta", proto::BULK, false);
  RawCall newer(transport_->port());
  newer.SayHello(OptionsOf("beta"), proto::BULK);
  proto::Envelope message;
  ASSERT_TRUE(newer.Read(&message));
  EXPECT_FALSE(older.Finish().ok());
  handler_.AwaitOpen("beta", proto::BULK, false)->Write(proto::Frame());
  ASSERT_TRUE(newer.Read(&message));
  EXPECT_THAT(handler_.events(), ElementsAre("open beta.1 bulk from", "close beta.1 bulk from",
                                             "open beta.1 bulk from"));
}

TEST_F(Port, ANewIncarnationClosesAllSessionsOfTheOldOne) {
  PeerTransportOptions beta = OptionsOf("beta");
  RawCall bulk(transport_->port());
  bulk.SayHello(beta, proto::BULK);
  handler_.AwaitOpen("beta", proto::BULK, false);
  RawCall urgent(transport_->port());
  urgent.SayHello(beta, proto::URGENT);
  const auto old = handler_.AwaitOpen("beta", proto::URGENT, false);
  beta.node_incarnation = 2;
  RawCall anew(transport_->port());
  anew.SayHello(beta, proto::BULK);
  proto::Envelope message;
  ASSERT_TRUE(anew.Read(&message));
  EXPECT_EQ(handler_.AwaitClose(*old),
            absl::UnavailableError("node beta started anew: incarnation 2 follows 1"));
  EXPECT_EQ(handler_.AwaitOpen("beta", proto::BULK, false)->peer_incarnation(), 2u);
  const std::vector<std::string> events = handler_.events();
  ASSERT_EQ(events.size(), 5u);
  EXPECT_TRUE(absl::StartsWith(events[2], "close beta.1"));
  EXPECT_TRUE(absl::StartsWith(events[3], "close beta.1"));
  EXPECT_EQ(events[4], "open beta.2 bulk from");
}

}  // namespace
}  // namespace mailrail
