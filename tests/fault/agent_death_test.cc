// What the death of an agent, or of its keeper, does to messages: nothing.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"
#include "tests/support/worker_party.h"

namespace mailrail {
namespace {

absl::StatusOr<Process> AttachTo(const Cluster& cluster, const std::string& node) {
  AttachOptions options;
  options.socket = cluster.Socket(node);
  options.autostart = false;
  return Process::Attach(options);
}

// A body that says its number and has a size of its own.
std::string Body(int number) {
  std::string body(sizeof(number) + static_cast<size_t>(number * 37 % 700), 'x');
  memcpy(body.data(), &number, sizeof(number));
  return body;
}

int NumberOf(const Message& message) {
  int number = -1;
  if (message.body().size() >= sizeof(number)) memcpy(&number, message.body().data(), 4);
  return number;
}

// Sends numbered messages until it is told to stop; a destructor's worth of care is the caller's.
class Flood {
 public:
  explicit Flood(Sender sender)
      : sender_(std::move(sender)), thread_([this] {
          while (!stop_.load()) {
            ASSERT_TRUE(sender_.Send(Body(sent_.load()), {}, Patience()).ok());
            ++sent_;
          }
        }) {}
  int Stop() {
    stop_.store(true);
    thread_.join();
    return sent_.load();
  }
  int sent() const { return sent_.load(); }

 private:
  Sender sender_;
  std::atomic<int> sent_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Receives numbered messages and checks that none is lost, doubled or out of order.
class Drain {
 public:
  explicit Drain(Receiver* receiver)
      : thread_([this, receiver] {
          while (total_.load() < 0 || received_.load() < total_.load()) {
            const absl::StatusOr<Message> message =
                receiver->Receive(absl::Now() + absl::Milliseconds(200));
            if (absl::IsDeadlineExceeded(message.status())) {
              if (absl::Now() > give_up_) break;
              continue;
            }
            ASSERT_TRUE(message.ok()) << message.status();
            ASSERT_EQ(NumberOf(*message), received_.load());
            ASSERT_EQ(message->body(), Body(received_.load()));
            ++received_;
            give_up_ = Patience();
          }
        }) {}
  // Waits for the rest; how many there were.
  int Finish(int total) {
    total_.store(total);
    thread_.join();
    return received_.load();
  }
  int received() const { return received_.load(); }

 private:
  absl::Time give_up_ = Patience();
  std::atomic<int> received_{0};
  std::atomic<int> total_{-1};
  std::thread thread_;
};

class AgentDeathTest : public ::testing::Test {
 protected:
  void Start(const std::vector<std::string>& nodes) {
    auto cluster = Cluster::Start(nodes, Agents::kKept);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
  }
  // Waits until so many more messages have arrived: the flood is under way.
  static void AwaitProgress(const Drain& drain, int messages) {
    const int target = drain.received() + messages;
    ASSERT_TRUE(Eventually([&] { return drain.received() >= target; }));
  }

