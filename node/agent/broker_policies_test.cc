// Who may receive from a mailbox, and whose it is: what the broker sees to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "node/agent/agent_testing.h"
#include "node/agent/broker.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const MailboxOptions kExclusive = {.policy = ReceivePolicy::kExclusive};
const MailboxOptions kLink = {.policy = ReceivePolicy::kLink};
const MailboxOptions kOwned = {.owned = true};
const ProcessId kRemote("beta", 4711, 3);
const ProcessId kOtherRemote("beta", 4712, 4);

class BrokerPoliciesTest : public testing::Test {
 protected:
  BrokerPoliciesTest() : bell_(Destination::Create("test").value()) { Start(); }

  void Start() {
    const auto log = [this](absl::string_view line) { logged_.push_back(std::string(line)); };
    registry_ = std::make_unique<Registry>("alpha", 1, keeper_.vault(), log);
    Broker::Options options;
    options.log = log;
    options.notify = [](uint32_t, control::Notice, FdSource) {};
    options.link_ended = [](uint64_t, const absl::Status&) {};
    broker_ = std::make_unique<Broker>(std::move(options), &loop_, registry_.get(), &bell_);
    carrier_ = std::make_unique<RememberingCarrier>();
    broker_->set_carrier(carrier_.get());
  }
  // As if the agent had been killed and started again.
  void StartAgain() {
    Start();
    ASSERT_TRUE(registry_->Restore(keeper_.List()).ok());
    broker_->Resume();
  }

  LocalMailbox* Create(const MailboxOptions& options, uint32_t creator = 0) {
    return registry_->AddMailbox("orders", options, creator, 1).value();
  }
  LocalMailbox* Mailbox() { return registry_->FindMailbox("orders"); }
  uint32_t NewProcess() { return AddTestProcess(registry_.get())->number; }
  absl::Status Open(uint32_t number) {
    return broker_->OpenReceiver(registry_->FindProcess(number), Mailbox(), /*leases=*/false);
  }
  void Close(uint32_t number) {
    broker_->CloseReceiver(registry_->FindProcess(number), Mailbox()->id);
  }
  absl::Status OpenRemote(uint64_t key, const ProcessId& process = kRemote) {
    return broker_->OpenRemoteReceiver(Mailbox(), "beta", key, process, /*leases=*/false);
  }
  absl::Status Connect(uint32_t number) {
    const LocalProcess* process = registry_->FindProcess(number);
    return broker_
        ->JoinMailbox(Mailbox(), Endpoint::OfProcess(number), process->id, process->uid, 0)
        .status();
  }
  absl::Status ConnectRemote(uint64_t lane, const ProcessId& process = kRemote) {
    return broker_->JoinMailbox(Mailbox(), Endpoint::OfRemoteProcess(process), process, 0, lane)
        .status();
  }
  void End(uint32_t number) { broker_->ProcessGone(number, EndReason::kKilled); }

  const ControlPage& page() { return *Mailbox()->destination.page(); }
  uint32_t receivers() { return page().receivers.load() - 1; }
  uint32_t holder() { return page().holder.load(); }
  uint32_t NumberOf(uint64_t key) { return Mailbox()->remote_receivers.at({"beta", key}).number; }

  TestKeeper keeper_;
  Loop loop_;
  const Destination bell_;
  std::vector<std::string> logged_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<RememberingCarrier> carrier_;
  std::unique_ptr<Broker> broker_;
};

TEST_F(BrokerPoliciesTest, TheControlPageSaysHowManyProcessesReceive) {
  const uint32_t first = NewProcess();
  const uint32_t second = NewProcess();
  Create({});
  EXPECT_EQ(receivers(), 0u);
  for (const uint32_t number : {first, second, second}) ASSERT_TRUE(Open(number).ok());
  EXPECT_EQ(receivers(), 2u);
  ASSERT_TRUE(OpenRemote(5).ok());
  ASSERT_TRUE(OpenRemote(6).ok());  // of the same process
  ASSERT_TRUE(OpenRemote(7, kOtherRemote).ok());
  EXPECT_EQ(receivers(), 4u);
  StartAgain();
  EXPECT_EQ(receivers(), 4u);
  Close(first);
  EXPECT_EQ(receivers(), 3u);
  End(second);
  EXPECT_EQ(receivers(), 2u);
  broker_->CloseRemoteReceiver("beta", 5);
  EXPECT_EQ(receivers(), 2u);
  broker_->CloseRemoteReceiver("beta", 6);
  EXPECT_EQ(receivers(), 1u);
  broker_->ForgetNode("beta");
  EXPECT_EQ(receivers(), 0u);
  EXPECT_EQ(holder(), 0u);
}

