// What is sent to a broadcast mailbox itself, and how it comes to its subscriptions.
#include "node/agent/distributor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "node/agent/agent_testing.h"
#include "node/agent/broker.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const ProcessId kSender("beta", 4711, 3);
const ProcessId kReceiver("gamma", 4712, 5);

class DistributorTest : public testing::Test {
 protected:
  DistributorTest() : bell_(Destination::Create("test").value()) {
    Start();
    // Each has room for one message.
    registry_
        ->AddMailbox("news", {.capacity_messages = 1, .policy = ReceivePolicy::kBroadcast}, 0, 0)
        .value();
  }

  void Start() {
    broker_.reset();
    const auto log = [](absl::string_view) {};
    loop_ = std::make_unique<Loop>();
    registry_ = std::make_unique<Registry>("alpha", 1, keeper_.vault(), log);
    Broker::Options options;
    options.log = log;
    options.notify = [](uint32_t, control::Notice, FdSource) {};
    options.link_ended = [](uint64_t, const absl::Status&) {};
    broker_ = std::make_unique<Broker>(std::move(options), loop_.get(), registry_.get(), &bell_);
    broker_->set_carrier(&carrier_);
  }
  // As if the agent had been killed and started again.
  void StartAgain() {
    Start();
    ASSERT_TRUE(registry_->Restore(keeper_.List()).ok());
    broker_->Resume();
  }
  LocalMailbox* news() { return registry_->FindMailbox("news"); }
  // Opens it for a process of another node, which is then known by this key.
  void Open(uint64_t key) {
    ASSERT_TRUE(broker_->OpenRemoteReceiver(news(), "gamma", key, kReceiver, false).ok());
  }
  LocalMailbox* Subscription(uint64_t key) {
    return broker_->FindSubscription(*news(), "gamma", key);
  }
  void Send(const std::string& body, int priority = 0) {
    const Prefix prefix = {.sender = kSender};
    const auto lane = broker_->AgentLane(news()).value();
    ASSERT_TRUE(WaitFor([&] {
      return lane->Send(priority, {EncodePrefix(prefix), body}, absl::InfinitePast()).ok();
    }));
  }
  // What the receiver of this key receives now, at most so many.
  std::vector<std::string> Receive(uint64_t key, size_t most = 1) {
    LocalMailbox* const mailbox = Subscription(key);
    MailboxQueue queue(999);
    const uint32_t version = mailbox->destination.version();
    queue.Reach(version);
    for (const uint64_t id : mailbox->lanes) {
      queue.Join(MapCells(*registry_->FindLane(id)).value(), version);
    }
    std::vector<std::string> bodies;
    Message message;
    while (bodies.size() < most && queue.Take(*mailbox->destination.page(), nullptr, &message) ==
                                       ReceiveQueue::Taken::kMessage) {
      EXPECT_EQ(message.sender(), kSender);
      bodies.push_back(std::string(message.body()));
    }
    return bodies;
  }
  uint64_t Waiting(uint64_t key) { return broker_->Count(*Subscription(key)).waiting; }
  // How many messages of the mailbox itself are not done with.
  uint64_t Left() {
    uint64_t left = 0;
    for (const uint64_t id : news()->lanes) {
      left += MapCells(*registry_->FindLane(id)).value()->reader().Count().left();
    }
    return left;
  }
  // Whether it comes true soon.
  static bool WaitFor(const std::function<bool()>& condition) {
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (!condition()) {
      if (absl::Now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }

  TestKeeper keeper_;
  const Destination bell_;
  RememberingCarrier carrier_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Broker> broker_;
};

TEST_F(DistributorTest, EachSubscriptionGetsEachMessageAsItWasSent) {
  Open(1);
  Open(2);
  for (const std::string body : {"one", "two", std::string(5000, 'x').c_str()}) {
    Send(body);
    for (const uint64_t key : {1, 2}) {
      ASSERT_TRUE(WaitFor([&] { return Waiting(key) == 1; }));
      EXPECT_THAT(Receive(key), ElementsAre(body));
    }
  }
  EXPECT_TRUE(WaitFor([&] { return Left() == 0; }));
}

TEST_F(DistributorTest, WithoutSubscriptionsItIsForNobody) {
  Send("lost");
  EXPECT_TRUE(WaitFor([&] { return Left() == 0; }));
  EXPECT_EQ(news()->dropped, 0u);
}

TEST_F(DistributorTest, OneWithoutRoomHoldsUpItsPriorityAndNoUrgentOne) {
  Open(1);
  Open(2);
  Send("first");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1 && Waiting(2) == 1; }));
  EXPECT_THAT(Receive(1), ElementsAre("first"));
  Send("second");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1; }));
  Send("urgent", 30);
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 2 && Waiting(2) == 2; }));
  EXPECT_THAT(Receive(1, 2), ElementsAre("urgent", "second"));
  EXPECT_THAT(Receive(2, 2), ElementsAre("urgent", "first"));
  ASSERT_TRUE(WaitFor([&] { return Waiting(2) == 1; }));
  EXPECT_THAT(Receive(2), ElementsAre("second"));
  EXPECT_TRUE(WaitFor([&] { return Left() == 0; }));
}

