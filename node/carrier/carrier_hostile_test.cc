// Peers that say what makes no sense.
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "node/carrier/carrier.h"
#include "node/carrier/carrier_testing.h"

namespace mailrail {
namespace {

// A node that only keeps its sessions, for a test to write what it likes. Thread-safe.
class Stranger : public SessionHandler {
 public:
  using Kind = std::pair<proto::SessionClass, bool>;

  explicit Stranger(TestNode* victim) {
    PeerTransportOptions options;
    options.cluster_id = "test";
    options.node = "stranger";
    options.node_incarnation = 1;
    options.listen_address = "127.0.0.1:0";
    options.dial_back = false;
    options.peers[victim->name()] = victim->address();
    options.backoff_min = options.backoff_max = absl::Milliseconds(1);
    transport_ = PeerTransport::Start(std::move(options), this).value();
    victim->Dial("stranger", absl::StrCat("127.0.0.1:", transport_->port()));
  }
  ~Stranger() override { transport_.reset(); }

  void OnOpen(std::shared_ptr<Session> session) override {
    absl::MutexLock lock(&mu_);
    open_[{session->session_class(), session->dialed()}] = std::move(session);
  }
  void OnClose(std::shared_ptr<Session> session, absl::Status) override {
    absl::MutexLock lock(&mu_);
    auto& open = open_[{session->session_class(), session->dialed()}];
    if (open == session) open = nullptr;
  }
  bool OnBatch(std::shared_ptr<Session>, proto::Batch) override { return true; }
  void OnWritable(std::shared_ptr<Session>) override {}
  void OnPeerProblem(absl::string_view, absl::Status) override {}

  // The open session of that kind, once there is one that is not `former`.
  std::shared_ptr<Session> AwaitOpen(Kind kind, const std::shared_ptr<Session>& former = nullptr) {
    absl::MutexLock lock(&mu_);
    const auto open = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return open_[kind] != nullptr && open_[kind] != former;
    };
    mu_.Await(absl::Condition(&open));
    return open_[kind];
  }

 private:
  absl::Mutex mu_;
  std::map<Kind, std::shared_ptr<Session>> open_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<PeerTransport> transport_;
};

MailboxOptions Options() {
  MailboxOptions options;
  options.max_message_bytes = 1000;
  return options;
}

class CarrierHostileTest : public ::testing::Test {
 protected:
  CarrierHostileTest() {
    nodes.AwaitUp();
    nodes.alpha.events().Await("up stranger.1");
  }

  void ExpectAlphaStillWorks() {
    TestRoute route(1000, &nodes.alpha, &nodes.beta, Options());
    TestRoute back(1000, &nodes.beta, &nodes.alpha, Options());
    ASSERT_TRUE(route.sender().Send(0, {{}, "there"}, absl::InfiniteFuture()).ok());
    EXPECT_EQ(route.receiver().Receive().body(), "there");
    ASSERT_TRUE(back.sender().Send(31, {{}, "back"}, absl::InfiniteFuture()).ok());
    EXPECT_EQ(back.receiver().Receive().body(), "back");
  }