TEST_F(BrokerPoliciesTest, WhoOpenedAnExclusiveMailboxFirstHoldsItAndTheNextTakesOver) {
  const uint32_t third = NewProcess();
  const uint32_t first = NewProcess();
  Create(kExclusive);
  EXPECT_EQ(holder(), 0u);
  ASSERT_TRUE(Open(first).ok());
  EXPECT_EQ(holder(), first);
  ASSERT_TRUE(OpenRemote(5).ok());
  ASSERT_TRUE(Open(third).ok());
  const uint32_t remote = NumberOf(5);
  EXPECT_EQ(holder(), first);
  StartAgain();
  EXPECT_EQ(holder(), first);
  const uint32_t rings = page().rings.load();
  Close(first);
  EXPECT_EQ(holder(), remote);
  EXPECT_NE(page().rings.load(), rings) << "nobody is woken";
  ASSERT_TRUE(Open(first).ok());
  EXPECT_EQ(holder(), remote);
  StartAgain();
  broker_->CloseRemoteReceiver("beta", 5);
  EXPECT_EQ(holder(), third);
  End(third);
  EXPECT_EQ(holder(), first);
  End(first);
  EXPECT_EQ(holder(), 0u);
}

TEST_F(BrokerPoliciesTest, AnotherReceiverOfARemoteHolderHasTheRightToo) {
  const uint32_t process = NewProcess();
  Create(kExclusive);
  ASSERT_TRUE(OpenRemote(5).ok());
  ASSERT_TRUE(Open(process).ok());
  ASSERT_TRUE(OpenRemote(6).ok());
  const auto may_take = [&](size_t receiver) {
    return carrier_->receivers[receiver].queue->MayTake(page());
  };
  EXPECT_TRUE(may_take(0));
  EXPECT_TRUE(may_take(1));
  broker_->CloseRemoteReceiver("beta", 5);
  EXPECT_TRUE(may_take(1));
  StartAgain();
  ASSERT_EQ(carrier_->receivers.size(), 1u);
  EXPECT_TRUE(may_take(0));
  broker_->CloseRemoteReceiver("beta", 6);
  EXPECT_FALSE(may_take(0));
  EXPECT_EQ(holder(), process);
}

TEST_F(BrokerPoliciesTest, WhatAHolderThatIsGoneHadClaimedIsThereForTheNext) {
  const uint32_t first = NewProcess();
  const uint32_t second = NewProcess();
  LocalMailbox* mailbox = Create(kExclusive);
  ASSERT_TRUE(Open(first).ok());
  ASSERT_TRUE(Open(second).ok());
  auto lane = broker_->AgentLane(mailbox).value();
  for (const char* body : {"1", "2"}) {
    ASSERT_TRUE(lane->Send(0, {{}, body}, absl::InfinitePast()).ok());
  }
  auto cells = MapCells(*registry_->FindLane(*mailbox->lanes.begin())).value();
  CellHead head;
  ASSERT_EQ(cells->reader().Peek(0, &head), Look::kReady);
  ASSERT_TRUE(cells->reader().Claim(0, head, first));
  End(first);
  MailboxQueue next(second);
  next.RequireHolder(second);
  next.Join(cells, mailbox->destination.version());
  for (const int attempts : {1, 0}) {
    Message message;
    ASSERT_EQ(next.Take(page(), nullptr, &message), ReceiveQueue::Taken::kMessage);
    EXPECT_EQ(message.body(), attempts == 1 ? "1" : "2");
    EXPECT_EQ(message.attempts(), attempts);
  }
}

