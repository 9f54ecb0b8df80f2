// What an orderly stop of an agent (SIGTERM) does to messages, to those who send them, and to what
// its port says.
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"
#include "tests/support/health.h"
#include "tests/support/local_party.h"

namespace mailrail {
namespace {

// Longer than anybody waits here: the drain ends when all is carried.
const std::vector<std::string> kNoHurry = {"--drain-timeout", "1h"};

// That they are the first that their sender sent, whole, in order, none missing and none twice.
void ExpectPrefix(const std::vector<Received>& messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    ASSERT_EQ(messages[i].number, i);
    ASSERT_TRUE(messages[i].intact) << i;
  }
}

class AgentStopTest : public ::testing::Test {
 protected:
  void Start(std::vector<std::string> flags) {
    auto cluster = Cluster::Start({"alpha", "beta"}, Agents::kKept, std::move(flags));
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    for (const char* node : {"alpha", "beta"}) parties_[node] = Attach(node);
  }
  std::unique_ptr<LocalParty> Attach(const std::string& node) {
    auto party = LocalParty::Attach(cluster_->Socket(node), nullptr);
    EXPECT_TRUE(party.ok()) << party.status();
    return *std::move(party);
  }
  LocalParty& On(const std::string& node) { return *parties_.at(node); }
  // A mailbox of this node, with a receiver.
  Handle Mailbox(const std::string& node, const std::string& name,
                 const MailboxOptions& options = {}) {
    EXPECT_TRUE(On(node).CreateMailbox(name, options).ok());
    const absl::StatusOr<Handle> receiver = On(node).OpenMailbox(name);
    EXPECT_TRUE(receiver.ok()) << receiver.status();
    return *receiver;
  }
  void Stop() { cluster_->Agent("alpha").Signal(SIGTERM); }
  // Until alpha drains, which something must hold open.
  bool AwaitDrain() {
    return Eventually([&] {
      const auto health = HealthOf(cluster_->Address("alpha"));
      return health.ok() && *health == Health::kNotServing;
    });
  }

  std::unique_ptr<Cluster> cluster_;
  std::map<std::string, std::unique_ptr<LocalParty>> parties_;
};

TEST_F(AgentStopTest, ThePortSaysThatItIsNotServingFromTheBeginningOfTheDrain) {
  Start(kNoHurry);
  const Handle receiver = Mailbox("beta", "narrow", {.capacity_messages = 1});
  const absl::StatusOr<Handle> sender = On("alpha").ConnectMailbox("narrow");
  ASSERT_TRUE(sender.ok()) << sender.status();
  const std::string address = cluster_->Address("alpha");
  absl::StatusOr<Health> health = HealthOf(address);
  ASSERT_TRUE(health.ok()) << health.status();
  EXPECT_EQ(*health, Health::kServing);
  // One finds room, and the others hold the drain open.
  ASSERT_EQ(On("alpha").Send(*sender, {{.number = 0}, {.number = 1}, {.number = 2}}).sent, 3u);
  Stop();
  EXPECT_TRUE(AwaitDrain());
  EXPECT_TRUE(cluster_->FirstAgentRuns("alpha"));
  const ReceiveResult received = On("beta").Receive(receiver, 3);
  EXPECT_TRUE(received.status.ok()) << received.status;
  ExpectPrefix(received.messages);
  EXPECT_EQ(cluster_->Agent("alpha").Wait(), 0);
}

}  // namespace
}  // namespace mailrail