  TwoTestNodes nodes;
  Stranger stranger{&nodes.alpha};
};

TEST_F(CarrierHostileTest, AFrameThatDoesNotBelongOnASessionClosesIt) {
  const auto to_alpha = stranger.AwaitOpen({proto::URGENT, true});
  proto::Frame ack;
  ack.mutable_ack()->set_lane(1);
  to_alpha->Write(ack);
  stranger.AwaitOpen({proto::URGENT, true}, to_alpha);
  const auto from_alpha = stranger.AwaitOpen({proto::BULK, false});
  proto::Frame data;
  data.mutable_data()->set_lane(1);
  from_alpha->Write(data);
  stranger.AwaitOpen({proto::BULK, false}, from_alpha);
  ExpectAlphaStillWorks();
}

TEST_F(CarrierHostileTest, AnEmptyFrameClosesTheSession) {
  const auto session = stranger.AwaitOpen({proto::BULK, true});
  session->Write(proto::Frame());
  stranger.AwaitOpen({proto::BULK, true}, session);
  ExpectAlphaStillWorks();
}

TEST_F(CarrierHostileTest, DataForALaneThatIsNotThereIsDropped) {
  const auto session = stranger.AwaitOpen({proto::BULK, true});
  proto::Frame data;
  data.mutable_data()->set_lane(77);
  data.mutable_data()->set_records("nonsense");
  session->Write(data);
  proto::Frame request;
  request.mutable_request()->set_id(3);
  session->Write(request);
  nodes.alpha.events().Await("request stranger 3");
  EXPECT_EQ(stranger.AwaitOpen({proto::BULK, true}), session);
}

TEST_F(CarrierHostileTest, AStrangerCannotTouchTheLanesOfOthers) {
  TestRoute route(5, &nodes.alpha, &nodes.beta, Options());
  nodes.alpha.events().Await("state 5 OK");
  proto::Frame frame;
  frame.mutable_lane_state()->set_lane(5);
  frame.mutable_lane_state()->mutable_status()->set_code(5);
  const auto session = stranger.AwaitOpen({proto::BULK, false});
  session->Write(frame);
  frame.mutable_ack()->set_lane(5);
  frame.mutable_ack()->add_accepted()->set_sequence(1000);
  session->Write(frame);
  ExpectAlphaStillWorks();
  ASSERT_TRUE(route.sender().Send(0, {{}, "still open"}, absl::InfiniteFuture()).ok());
  EXPECT_EQ(route.receiver().Receive().body(), "still open");
}

// Bulk and urgent sessions bring what they bring in queues of their own.
TEST(CarrierOrderTest, WhatAFormerLifeOfAPeerHadSaidIsNotHeardAfterTheNewOne) {
  absl::Notification busy, go_on;
  TestNode node("alpha");
  node.StartCarrier();
  node.events().on_lane_open = [&](const std::string&, const proto::LaneOpen& open) {
    if (open.lane() != 1) return;
    busy.Notify();
    go_on.WaitForNotification();
  };
  SessionHandler& carrier = node.carrier();
  const auto say_open = [&](const std::shared_ptr<Session>& session, uint64_t lane) {
    proto::Batch batch;
    batch.add_frames()->mutable_lane_open()->set_lane(lane);
    carrier.OnBatch(session, std::move(batch));
  };
  const auto former = std::make_shared<FakeSession>(proto::BULK, false, 1);
  carrier.OnOpen(former);
  // Whoever brings something may take the turn in which it is dealt with.
  std::thread first([&] { say_open(former, 1); });
  busy.WaitForNotification();
  say_open(former, 2);
  carrier.OnClose(former, absl::UnavailableError("it died"));
  const auto brief = std::make_shared<FakeSession>(proto::BULK, false, 1);
  carrier.OnOpen(brief);
  say_open(brief, 3);
  carrier.OnClose(brief, absl::UnavailableError("it died"));
  const auto urgent = std::make_shared<FakeSession>(proto::URGENT, false, 2);
  const auto bulk = std::make_shared<FakeSession>(proto::BULK, false, 2);
  carrier.OnOpen(urgent);
  carrier.OnOpen(bulk);
  say_open(bulk, 4);
  go_on.Notify();
  first.join();
  node.events().Await("open peer 4");
  EXPECT_EQ(node.events().Count("open peer 2"), 0);
  EXPECT_EQ(node.events().Count("open peer 3"), 0);
  proto::Batch batch;
  batch.add_frames()->mutable_request()->set_id(5);
  carrier.OnBatch(urgent, std::move(batch));
  node.events().Await("request peer 5");
}

// A frame of a random kind with numbers that are likely to mean something.
proto::Frame RandomFrame(std::mt19937_64* random) {
  const auto below = [&](uint64_t end) { return (*random)() % end; };
  const auto number = [&] { return below(8) == 0 ? (*random)() : below(4); };
  const auto fill_lease = [&](proto::LeaseName* lease) {
    lease->set_lane(number());
    lease->set_priority(static_cast<uint32_t>(below(40)));
    lease->set_sequence(number());
  };
  proto::Frame frame;
  switch (below(12)) {
    case 0:
      frame.mutable_lane_open()->set_lane(number());
      break;
    case 1:
      frame.mutable_lane_state()->set_lane(number());
      frame.mutable_lane_state()->mutable_status()->set_code(static_cast<int>(below(20)));
      frame.mutable_lane_state()->set_bulk_window_bytes(number());
      break;
    case 2:
      frame.mutable_lane_end()->set_lane(number());
      break;
    case 3: {
      proto::Data* const data = frame.mutable_data();
      data->set_lane(number());
      data->set_priority(static_cast<uint32_t>(below(33)));
      data->set_first_sequence(number());
      data->set_records(std::string(below(30), '\0') + std::string(below(3), '\1'));
      break;
    }
    case 4:
      frame.mutable_ack()->set_lane(number());
      frame.mutable_ack()->add_accepted()->set_sequence(number());
      frame.mutable_ack()->mutable_accepted(0)->set_priority(static_cast<uint32_t>(below(40)));
      break;
    case 5:
      frame.mutable_request()->set_id(number());
      break;
    case 6:
      frame.mutable_reply()->set_id(number());
      break;
    case 7:
      frame.mutable_want()->set_receiver_key(number());
      frame.mutable_want()->set_count(static_cast<uint32_t>(number()));
      break;
    case 8:
      frame.mutable_delivery()->set_receiver_key(number());
      fill_lease(frame.mutable_delivery()->mutable_lease());
      frame.mutable_delivery()->mutable_sender()->set_node("no such name!");
      break;
    case 9:
      frame.mutable_outcome()->set_receiver_key(number());
      fill_lease(frame.mutable_outcome()->mutable_lease());
      frame.mutable_outcome()->set_refused(below(2) == 0);
      break;
    case 10:
      frame.mutable_receiver_check()->set_receiver_key(number());
      break;
    default:
      frame.mutable_receiver_gone()->set_receiver_key(number());
      frame.mutable_receiver_gone()->set_mailbox_destroyed(below(2) == 0);
  }
  return frame;
}

TEST_F(CarrierHostileTest, SurvivesWhateverAPeerSays) {
  std::mt19937_64 random(TestSeed());
  // Lanes that alpha takes in, so that there is something to harm.
  TestRoute first(1, &nodes.beta, &nodes.alpha, Options());
  TestRoute second(2, &nodes.beta, &nodes.alpha, Options());
  for (int i = 0; i < 300; ++i) {
    const Stranger::Kind kind(random() % 2 == 0 ? proto::BULK : proto::URGENT, random() % 2 == 0);
    const auto session = stranger.AwaitOpen(kind);
    for (int frames = 0; frames < 10; ++frames) session->Write(RandomFrame(&random));
  }
  ExpectAlphaStillWorks();
}

}  // namespace
}  // namespace mailrail
