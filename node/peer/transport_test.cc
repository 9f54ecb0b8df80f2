#include "node/peer/transport.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/base/fd.h"
#include "gtest/gtest.h"
#include "node/peer/test_node.h"

namespace mailrail {
namespace {

proto::Frame NumberedFrame(uint64_t number, size_t body_bytes = 0) {
  proto::Frame frame;
  frame.mutable_data()->set_first_sequence(number);
  frame.mutable_data()->set_records(std::string(body_bytes, static_cast<char>('a' + number % 26)));
  return frame;
}

// A port at which nobody listens, and which nobody else is given.
class SilentPort {
 public:
  SilentPort() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  }
  const std::string& address() const { return address_; }
  // Leaves the port to another.
  void Release() { socket_.Reset(); }

 private:
  Fd socket_;
  std::string address_;
};

// Two nodes, of which alpha dials beta.
class TwoNodes : public ::testing::Test {
 protected:
  TwoNodes() : beta(OptionsOf("beta")), alpha(DialingBeta()) {}

  PeerTransportOptions DialingBeta() {
    PeerTransportOptions options = OptionsOf("alpha");
    options.peers["beta"] = beta.address();
    return options;
  }

  TestNode beta;
  TestNode alpha;
};

TEST_F(TwoNodes, OpenSessionsOfBothClassesBothWays) {
  ASSERT_TRUE(beta.transport->AddPeer("alpha", alpha.address()).ok());
  for (const auto session_class : {proto::BULK, proto::URGENT}) {
    for (const bool dialed : {true, false}) {
      const auto session = alpha.handler.AwaitOpen("beta", session_class, dialed);
      EXPECT_EQ(session->peer_node(), "beta");
      EXPECT_EQ(session->peer_incarnation(), 1u);
      beta.handler.AwaitOpen("alpha", session_class, dialed);
    }
  }
  const std::vector<PeerStatus> peers = alpha.transport->Peers();
  ASSERT_EQ(peers.size(), 1u);
  EXPECT_EQ(peers[0].node, "beta");
  EXPECT_EQ(peers[0].address, beta.address());
  EXPECT_TRUE(peers[0].connected);
  EXPECT_EQ(peers[0].open_sessions, 4);
  EXPECT_EQ(peers[0].incarnation, 1u);
  EXPECT_TRUE(peers[0].last_error.ok());
}

TEST_F(TwoNodes, CarryFramesInOrderBothWays) {
  const auto out = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  const auto in = beta.handler.AwaitOpen("alpha", proto::BULK, false);
  constexpr uint64_t kFrames = 1000;
  for (uint64_t i = 0; i < kFrames; ++i) {
    out->Write(NumberedFrame(i, i));
    in->Write(NumberedFrame(i, kFrames - i));
  }
  const auto at_beta = beta.handler.AwaitFrames(*in, kFrames);
  const auto at_alpha = alpha.handler.AwaitFrames(*out, kFrames);
  for (uint64_t i = 0; i < kFrames; ++i) {
    ASSERT_EQ(at_beta[i].data().first_sequence(), i);
    ASSERT_EQ(at_beta[i].data().records(), NumberedFrame(i, i).data().records());
    ASSERT_EQ(at_alpha[i].data().first_sequence(), i);
    ASSERT_EQ(at_alpha[i].data().records().size(), kFrames - i);
  }
}

TEST_F(TwoNodes, CarryAFrameOf128MiB) {
  const auto out = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  const auto in = beta.handler.AwaitOpen("alpha", proto::BULK, false);
  constexpr size_t kBody = size_t{128} << 20;
  out->Write(NumberedFrame(0, 10));
  out->Write(NumberedFrame(1, kBody));
  out->Write(NumberedFrame(2, 10));
  const auto frames = beta.handler.AwaitFrames(*in, 3);
  EXPECT_EQ(frames[1].data().records().size(), kBody);
  EXPECT_EQ(frames[1].data().records(), std::string(kBody, 'b'));
  EXPECT_EQ(frames[2].data().first_sequence(), 2u);
}

TEST_F(TwoNodes, CarryManySmallFramesInFewerBatches) {
  const auto out = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  const auto in = beta.handler.AwaitOpen("alpha", proto::BULK, false);
  constexpr uint64_t kFrames = 100'000;
  for (uint64_t i = 0; i < kFrames; ++i) out->Write(NumberedFrame(i, 64));
  const auto frames = beta.handler.AwaitFrames(*in, kFrames);
  ASSERT_EQ(frames.size(), kFrames);
  for (uint64_t i = 0; i < kFrames; ++i) ASSERT_EQ(frames[i].data().first_sequence(), i);
  EXPECT_LT(beta.handler.Batches(*in), static_cast<int>(kFrames) / 2);
}

TEST_F(TwoNodes, ASlowReaderHoldsUpItsOwnSessionOnly) {
  std::atomic<bool> slow{true};
  const auto bulk_in = beta.handler.AwaitOpen("alpha", proto::BULK, false);
  const auto urgent_in = beta.handler.AwaitOpen("alpha", proto::URGENT, false);
  beta.handler.during_batch = [&](Session& session) {
    return session.session_class() == proto::URGENT || !slow;
  };
  const auto bulk = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  const auto urgent = alpha.handler.AwaitOpen("beta", proto::URGENT, true);
  // More than the connection takes on the reader's behalf.
  constexpr uint64_t kBulkFrames = 600;
  for (uint64_t i = 0; i < kBulkFrames; ++i) bulk->Write(NumberedFrame(i, 64 << 10));
  for (uint64_t i = 0; i < 100; ++i) {
    urgent->Write(NumberedFrame(i, 100));
    beta.handler.AwaitFrames(*urgent_in, i + 1);
  }
  EXPECT_LE(beta.handler.Batches(*bulk_in), 1);
  slow = false;
  beta.handler.AwaitFrames(*bulk_in, 1);
  bulk_in->ReadOn();
  alpha.handler.AwaitWritable(*bulk);
  beta.handler.AwaitFrames(*bulk_in, kBulkFrames);
}

TEST_F(TwoNodes, ShutdownSendsWhatIsQueued) {
  const auto out = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  const auto in = beta.handler.AwaitOpen("alpha", proto::BULK, false);
  constexpr uint64_t kFrames = 100;
  for (uint64_t i = 0; i < kFrames; ++i) out->Write(NumberedFrame(i, 16 << 10));
  alpha.transport->Shutdown(absl::InfiniteFuture());
  EXPECT_TRUE(absl::IsUnavailable(alpha.handler.AwaitClose(*out)));
  EXPECT_TRUE(absl::IsUnavailable(beta.handler.AwaitClose(*in)));
  EXPECT_EQ(beta.handler.AwaitFrames(*in, kFrames).size(), kFrames);
}

TEST_F(TwoNodes, ShutdownOfTheDialedNodeSendsWhatIsQueued) {
  const auto out = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  const auto in = beta.handler.AwaitOpen("alpha", proto::BULK, false);
  constexpr uint64_t kFrames = 100;
  for (uint64_t i = 0; i < kFrames; ++i) in->Write(NumberedFrame(i, 16 << 10));
  beta.transport->Shutdown(absl::InfiniteFuture());
  EXPECT_EQ(alpha.handler.AwaitClose(*out).message(), "node beta is shutting down");
  EXPECT_EQ(alpha.handler.AwaitFrames(*out, kFrames).size(), kFrames);
}

TEST_F(TwoNodes, ShutdownEndsThoughThePeerDoesNotRead) {
  absl::Notification release;
  beta.handler.AwaitOpen("alpha", proto::BULK, false);
  beta.handler.during_batch = [&](Session&) {
    release.WaitForNotification();
    return true;
  };
  const auto out = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  for (uint64_t i = 0; i < 100; ++i) out->Write(NumberedFrame(i, 16 << 10));
  alpha.transport->Shutdown(absl::InfinitePast());
  EXPECT_FALSE(alpha.handler.AwaitClose(*out).ok());
  release.Notify();
  beta.transport.reset();
}

TEST_F(TwoNodes, ASessionMayBeUsedAfterTheTransportIsGone) {
  const auto out = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  const auto in = beta.handler.AwaitOpen("alpha", proto::BULK, false);
  alpha.transport.reset();
  beta.transport.reset();
  for (const auto& session : {in, out}) {
    session->Write(NumberedFrame(1));
    EXPECT_EQ(session->queued_bytes(), 0u);
    session->Close(absl::OkStatus());
  }
}

TEST_F(TwoNodes, AClosedSessionIsDialedAgain) {
  const auto first = alpha.handler.AwaitOpen("beta", proto::URGENT, true);
  const auto first_in = beta.handler.AwaitOpen("alpha", proto::URGENT, false);
  first->Close(absl::DataLossError("what the peer sent makes no sense"));
  EXPECT_TRUE(absl::IsDataLoss(alpha.handler.AwaitClose(*first)));
  EXPECT_TRUE(absl::IsUnavailable(beta.handler.AwaitClose(*first_in)));
  const auto second = alpha.handler.AwaitOpen("beta", proto::URGENT, true);
  EXPECT_NE(first, second);
}

TEST_F(TwoNodes, ASessionClosedByTheDialedNodeIsDialedAgain) {
  const auto first = alpha.handler.AwaitOpen("beta", proto::URGENT, true);
  const auto first_in = beta.handler.AwaitOpen("alpha", proto::URGENT, false);
  first_in->Close(absl::DataLossError("what the peer sent makes no sense"));
  EXPECT_TRUE(absl::IsDataLoss(beta.handler.AwaitClose(*first_in)));
  EXPECT_TRUE(absl::IsUnavailable(alpha.handler.AwaitClose(*first)));
  EXPECT_NE(alpha.handler.AwaitOpen("beta", proto::URGENT, true), first);
}

TEST_F(TwoNodes, APeerThatStartsAnewIsDialedAgain) {
  PeerTransportOptions options = OptionsOf("beta");
  options.listen_address = beta.address();
  options.node_incarnation = 2;
  const auto bulk = alpha.handler.AwaitOpen("beta", proto::BULK, true);
  const auto urgent = alpha.handler.AwaitOpen("beta", proto::URGENT, true);
  beta.transport.reset();
  EXPECT_FALSE(alpha.handler.AwaitClose(*bulk).ok());
  EXPECT_FALSE(alpha.handler.AwaitClose(*urgent).ok());
  TestNode anew(options);
  EXPECT_EQ(alpha.handler.AwaitOpen("beta", proto::BULK, true)->peer_incarnation(), 2u);
  EXPECT_EQ(alpha.handler.AwaitOpen("beta", proto::URGENT, true)->peer_incarnation(), 2u);
  EXPECT_TRUE(alpha.transport->Peers()[0].connected);
  EXPECT_EQ(alpha.transport->Peers()[0].incarnation, 2u);
}

TEST(PeerTransport, ReportsAPeerThatCannotBeReachedOnce) {
  PeerTransportOptions options = OptionsOf("alpha");
  SilentPort port;
  options.peers["beta"] = port.address();
  absl::Mutex mu;
  std::vector<std::string> log;
  options.log = [&](absl::string_view line) {
    absl::MutexLock lock(&mu);
    log.emplace_back(line);
  };
  options.backoff_min = absl::Milliseconds(1);
  options.backoff_max = absl::Milliseconds(10);
  TestNode alpha(options);
  EXPECT_FALSE(alpha.handler.AwaitProblem("beta", absl::StatusCode::kUnavailable).ok());
  EXPECT_TRUE(absl::IsUnavailable(alpha.transport->Peers()[0].last_error));
  // Many dials later it is still the one problem, and it ends.
  PeerTransportOptions revived = OptionsOf("beta");
  revived.listen_address = port.address();
  port.Release();
  TestNode beta(revived);
  alpha.handler.AwaitOpen("beta", proto::BULK, true);
  alpha.handler.AwaitOpen("beta", proto::URGENT, true);
  EXPECT_TRUE(alpha.transport->Peers()[0].last_error.ok());
  EXPECT_EQ(alpha.handler.problems().size(), 1u);
  absl::MutexLock lock(&mu);
  EXPECT_EQ(log.size(), 3u) << ::testing::PrintToString(log);
}

TEST(PeerTransport, MayBeShutDownWhileADialIsDue) {
  PeerTransportOptions options = OptionsOf("alpha");
  const SilentPort port;
  options.peers["beta"] = port.address();
  options.backoff_min = options.backoff_max = absl::Microseconds(20);
  for (int i = 0; i < 1000; ++i) {
    TestNode alpha(options);
    alpha.handler.AwaitProblem("beta", absl::StatusCode::kUnavailable).IgnoreError();
    alpha.transport->Shutdown(absl::InfinitePast());
  }
}

TEST(PeerTransport, DialsBackAPeerThatItDoesNotKnow) {
  TestNode beta([] {
    PeerTransportOptions options = OptionsOf("beta");
    options.dial_back = true;
    return options;
  }());
  PeerTransportOptions options = OptionsOf("alpha");
  options.advertised_address = "127.0.0.1:0";
  options.peers["beta"] = beta.address();
  TestNode alpha(options);
  const auto back = beta.handler.AwaitOpen("alpha", proto::BULK, true);
  EXPECT_EQ(back->peer_node(), "alpha");
  EXPECT_EQ(beta.transport->Peers()[0].address, alpha.address());
  beta.handler.AwaitOpen("alpha", proto::URGENT, true);
  // When it has gone it is forgotten.
  alpha.transport.reset();
  while (!beta.transport->Peers().empty()) std::this_thread::yield();
}

TEST(PeerTransport, DialsAPeerAtItsNewAddress) {
  PeerTransportOptions options = OptionsOf("alpha");
  options.backoff_min = options.backoff_max = absl::Hours(1);
  options.peers["beta"] = "127.0.0.1:1";
  TestNode alpha(options);
  EXPECT_FALSE(alpha.handler.AwaitProblem("beta", absl::StatusCode::kUnavailable).ok());
  TestNode beta(OptionsOf("beta"));
  ASSERT_TRUE(alpha.transport->AddPeer("beta", beta.address()).ok());
  alpha.handler.AwaitOpen("beta", proto::BULK, true);
}

TEST(PeerTransport, MayOnlyDial) {
  TestNode beta(OptionsOf("beta"));
  PeerTransportOptions options = OptionsOf("alpha");
  options.listen_address = "";
  options.peers["alpha"] = "127.0.0.1:1";
  options.peers["beta"] = beta.address();
  TestNode alpha(options);
  EXPECT_EQ(alpha.transport->port(), 0);
  alpha.handler.AwaitOpen("beta", proto::BULK, true)->Write(NumberedFrame(1));
  beta.handler.AwaitFrames(*beta.handler.AwaitOpen("alpha", proto::BULK, false), 1);
  EXPECT_EQ(alpha.transport->Peers().size(), 1u);
}

TEST(PeerTransport, SessionsMayEndWhileManyThreadsWrite) {
  TestNode beta(OptionsOf("beta"));
  PeerTransportOptions options = OptionsOf("alpha");
  options.peers["beta"] = beta.address();
  options.backoff_min = options.backoff_max = absl::Milliseconds(1);
  TestNode alpha(options);
  constexpr int kRounds = 10;
  constexpr uint64_t kFrames = 200;
  for (int round = 0; round < kRounds; ++round) {
    const auto out = alpha.handler.AwaitOpen("beta", proto::BULK, true);
    const auto in = beta.handler.AwaitOpen("alpha", proto::BULK, false);
    std::vector<std::thread> writers;
    for (const auto& session : {out, out, in}) {
      writers.emplace_back([session] {
        for (uint64_t i = 0; i < kFrames; ++i) {
          session->Write(NumberedFrame(i, 100));
          std::this_thread::yield();
        }
      });
    }
    beta.handler.AwaitFrames(*in, kFrames / 4);
    (round % 2 == 0 ? out : in)->Close(absl::CancelledError("enough"));
    EXPECT_FALSE(alpha.handler.AwaitClose(*out).ok());
    EXPECT_FALSE(beta.handler.AwaitClose(*in).ok());
    for (std::thread& writer : writers) writer.join();
  }
}

TEST(PeerTransport, RefusesBadOptions) {
  RecordingHandler handler;
  PeerTransportOptions options = OptionsOf("no such name");
  EXPECT_TRUE(absl::IsInvalidArgument(PeerTransport::Start(options, &handler).status()));
  options = OptionsOf("alpha");
  options.cluster_id = "";
  EXPECT_TRUE(absl::IsInvalidArgument(PeerTransport::Start(options, &handler).status()));
  options = OptionsOf("alpha");
  options.peers["beta"] = "";
  EXPECT_TRUE(absl::IsInvalidArgument(PeerTransport::Start(options, &handler).status()));
}

TEST(PeerTransport, RefusesAPortThatIsTaken) {
  TestNode beta(OptionsOf("beta"));
  RecordingHandler handler;
  PeerTransportOptions options = OptionsOf("alpha");
  options.listen_address = beta.address();
  EXPECT_TRUE(absl::IsUnavailable(PeerTransport::Start(options, &handler).status()));
}

}  // namespace
}  // namespace mailrail