TEST_F(BrokerPoliciesTest, AHolderThatAnAgentBeforeHadLostTrackOfHasTheRightNoMore) {
  const uint32_t first = NewProcess();
  const uint32_t second = NewProcess();
  Create(kExclusive);
  ASSERT_TRUE(Open(first).ok());
  ASSERT_TRUE(Open(second).ok());
  registry_->RemoveProcess(first);
  StartAgain();
  EXPECT_EQ(holder(), second);
  EXPECT_EQ(receivers(), 1u);
}

TEST_F(BrokerPoliciesTest, AReceiverThatIsCutOffHasNoPlaceUntilItIsReachedAgain) {
  const uint32_t process = NewProcess();
  Create(kExclusive);
  ASSERT_TRUE(OpenRemote(5).ok());
  ASSERT_TRUE(OpenRemote(6).ok());
  ASSERT_TRUE(Open(process).ok());
  const uint32_t remote = holder();
  EXPECT_NE(remote, process);
  // The right is its process's, of which another is reached still.
  broker_->CutOffRemoteReceiver("beta", 5);
  EXPECT_EQ(holder(), remote);
  broker_->CutOffRemoteReceiver("beta", 6);
  EXPECT_EQ(holder(), process);
  EXPECT_EQ(receivers(), 1u);
  StartAgain();
  EXPECT_EQ(holder(), process);
  ASSERT_EQ(carrier_->receivers.size(), 2u);
  for (const RemoteReceiver& receiver : carrier_->receivers) EXPECT_TRUE(receiver.cut_off);
  broker_->ReachRemoteReceiver("beta", 6);
  broker_->ReachRemoteReceiver("beta", 5);
  broker_->ReachRemoteReceiver("beta", 5);
  ASSERT_EQ(carrier_->receivers.size(), 4u);
  EXPECT_FALSE(carrier_->receivers.back().cut_off);
  EXPECT_EQ(receivers(), 2u);
  EXPECT_EQ(holder(), process);
  Close(process);
  for (size_t i = 2; i < carrier_->receivers.size(); ++i) {
    EXPECT_TRUE(carrier_->receivers[i].queue->MayTake(page()));
  }
  broker_->CutOffRemoteReceiver("beta", 5);
  broker_->CutOffRemoteReceiver("beta", 6);
  EXPECT_EQ(holder(), 0u);
  broker_->CloseRemoteReceiver("beta", 5);
  broker_->CloseRemoteReceiver("beta", 6);
  EXPECT_TRUE(Mailbox()->remote_receivers.empty());
}

TEST_F(BrokerPoliciesTest, TheTableHasTheProcessesThatHaveAnAssigningMailboxOpenInTheirOrder) {
  const auto table = [&] {
    uint32_t seen = 0;
    std::vector<uint32_t> numbers;
    EXPECT_TRUE(ReceiverTable::Of(page()).Read(&seen, &numbers));
    return numbers;
  };
  const uint32_t first = NewProcess();
  const uint32_t second = NewProcess();
  Create({.distribution = Distribution::kStickyByKey});
  ASSERT_TRUE(Open(second).ok());
  ASSERT_TRUE(OpenRemote(5).ok());
  ASSERT_TRUE(OpenRemote(6).ok());  // of the same process
  ASSERT_TRUE(Open(first).ok());
  const uint32_t remote = Mailbox()->remote_receivers.at({"beta", 5}).number;
  EXPECT_EQ(table(), (std::vector<uint32_t>{second, remote, first}));
  const uint32_t version = ReceiverTable::Of(page()).version.load();
  broker_->CloseRemoteReceiver("beta", 5);
  StartAgain();
  EXPECT_EQ(table().size(), 3u);
  broker_->CutOffRemoteReceiver("beta", 6);
  EXPECT_EQ(table(), (std::vector<uint32_t>{second, first}));
  EXPECT_NE(ReceiverTable::Of(page()).version.load(), version);
  End(second);
  EXPECT_EQ(table(), (std::vector<uint32_t>{first}));
}