TEST_F(DistributorTest, OneThatGoesIsWaitedForNoMore) {
  Open(1);
  Open(2);
  Send("first");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1 && Waiting(2) == 1; }));
  EXPECT_THAT(Receive(1), ElementsAre("first"));
  Send("second");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1; }));
  broker_->CloseRemoteReceiver("gamma", 2);
  EXPECT_THAT(Receive(1), ElementsAre("second"));
  Send("third");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1; }));
  EXPECT_THAT(Receive(1), ElementsAre("third"));
  // What it left behind is counted.
  EXPECT_EQ(news()->dropped, 1u);
}

TEST_F(DistributorTest, WhatWasSentBeforeASubscriptionIsNotForIt) {
  Open(1);
  Send("first");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1; }));
  // It waits for room.
  Send("second");
  ASSERT_TRUE(WaitFor([&] { return broker_->Count(*news()).leased == 1; }));
  Open(2);
  EXPECT_THAT(Receive(1), ElementsAre("first"));
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1; }));
  EXPECT_THAT(Receive(1), ElementsAre("second"));
  Send("third");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1 && Waiting(2) == 1; }));
  EXPECT_THAT(Receive(2), ElementsAre("third"));
}

// The agent dies when one of two has got a message.
TEST_F(DistributorTest, AfterARestartWhoHasGotAMessageDoesNotGetItAgain) {
  Open(1);
  Open(2);
  Send("first");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1 && Waiting(2) == 1; }));
  EXPECT_THAT(Receive(1), ElementsAre("first"));
  Send("second");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1; }));
  EXPECT_THAT(Receive(1), ElementsAre("second"));
  StartAgain();
  EXPECT_THAT(Receive(1), IsEmpty());
  EXPECT_THAT(Receive(2), ElementsAre("first"));
  ASSERT_TRUE(WaitFor([&] { return Waiting(2) == 1; }));
  EXPECT_THAT(Receive(2), ElementsAre("second"));
  ASSERT_TRUE(WaitFor([&] { return Left() == 0; }));
  EXPECT_THAT(Receive(1), IsEmpty());
  Send("third");
  ASSERT_TRUE(WaitFor([&] { return Waiting(1) == 1 && Waiting(2) == 1; }));
  EXPECT_THAT(Receive(1), ElementsAre("third"));
}

TEST_F(DistributorTest, AfterARestartSubscriptionsWithoutReceiversAreGone) {
  Open(1);
  ASSERT_TRUE(broker_->Subscribe(news(), 0, 0).ok());
  EXPECT_EQ(news()->subscriptions.size(), 2u);
  StartAgain();
  EXPECT_EQ(news()->subscriptions.size(), 1u);
  EXPECT_NE(Subscription(1), nullptr);
  broker_->DestroyMailbox(news());
  EXPECT_THAT(registry_->mailboxes(), IsEmpty());
  EXPECT_THAT(registry_->lanes(), IsEmpty());
}

}  // namespace
}  // namespace mailrail
