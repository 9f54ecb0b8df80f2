#include "node/carrier/carrier.h"

#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
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
};

TEST_F(CarrierTest, CarriesAMessageToTheOtherNode) {
  TestRoute route(1, &nodes.alpha, &nodes.beta, Taking(1000));
  SendOk(&route, 3, "hello");
  const Message message = route.receiver().Receive();
  EXPECT_EQ(message.body(), "hello");
  EXPECT_EQ(message.priority(), 3);
  EXPECT_EQ(message.sequence(), 1u);
  nodes.alpha.events().Await("state 1 OK");
}

TEST_F(CarrierTest, CarriesFiftyThousandMessagesOfAllSizesAndPrioritiesInOrder) {
  std::mt19937_64 random(TestSeed());
  struct Planned {
    int priority;
    size_t size;
  };
  constexpr int kPriorities[] = {0, 5, 23, 24, 31};
  std::vector<Planned> plan;
  std::deque<size_t> expected[kPriorityCount];
  for (size_t i = 0; i < 50'000; ++i) {
    const uint64_t kind = random() % 1000;
    const size_t limit = kind < 2 ? (2 << 20) + 1 : kind < 20 ? 70'000 : kind < 100 ? 5000 : 200;
    plan.push_back({kPriorities[random() % 5], random() % limit});
    expected[plan.back().priority].push_back(i);
  }
  TestRoute route(1, &nodes.alpha, &nodes.beta, Taking(2 << 20));
  std::thread sender([&] {
    for (size_t i = 0; i < plan.size(); ++i) {
      SendOk(&route, plan[i].priority, Pattern(i, plan[i].size));
    }
  });
  for (size_t i = 0; i < plan.size(); ++i) {
    const Message message = route.receiver().Receive();
    std::deque<size_t>& next = expected[message.priority()];
    ASSERT_FALSE(next.empty());
    ASSERT_TRUE(message.body() == Pattern(next.front(), plan[next.front()].size))
        << "message " << next.front();
    next.pop_front();
  }
  sender.join();
  EXPECT_EQ(nodes.alpha.carrier().counters().resent, 0u);
}

}  // namespace
}  // namespace mailrail