TEST_F(BrokerPoliciesTest, AnAssigningMailboxHasAsManyReceiversAsItCan) {
  Create({.distribution = Distribution::kRoundRobin});
  for (size_t i = 0; i < kMostAssignedReceivers; ++i) {
    Mailbox()->order[1000 + i] = static_cast<uint32_t>(1000 + i);
  }
  EXPECT_TRUE(absl::IsResourceExhausted(Open(NewProcess())));
  EXPECT_TRUE(absl::IsResourceExhausted(OpenRemote(5)));
  Mailbox()->order.erase(1000);
  EXPECT_TRUE(Open(NewProcess()).ok());
}

TEST_F(BrokerPoliciesTest, APurgeOfAnExclusiveMailboxNeedsNoRight) {
  LocalMailbox* mailbox = Create(kExclusive);
  ASSERT_TRUE(Open(NewProcess()).ok());
  auto lane = broker_->AgentLane(mailbox).value();
  ASSERT_TRUE(lane->Send(0, {{}, "x"}, absl::InfinitePast()).ok());
  EXPECT_EQ(broker_->Purge(mailbox), 1u);
}

TEST_F(BrokerPoliciesTest, ALinkHasTwoProcessesWhereverTheyAreAndWhateverTheyDo) {
  const uint32_t near = NewProcess();
  const uint32_t other = NewProcess();
  Create(kLink);
  ASSERT_TRUE(Open(near).ok());
  ASSERT_TRUE(ConnectRemote(5).ok());
  for (int round = 0; round < 2; ++round) {
    for (const absl::Status& refused : {Open(other), Connect(other), OpenRemote(9, kOtherRemote),
                                        ConnectRemote(9, kOtherRemote)}) {
      EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
      EXPECT_THAT(std::string(refused.message()),
                  AllOf(HasSubstr(kRemote.ToString()),
                        HasSubstr(registry_->FindProcess(near)->id.ToString())));
    }
    EXPECT_TRUE(Connect(near).ok());
    EXPECT_TRUE(OpenRemote(6).ok());
    EXPECT_TRUE(ConnectRemote(5).ok());
    StartAgain();
  }
  // It is associated by both.
  broker_->EndInbound("beta", 5, EndReason::kKilled);
  EXPECT_FALSE(Open(other).ok());
  broker_->CloseRemoteReceiver("beta", 6);
  EXPECT_TRUE(Open(other).ok());
  Close(near);
  EXPECT_FALSE(OpenRemote(7).ok());
  End(near);
  EXPECT_TRUE(OpenRemote(7).ok());
}

TEST_F(BrokerPoliciesTest, AnOwnedMailboxIsDestroyedWithItsOwner) {
  const uint32_t owner = NewProcess();
  auto lane = broker_->AgentLane(Create(kOwned, owner)).value();
  ASSERT_TRUE(lane->Send(0, {{}, "x"}, absl::InfinitePast()).ok());
  registry_->AddMailbox("other", {}, owner, 2).value();
  End(NewProcess());
  ASSERT_NE(Mailbox(), nullptr);
  StartAgain();
  ASSERT_NE(Mailbox(), nullptr);
  End(owner);
  EXPECT_EQ(Mailbox(), nullptr);
  EXPECT_NE(registry_->FindMailbox("other"), nullptr);
  EXPECT_THAT(
      logged_,
      ElementsAre("mailbox orders was destroyed, as its owner is gone, with 1 messages in it"));
  const absl::Status told = lane->Send(0, {{}, "x"}, absl::InfinitePast());
  EXPECT_EQ(told.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(told.message()), HasSubstr("the process that owned it is gone"));
}

TEST_F(BrokerPoliciesTest, AnOwnedMailboxOfNobodyIsDestroyedAtARestart) {
  const uint32_t owner = NewProcess();
  Create(kOwned, owner);
  registry_->RemoveProcess(owner);
  StartAgain();
  EXPECT_EQ(Mailbox(), nullptr);
}

}  // namespace
}  // namespace mailrail
