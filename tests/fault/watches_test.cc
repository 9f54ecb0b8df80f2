// What deaths of agents, keepers and nodes do to watches: no end is lost or told twice, and none is
// told that was not one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"
#include "tests/support/worker_party.h"

namespace mailrail {
namespace {

class WatchesTest : public ::testing::Test {
 protected:
  void Start(const std::vector<std::string>& nodes) {
    auto cluster = Cluster::Start(nodes);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    watcher_ = std::make_unique<Process>(Attach("alpha").value());
  }
  absl::StatusOr<Process> Attach(const std::string& node) {
    AttachOptions options;
    options.socket = cluster_->Socket(node);
    options.autostart = false;
    return Process::Attach(options);
  }
  std::unique_ptr<WorkerParty> NewWorker(const std::string& node) {
    return WorkerParty::Start(cluster_->Socket(node), nullptr).value();
  }

  // What is told, by name, until so many ends were; none is told twice.
  std::map<std::string, EndReason> Told(size_t count) {
    std::map<std::string, EndReason> told;
    while (told.size() < count) {
      const absl::StatusOr<Message> message = watcher_->inbox().Receive(Patience());
      if (!message.ok()) {
        ADD_FAILURE() << message.status() << " after " << told.size() << " ends";
        break;
      }
      EXPECT_TRUE(told.emplace(message->ended().name, message->end()).second)
          << message->ended().name << " was told twice";
    }
    return told;
  }
  void ExpectNothingIsTold(absl::Duration within = absl::Milliseconds(200)) {
    const absl::StatusOr<Message> message = watcher_->inbox().Receive(absl::Now() + within);
    EXPECT_EQ(message.status().code(), absl::StatusCode::kDeadlineExceeded)
        << (message.ok() ? message->ended().name : message.status().ToString());
  }
  // Every agent proper dies and comes back; whoever was connected is so again.
  void KillAgents(const std::vector<std::string>& nodes) {
    for (const std::string& node : nodes) cluster_->KillProper(node);
    ASSERT_TRUE(cluster_->WaitUntilConnected().ok());
  }

  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Process> watcher_;
};

TEST_F(WatchesTest, WatchesGoOnWhenEveryAgentWasKilled) {
  Start({"alpha", "beta"});
  for (const std::string node : {"alpha", "beta"}) {
    Process owner = Attach(node).value();
    ASSERT_TRUE(owner.CreateMailbox("of-" + node).ok());
    const std::unique_ptr<WorkerParty> worker = NewWorker(node);
    ASSERT_TRUE(watcher_->WatchMailbox("of-" + node).ok());
    ASSERT_TRUE(watcher_->Watch(worker->id()).ok());
    ASSERT_TRUE(node == "alpha" || watcher_->WatchNode(node).ok());
    KillAgents({"alpha"});
    KillAgents({"beta"});
    KillAgents({"beta", "alpha"});
    // None of them has ended.
    ExpectNothingIsTold();
    ASSERT_TRUE(owner.DestroyMailbox("of-" + node).ok());
    worker->End();
    const std::map<std::string, EndReason> told = Told(2);
    EXPECT_EQ(told.count("of-" + node + "@" + node), 1u);
    EXPECT_EQ(told.count(worker->id().ToString()), 1u);
    EXPECT_EQ(told.at("of-" + node + "@" + node), EndReason::kDestroyed);
    EXPECT_EQ(told.at(worker->id().ToString()), EndReason::kKilled);
  }
  ExpectNothingIsTold();
}

// More than the agent may have told and not been acknowledged, so some only it knows of.
TEST_F(WatchesTest, EndsThatWereNotReadWhenTheAgentDiedAreToldOnce) {
  constexpr size_t kEach = 40;
  for (const std::vector<std::string>& nodes :
       {std::vector<std::string>{"alpha"}, std::vector<std::string>{"alpha", "beta"}}) {
    Start(nodes);
    Process owner = Attach(nodes.back()).value();
    std::vector<Process> others;
    for (size_t i = 0; i < kEach; ++i) {
      const std::string name = "mailbox" + std::to_string(i);
      ASSERT_TRUE(owner.CreateMailbox(name).ok());
      ASSERT_TRUE(watcher_->WatchMailbox(name).ok());
      others.push_back(Attach(nodes.back()).value());
      ASSERT_TRUE(watcher_->Watch(others.back().id()).ok());
    }
    // The watcher reads nothing of this.
    others.clear();
    for (size_t i = 0; i < kEach; ++i) {
      ASSERT_TRUE(owner.DestroyMailbox("mailbox" + std::to_string(i)).ok());
    }
    KillAgents(nodes);
    EXPECT_EQ(Told(2 * kEach).size(), 2 * kEach);
    ExpectNothingIsTold();
    // What was read is not told once more either.
    KillAgents(nodes);
    ExpectNothingIsTold();
    watcher_.reset();
  }
}

TEST_F(WatchesTest, AnEndWhileTheWatchersAgentIsStoppedAndThenKilledIsTold) {
  Start({"alpha", "beta"});
  Process owner = Attach("beta").value();
  ASSERT_TRUE(owner.CreateMailbox("orders").ok());
  const std::unique_ptr<WorkerParty> worker = NewWorker("beta");
  auto sender = worker->Connect(watcher_->id());
  ASSERT_TRUE(sender.ok());
  ASSERT_TRUE(watcher_->WatchMailbox("orders").ok());
  ASSERT_TRUE(watcher_->Watch(worker->id()).ok());
  const pid_t stopped = cluster_->Proper("alpha");
  kill(stopped, SIGSTOP);
  ASSERT_TRUE(worker->Send(*sender, {{.number = 1}, {.number = 2}}).status.ok());
  worker->End();
  ASSERT_TRUE(owner.DestroyMailbox("orders").ok());
  cluster_->KillProper("alpha");
  std::vector<std::string> came;
  while (came.size() < 4) {
    const absl::StatusOr<Message> message = watcher_->inbox().Receive(Patience());
    ASSERT_TRUE(message.ok()) << message.status();
    came.push_back(message->end() == EndReason::kNone ? "message" : message->ended().name);
  }
  // The process's end after its messages; where the mailbox's comes is not promised.
  std::erase(came, "orders@beta");
  EXPECT_THAT(came, testing::ElementsAre("message", "message", worker->id().ToString()));
  ExpectNothingIsTold();
}

TEST_F(WatchesTest, ANodeThatIsLostIsToldAsUnreachableAndWhatLivesThereIsNot) {
  Start({"alpha", "beta"});
  std::unique_ptr<WorkerParty> worker = NewWorker("beta");
  ASSERT_TRUE(worker->CreateMailbox("orders").ok());
  ASSERT_TRUE(watcher_->WatchNode("beta").ok());
  ASSERT_TRUE(watcher_->WatchMailbox("orders").ok());
  ASSERT_TRUE(watcher_->Watch(worker->id()).ok());
  const absl::Time before = absl::Now();
  cluster_->Kill("beta");
  EXPECT_THAT(Told(1), testing::ElementsAre(testing::Pair("beta", EndReason::kUnreachable)));
  EXPECT_GE(absl::Now(), before + kUnreachableAfter);
  // They may live, for all that is known; and the node is not told of twice.
  ExpectNothingIsTold();
  EXPECT_EQ(watcher_->WatchNode("beta", absl::Now() + absl::Milliseconds(100)).code(),
            absl::StatusCode::kUnavailable);
  // It comes back without its state.
  worker->End();
  ASSERT_TRUE(cluster_->Restart("beta").ok());
  EXPECT_THAT(Told(2), testing::UnorderedElementsAre(
                           testing::Pair("orders@beta", EndReason::kEnded),
                           testing::Pair(worker->id().ToString(), EndReason::kEnded)));
  EXPECT_TRUE(watcher_->WatchNode("beta", Patience()).ok());
  ExpectNothingIsTold();
}

TEST_F(WatchesTest, ANodeThatComesBackWithoutItsStateHasEnded) {
  Start({"alpha", "beta"});
  ASSERT_TRUE(watcher_->WatchNode("beta").ok());
  cluster_->Kill("beta");
  ASSERT_TRUE(cluster_->Restart("beta").ok());
  const std::map<std::string, EndReason> told = Told(1);
  // Within the time it is an end; where it took longer it was unreachable first, and that is all.
  EXPECT_THAT(told, testing::ElementsAre(testing::Pair(
                        "beta", testing::AnyOf(EndReason::kEnded, EndReason::kUnreachable))));
  ExpectNothingIsTold();
}

TEST_F(WatchesTest, ANodeThatIsBackInTimeIsNotToldOf) {
  Start({"alpha", "beta"});
  ASSERT_TRUE(watcher_->WatchNode("beta").ok());
  for (int round = 0; round < 3; ++round) KillAgents({"beta"});
  ExpectNothingIsTold(kUnreachableAfter + absl::Seconds(1));
}

}  // namespace
}  // namespace mailrail