  std::unique_ptr<Cluster> cluster_;
};

TEST_F(AgentDeathTest, TwoLocalProcessesGoOnWhileTheirAgentIsDead) {
  Start({"alpha"});
  auto a = AttachTo(*cluster_, "alpha");
  auto other = WorkerParty::Start(cluster_->Socket("alpha"), nullptr);
  ASSERT_TRUE(a.ok() && other.ok()) << a.status() << other.status();
  Party& b = **other;
  auto to_b = a->Connect(b.id());
  ASSERT_TRUE(to_b.ok()) << to_b.status();
  const auto back = b.Connect(a->id());
  ASSERT_TRUE(back.ok()) << back.status();
  // With keeper and agent stopped there is no agent: all the same each message arrives.
  const pid_t proper = cluster_->Proper("alpha");
  cluster_->Agent("alpha").Signal(SIGSTOP);
  kill(proper, SIGKILL);
  constexpr int kMessages = 20000;
  std::thread echo([&] { EXPECT_TRUE(b.Echo(Party::kInbox, *back, kMessages, Patience()).ok()); });
  for (int i = 0; i < kMessages; ++i) {
    EXPECT_TRUE(to_b->Send(Body(i), {}, Patience()).ok());
    const absl::StatusOr<Message> message = a->inbox().Receive(Patience());
    EXPECT_TRUE(message.ok()) << message.status();
    if (!message.ok() || NumberOf(*message) != i) break;
    EXPECT_EQ(message->body(), Body(i));
  }
  echo.join();
  cluster_->Agent("alpha").Signal(SIGCONT);
  // And with the agent back new things can be made by those who were there before.
  auto c = AttachTo(*cluster_, "alpha");
  ASSERT_TRUE(c.ok()) << c.status();
  auto to_c = a->Connect(c->id());
  ASSERT_TRUE(to_c.ok()) << to_c.status();
  ASSERT_TRUE(to_c->Send("new").ok());
  EXPECT_TRUE(c->inbox().Receive(Patience()).ok());
}

TEST_F(AgentDeathTest, ARemoteFloodGoesOnAfterEitherAgentIsKilledAgainAndAgain) {
  Start({"alpha", "beta"});
  auto a = AttachTo(*cluster_, "alpha");
  auto b = AttachTo(*cluster_, "beta");
  ASSERT_TRUE(b->CreateMailbox("orders").ok());
  auto direct = a->Connect(b->id(), Patience());
  auto mailbox = a->ConnectMailbox("orders", Patience());
  auto receiver = b->OpenMailbox("orders");
  ASSERT_TRUE(direct.ok() && mailbox.ok() && receiver.ok())
      << direct.status() << mailbox.status() << receiver.status();
  Drain inbox_drain(&b->inbox());
  Drain mailbox_drain(&*receiver);
  Flood direct_flood(*std::move(direct));
  Flood mailbox_flood(*std::move(mailbox));
  for (int round = 0; round < 3; ++round) {
    for (const char* node : {"alpha", "beta"}) {
      AwaitProgress(inbox_drain, 1000);
      AwaitProgress(mailbox_drain, 1000);
      cluster_->KillProper(node);
    }
  }
  AwaitProgress(inbox_drain, 1000);
  const int direct_sent = direct_flood.Stop();
  const int mailbox_sent = mailbox_flood.Stop();
  EXPECT_EQ(inbox_drain.Finish(direct_sent), direct_sent);
  EXPECT_EQ(mailbox_drain.Finish(mailbox_sent), mailbox_sent);
}

TEST_F(AgentDeathTest, AMessageThatWasSentBeforeTheAgentDiedIsThereAfterwards) {
  Start({"alpha"});
  const std::string program = BuiltProgram("node/cli/mailrail");
  const auto run = [&](std::vector<std::string> command) {
    command.insert(command.begin(), program);
    command.push_back("--socket=" + cluster_->Socket("alpha"));
    return Child(command).Wait();
  };
  ASSERT_EQ(run({"mailbox", "create", "q"}), 0);
  ASSERT_EQ(run({"send", "q", "hi"}), 0);
  cluster_->KillProper("alpha");
  auto process = AttachTo(*cluster_, "alpha");
  ASSERT_TRUE(process.ok()) << process.status();
  auto receiver = process->OpenMailbox("q");
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  const absl::StatusOr<Message> message = receiver->Receive(Patience());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->body(), "hi");
}

TEST_F(AgentDeathTest, AKeeperThatIsKilledIsReplacedAndHoldsEverything) {
  Start({"alpha"});
  auto a = AttachTo(*cluster_, "alpha");
  ASSERT_TRUE(a->CreateMailbox("q").ok());
  auto sender = a->ConnectMailbox("q");
  ASSERT_TRUE(sender->Send("kept").ok());
  const pid_t proper = cluster_->Proper("alpha");
  cluster_->Agent("alpha").Kill();
  // The agent answers all the while; when another keeper adopted it, its parent is not that one,
  // but the keeper has a pidfd of it: killed, it comes again and knows the mailbox.
  ASSERT_TRUE(a->Resolve(a->id().ToString()).ok());
  ASSERT_TRUE(Eventually([&] {
    // Attaching makes a record; once the new keeper has it the store is whole.
    return AttachTo(*cluster_, "alpha").ok();
  }));
  kill(proper, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return AttachTo(*cluster_, "alpha").ok(); }));
  auto receiver = a->OpenMailbox("q", Patience());
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  const absl::StatusOr<Message> message = receiver->Receive(Patience());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->body(), "kept");
  EXPECT_EQ(cluster_->Running("alpha").size(), 2u);
}

TEST_F(AgentDeathTest, ANodeThatComesBackWithoutItsStateIsAnotherNodeToItsPeers) {
  Start({"alpha", "beta"});
  auto a = AttachTo(*cluster_, "alpha");
  auto b = AttachTo(*cluster_, "beta");
  auto to_b = a->Connect(b->id(), Patience());
  ASSERT_TRUE(to_b.ok()) << to_b.status();
  ASSERT_TRUE(to_b->Send("before").ok());
  ASSERT_TRUE(b->inbox().Receive(Patience()).ok());
  cluster_->Kill("beta");
  const absl::Status restarted = cluster_->Restart("beta");
  ASSERT_TRUE(restarted.ok()) << restarted;
  EXPECT_TRUE(Eventually([&] {
    return to_b->Send("after", {}, absl::InfinitePast()).code() == absl::StatusCode::kUnavailable;
  }));
  EXPECT_EQ(b->RegisterName("late").code(), absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace mailrail
