#include "node/carrier/carrier.h"

#include <atomic>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/message/prefix.h"
#include "gtest/gtest.h"
#include "node/carrier/carrier_testing.h"

namespace mailrail {
namespace {

constexpr absl::Time kForEver = absl::InfiniteFuture();

MailboxOptions Taking(size_t max_message_bytes) {
  MailboxOptions options;
  options.max_message_bytes = max_message_bytes;
  return options;
}

void SendOk(TestRoute* route, int priority, absl::string_view body) {
  const absl::Status status = route->sender().Send(priority, {{}, body}, kForEver);
  ASSERT_TRUE(status.ok()) << status;
}

class CarrierTest : public ::testing::Test {
 protected:
  CarrierTest() { nodes.AwaitUp(); }

  TwoTestNodes nodes;
  TestNode& alpha = nodes.alpha;
  TestNode& beta = nodes.beta;
};

TEST_F(CarrierTest, CarriesAMessageToTheOtherNode) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  SendOk(&route, 3, "hello");
  const Message message = route.receiver().Receive();
  EXPECT_EQ(message.body(), "hello");
  EXPECT_EQ(message.priority(), 3);
  EXPECT_EQ(message.sequence(), 1u);
  alpha.events().Await("state 1 OK");
}

TEST_F(CarrierTest, TheOriginIsToldHowManyReceiveFromItsMailbox) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  alpha.events().Await("state 1 OK");
  for (const uint32_t count : {2u, 0u}) {
    route.inbox().control()->receivers = count + 1;
    beta.carrier().Poke();
    alpha.events().Await(absl::StrCat("receivers 1 ", count));
  }
}

TEST_F(CarrierTest, CarriesAPrefixAsItIs) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  Prefix prefix;
  prefix.sender = ProcessId("alpha", 77, 8);
  const std::string encoded = EncodePrefix(prefix);
  ASSERT_TRUE(route.sender().Send(3, {encoded, "from another"}, kForEver).ok());
  const Message message = route.receiver().Receive();
  EXPECT_EQ(message.body(), "from another");
  EXPECT_EQ(message.sender(), ProcessId("alpha", 77, 8));
}

TEST_F(CarrierTest, ALaneOfWhichAMessageClaimsASenderOfAnotherNodeIsClosed) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  Prefix prefix;
  prefix.sender = ProcessId("gamma", 77, 8);
  const std::string encoded = EncodePrefix(prefix);
  ASSERT_TRUE(route.sender().Send(3, {encoded, "not from there"}, kForEver).ok());
  beta.events().Await("closed alpha 1 PERMISSION_DENIED");
  alpha.events().Await("state 1 PERMISSION_DENIED");
  EXPECT_FALSE(route.receiver().TryReceive().has_value());
  TestRoute other(2, &alpha, &beta, Taking(1000));
  SendOk(&other, 3, "hello");
  EXPECT_EQ(other.receiver().Receive().body(), "hello");
  EXPECT_EQ(alpha.events().Count("down beta"), 0);
}

