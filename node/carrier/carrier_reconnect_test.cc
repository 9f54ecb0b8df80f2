// Sessions that break and carriers that are made anew, in the middle of floods.
#include <random>

#include "gtest/gtest.h"
#include "node/carrier/carrier.h"
#include "node/carrier/carrier_testing.h"

namespace mailrail {
namespace {

constexpr size_t kMessages = 20'000;
constexpr size_t kLargest = 300'000;

MailboxOptions Options() {
  MailboxOptions options;
  options.max_message_bytes = kLargest;
  return options;
}

class CarrierReconnectTest : public ::testing::Test {
 protected:
  CarrierReconnectTest() : seed(TestSeed()), random(seed) { nodes.AwaitUp(); }

  // Lets a flood go on for a random while, `times` times, and calls `disturb` after each.
  template <typename Disturb>
  void FloodAnd(int times, const Disturb& disturb) {
    TestRoute route(1, &alpha, &beta, Options());
    TestRoute back(1, &beta, &alpha, Options());
    TestFlood flood(&route, seed, kMessages, kLargest);
    TestFlood other(&back, seed + 1, kMessages / 10, kLargest);
    for (int i = 0; i < times; ++i) {
      const size_t step = kMessages / static_cast<size_t>(times);
      flood.AwaitReceived(static_cast<size_t>(i) * step + random() % step);
      disturb(i);
    }
    flood.Finish();
    other.Finish();
    // What is acknowledged is given back, however often it was carried.
    alpha.carrier().FinishOutbound(1, 0);
    alpha.events().Await("finished 1");
    EXPECT_TRUE(route.sender().Drained());
  }

  const uint64_t seed;
  std::mt19937_64 random;
  TwoTestNodes nodes;
  TestNode& alpha = nodes.alpha;
  TestNode& beta = nodes.beta;
};

TEST_F(CarrierReconnectTest, NothingIsLostDoubledOrReorderedWhenSessionsAreCut) {
  FloodAnd(40, [&](int) {
    TestNode& node = random() % 2 == 0 ? alpha : beta;
    node.Cut(random() % 2 == 0 ? proto::BULK : proto::URGENT, random() % 2 == 0);
  });
  EXPECT_GT(alpha.carrier().counters().resent, 0u);
}

TEST_F(CarrierReconnectTest, NothingIsLostDoubledOrReorderedWhenTheSourcesCarrierIsMadeAnew) {
  FloodAnd(10, [&](int) {
    alpha.Stop();
    alpha.Start();
  });
}

TEST_F(CarrierReconnectTest, NothingIsLostDoubledOrReorderedWhenTheTargetsCarrierIsMadeAnew) {
  FloodAnd(10, [&](int) {
    beta.Stop();
    beta.Start();
  });
}

TEST_F(CarrierReconnectTest, NothingIsLostDoubledOrReorderedWhenBothCarriersAreMadeAnew) {
  FloodAnd(10, [&](int i) {
    TestNode& first = i % 2 == 0 ? alpha : beta;
    TestNode& second = i % 2 == 0 ? beta : alpha;
    first.Stop();
    second.Stop();
    first.Start();
    second.Start();
  });
}

TEST_F(CarrierReconnectTest, ALaneIsFinishedThoughThePeerWasAway) {
  TestRoute route(1, &alpha, &beta, Options());
  ASSERT_TRUE(route.sender().Send(0, {{}, "first"}, absl::InfiniteFuture()).ok());
  EXPECT_EQ(route.receiver().Receive().body(), "first");
  beta.Stop();
  ASSERT_TRUE(route.sender().Send(0, {{}, "second"}, absl::InfiniteFuture()).ok());
  alpha.carrier().FinishOutbound(1, 0);
  beta.Start();
  EXPECT_EQ(route.receiver().Receive().body(), "second");
  alpha.events().Await("finished 1");
  beta.events().Await("end alpha 1");
}

TEST_F(CarrierReconnectTest, NothingIsSentToANewIncarnation) {
  TestRoute route(1, &alpha, &beta, Options());
  ASSERT_TRUE(route.sender().Send(0, {{}, "first"}, absl::InfiniteFuture()).ok());
  EXPECT_EQ(route.receiver().Receive().body(), "first");
  beta.Stop();
  ASSERT_TRUE(route.sender().Send(0, {{}, "in doubt"}, absl::InfiniteFuture()).ok());
  beta.incarnation = 2;
  beta.Start();
  alpha.events().Await("up beta.2");
  // A lane that is opened to the new one works; the other stands still.
  TestRoute anew(2, &alpha, &beta, Options());
  ASSERT_TRUE(anew.sender().Send(0, {{}, "to the new one"}, absl::InfiniteFuture()).ok());
  EXPECT_EQ(anew.receiver().Receive().body(), "to the new one");
  EXPECT_EQ(beta.events().Count("open alpha 1"), 1);
  EXPECT_FALSE(route.receiver().TryReceive().has_value());
}

TEST_F(CarrierReconnectTest, AForgottenPeersLanesAreNotOpenedAgain) {
  TestRoute route(1, &alpha, &beta, Options());
  alpha.events().Await("state 1 OK");
  alpha.carrier().ForgetPeer("beta");
  alpha.Cut(proto::BULK, /*dialed=*/true);
  alpha.events().Await("up beta.1", 2);
  TestRoute anew(2, &alpha, &beta, Options());
  alpha.events().Await("state 2 OK");
  EXPECT_EQ(beta.events().Count("open alpha 1"), 1);
}

}  // namespace
}  // namespace mailrail