TEST_F(CarrierTest, CarriesFiftyThousandMessagesOfAllSizesAndPrioritiesInOrder) {
  TestRoute route(1, &alpha, &beta, Taking(2 << 20));
  TestFlood(&route, TestSeed(), 50'000, 2 << 20).Finish();
  EXPECT_EQ(alpha.carrier().counters().resent, 0u);
}

TEST_F(CarrierTest, CarriesLanesOfBothNodesAtTheSameTime) {
  TestRoute there(1, &alpha, &beta, Taking(100'000));
  TestRoute back(1, &beta, &alpha, Taking(100'000));
  TestRoute other(2, &alpha, &beta, Taking(100'000));
  const uint64_t seed = TestSeed();
  TestFlood first(&there, seed, 10'000, 100'000);
  TestFlood second(&back, seed + 1, 10'000, 100'000);
  TestFlood third(&other, seed + 2, 10'000, 100'000);
}

TEST_F(CarrierTest, CarriesAMessageThatIsLargerThanTheWindow) {
  TestRoute route(1, &alpha, &beta, Taking(20 << 20));
  for (const int priority : {0, 31}) {
    SendOk(&route, priority, "before");
    SendOk(&route, priority, Pattern(1, 20 << 20));
    SendOk(&route, priority, "after");
    EXPECT_EQ(route.receiver().Receive().body(), "before");
    EXPECT_TRUE(route.receiver().Receive().body() == Pattern(1, 20 << 20));
    EXPECT_EQ(route.receiver().Receive().body(), "after");
  }
}

TEST_F(CarrierTest, AFullDestinationHoldsUpOnlyItsOwnLane) {
  TestRoute full(1, &alpha, &beta, Taking(1000));
  TestRoute other(2, &alpha, &beta, Taking(1000));
  constexpr int kMessages = 20'000;
  std::atomic<bool> all_sent = false;
  std::thread sender([&] {
    for (int i = 0; i < kMessages; ++i) SendOk(&full, 0, Pattern(static_cast<uint64_t>(i), 1000));
    all_sent = true;
  });
  TestFlood(&other, TestSeed(), 20'000, 1000).Finish();
  EXPECT_FALSE(all_sent);
  for (int i = 0; i < kMessages; ++i) {
    ASSERT_EQ(full.receiver().Receive().body(), Pattern(static_cast<uint64_t>(i), 1000));
  }
  sender.join();
}

TEST_F(CarrierTest, UrgentMessagesPassBulkThatHasUsedUpItsWindow) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  constexpr int kMessages = 20'000;
  std::atomic<bool> all_sent = false;
  std::thread sender([&] {
    for (int i = 0; i < kMessages; ++i) SendOk(&route, 0, Pattern(1, 1000));
    all_sent = true;
  });
  route.AwaitPublished(0);
  SendOk(&route, 24, "urgent");
  route.AwaitPublished(24);
  EXPECT_FALSE(all_sent);
  EXPECT_EQ(route.receiver().Receive().body(), "urgent");
  for (int i = 0; i < kMessages; ++i) route.receiver().Receive();
  sender.join();
}

TEST_F(CarrierTest, ReportsARefusedLane) {
  TestRoute route(7, &alpha, &beta, Taking(1000), /*known=*/false);
  alpha.events().Await("state 7 NOT_FOUND");
  SendOk(&route, 0, "stays where it is");
  EXPECT_EQ(alpha.carrier().counters().sent, 0u);
}

TEST_F(CarrierTest, ReportsADestinationThatIsClosedWhileIdle) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  SendOk(&route, 0, "hello");
  route.receiver().Receive();
  route.inbox().Close(CloseReason::kProcessGone);
  beta.events().Await("closed alpha 1 UNAVAILABLE");
  alpha.events().Await("state 1 UNAVAILABLE");
}

TEST_F(CarrierTest, ReportsADestinationThatIsClosedInAFlood) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  std::atomic<bool> stop = false;
  std::thread sender([&] {
    while (!stop) {
      route.sender().Send(0, {{}, "x"}, absl::Now() + absl::Milliseconds(1)).IgnoreError();
    }
  });
  for (int i = 0; i < 1000; ++i) route.receiver().Receive();
  route.inbox().Close(CloseReason::kProcessGone);
  beta.events().Await("closed alpha 1 UNAVAILABLE");
  alpha.events().Await("state 1 UNAVAILABLE");
  stop = true;
  sender.join();
}

TEST_F(CarrierTest, AMessageThatTheDestinationDoesNotTakeClosesTheLane) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  // The options are the destination's; this sender does as if they were others.
  auto link = std::make_shared<LinkMemory>(LinkMemory{
      route.geometry(), route.SenderMemory(), std::move(route.Outbound(false).memory->own)});
  OutgoingLane liar("target", Taking(2000), link, alpha.CarrierBell(route.inbox()));
  ASSERT_TRUE(liar.Send(0, {{}, Pattern(1, 2000)}, kForEver).ok());
  alpha.events().Await("corrupt 1");
  beta.events().Await("end alpha 1");
}

TEST_F(CarrierTest, AMessageThatOnlyTheDestinationKnowsItDoesNotTakeClosesTheLane) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  OutboundLane lane = route.Outbound(false);
  lane.max_message_bytes = 2000;
  auto link = std::make_shared<LinkMemory>(LinkMemory{
      route.geometry(), route.SenderMemory(), std::move(route.Outbound(false).memory->own)});
  alpha.carrier().AddOutbound(std::move(lane));
  OutgoingLane liar("target", Taking(2000), link, alpha.CarrierBell(route.inbox()));
  ASSERT_TRUE(liar.Send(0, {{}, Pattern(1, 2000)}, kForEver).ok());
  alpha.events().Await("state 1 INVALID_ARGUMENT");
  beta.events().Await("closed alpha 1 INVALID_ARGUMENT");
}

TEST_F(CarrierTest, ALaneThatIsAcceptedTwiceHasOneWriter) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  SendOk(&route, 0, "first");
  EXPECT_EQ(route.receiver().Receive().body(), "first");
  // As when it was asked for again before the agent had answered: mapped when nothing was there.
  beta.carrier().AddInbound(route.Inbound(false));
  SendOk(&route, 0, "second");
  EXPECT_EQ(route.receiver().Receive().body(), "second");
}

TEST_F(CarrierTest, ALaneThatCannotBeAcceptedJustNowIsOpenedAgain) {
  const auto accept = beta.events().on_lane_open;
  int asked = 0;
  beta.events().on_lane_open = [&](const std::string& node, const proto::LaneOpen& open) {
    if (asked++ > 0) return accept(node, open);
    beta.carrier().RefuseLane(node, open.lane(), absl::ResourceExhaustedError("no descriptors"),
                              /*for_good=*/false);
  };
  TestRoute route(1, &alpha, &beta, Taking(1000));
  SendOk(&route, 0, "kept");
  EXPECT_EQ(route.receiver().Receive().body(), "kept");
  alpha.events().Await("state 1 OK");
  EXPECT_EQ(alpha.events().Count("state 1 RESOURCE_EXHAUSTED"), 0);
}

TEST_F(CarrierTest, ALaneThatIsRefusedForGoodIsNotOpenedAgainWhateverTheCode) {
  std::atomic<int> asked = 0;
  beta.events().on_lane_open = [&](const std::string& node, const proto::LaneOpen& open) {
    ++asked;
    beta.carrier().RefuseLane(node, open.lane(), absl::ResourceExhaustedError("it is a link"),
                              /*for_good=*/true);
  };
  TestRoute route(1, &alpha, &beta, Taking(1000));
  alpha.events().Await("state 1 RESOURCE_EXHAUSTED");
  EXPECT_EQ(asked, 1);
}

TEST_F(CarrierTest, ALaneWhoseDestinationHasLostMessagesIsEndedThere) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  SendOk(&route, 0, "accepted");
  EXPECT_EQ(route.receiver().Receive().body(), "accepted");
  while (!route.sender().Drained()) std::this_thread::yield();
  // The mailbox is made anew while the nodes are not connected.
  alpha.Stop();
  beta.carrier().RemoveInbound("alpha", 1);
  TestRoute other(1, &alpha, &beta, Taking(1000));
  alpha.AddSource(&route);
  alpha.Start();
  alpha.events().Await("state 1 DATA_LOSS");
  beta.events().Await("end alpha 1");
}

TEST_F(CarrierTest, FinishesALaneWhenAllIsAcknowledged) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  constexpr int kMessages = 5000;
  std::thread receiver([&] {
    for (int i = 0; i < kMessages; ++i) {
      ASSERT_EQ(route.receiver().Receive().body(), Pattern(static_cast<uint64_t>(i), 500));
    }
  });
  for (int i = 0; i < kMessages; ++i) SendOk(&route, 0, Pattern(static_cast<uint64_t>(i), 500));
  alpha.carrier().FinishOutbound(1, 0);
  alpha.events().Await("finished 1");
  beta.events().Await("end alpha 1");
  receiver.join();
  EXPECT_TRUE(route.sender().Drained());
}

TEST_F(CarrierTest, FinishesALaneThatWasNeverUsed) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  alpha.carrier().FinishOutbound(1, 0);
  alpha.events().Await("finished 1");
  beta.events().Await("end alpha 1");
}

TEST_F(CarrierTest, ALaneThatIsRemovedEndsForThePeer) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  alpha.events().Await("state 1 OK");
  alpha.carrier().RemoveOutbound(1);
  beta.events().Await("end alpha 1");
}

TEST_F(CarrierTest, ALaneThatIsNotWellFormedIsReportedAndHarmsNoOther) {
  TestRoute bad(1, &alpha, &beta, Taking(1000));
  TestRoute good(2, &alpha, &beta, Taking(1000));
  SendOk(&bad, 0, "well-formed");
  EXPECT_EQ(bad.receiver().Receive().body(), "well-formed");
  const Mapping memory = bad.SenderMemory();
  auto* const next =
      reinterpret_cast<RecordHead*>(memory.data() + bad.geometry().ring_offset(0) + kLine);
  next->head = PackHead(RecordKind::kInline, false, 1000, 12345);
  RingGate(alpha.carrier_gate());
  alpha.events().Await("corrupt 1");
  beta.events().Await("end alpha 1");
  SendOk(&good, 0, "still here");
  EXPECT_EQ(good.receiver().Receive().body(), "still here");
}

TEST_F(CarrierTest, APrefixThatIsNotWellFormedIsReported) {
  TestRoute route(1, &alpha, &beta, Taking(1000));
  ASSERT_TRUE(route.sender().Send(0, {"\xff\xff too long", "body"}, kForEver).ok());
  alpha.events().Await("corrupt 1");
}

TEST_F(CarrierTest, CarriesRequestsAndReplies) {
  proto::Frame request;
  request.mutable_request()->set_id(5);
  EXPECT_TRUE(alpha.carrier().Send("beta", request));
  beta.events().Await("request alpha 5");
  proto::Frame reply;
  reply.mutable_reply()->set_id(5);
  EXPECT_TRUE(beta.carrier().Send("alpha", reply));
  alpha.events().Await("reply beta 5");
  EXPECT_FALSE(alpha.carrier().Send("gamma", request));
}

TEST_F(CarrierTest, TellsThatRequestsAreLostWithTheirSession) {
  alpha.Cut(proto::URGENT, /*dialed=*/true);
  alpha.events().Await("lost beta");
  alpha.events().Await("down beta");
  alpha.events().Await("up beta.1", 2);
}

}  // namespace
}  // namespace mailrail
