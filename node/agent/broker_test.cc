#include "node/agent/broker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "core/process/grants.h"
#include "node/agent/agent_testing.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ProcessId kRemote("beta", 4711, 3);

class BrokerTest : public testing::Test {
 protected:
  BrokerTest() : bell_(Destination::Create("test").value()) { Start(); }

  void Start() {
    registry_ = std::make_unique<Registry>("alpha", 1, keeper_.vault(), Logger());
    Broker::Options options;
    options.log = Logger();
    options.notify = [this](uint32_t, control::Notice notice, FdSource) {
      notices_.push_back(std::move(notice));
    };
    options.link_ended = [this](uint64_t link, const absl::Status&) { ended_.push_back(link); };
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
  std::function<void(absl::string_view)> Logger() {
    return [this](absl::string_view line) { logged_.push_back(std::string(line)); };
  }
  absl::Status Accept(const LocalProcess& process, uint64_t lane, bool one_way = false) {
    proto::LaneOpen open;
    open.set_lane(lane);
    open.set_one_way(one_way);
    internal::ToProto(kRemote, open.mutable_sender());
    internal::ToProto(process.id, open.mutable_process());
    return broker_->AcceptLane("beta", open).status();
  }
  Link* LinkOf(LocalProcess* process) {
    return broker_->LinkRemote(process, kRemote, MailboxOptions()).value();
  }
  absl::StatusCode Wish(LocalProcess* process, LinkWish wish) {
    return broker_->LinkRemote(process, kRemote, MailboxOptions(), wish).status().code();
  }
  // What was told of the directions of links, since the last call.
  std::vector<control::LinkDirection> TakeDirections() {
    std::vector<control::LinkDirection> directions;
    for (const control::Notice& notice : notices_) {
      if (notice.has_link_joined()) directions.push_back(notice.link_joined().direction());
    }
    notices_.clear();
    return directions;
  }
  // What end a of a link to another node sends on.
  std::shared_ptr<OutgoingLane> SenderOf(const Link& link) {
    return MapLinkSender("test", link, true, link.far, bell_, nullptr).value();
  }
  static absl::Status Send(OutgoingLane* lane) {
    return lane->Send(0, {{}, "x"}, absl::InfinitePast());
  }
  // A message in a mailbox, claimed for a process.
  void Claim(const LocalMailbox& mailbox, uint32_t number) {
    auto cells = MapCells(*registry_->FindLane(*mailbox.lanes.begin())).value();
    CellHead head;
    ASSERT_EQ(cells->reader().Peek(0, &head), Look::kReady);
    ASSERT_TRUE(cells->reader().Claim(0, head, number));
  }

  // Runs the loop until there are no lanes.
  void AwaitNoLanes() {
    if (registry_->lanes().empty()) return loop_.Stop();
    loop_.RunAfter(absl::Milliseconds(1), [this] { AwaitNoLanes(); });
  }

  // Runs the loop until nothing in the mailbox is claimed.
  void AwaitNoLeases(const LocalMailbox& mailbox) {
    if (broker_->Count(mailbox).leased == 0) return loop_.Stop();
    loop_.RunAfter(absl::Milliseconds(1), [this, &mailbox] { AwaitNoLeases(mailbox); });
  }

  TestKeeper keeper_;
  Loop loop_;
  const Destination bell_;
  std::vector<std::string> logged_;
  std::vector<control::Notice> notices_;
  std::vector<uint64_t> ended_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<RememberingCarrier> carrier_;
  std::unique_ptr<Broker> broker_;
};

TEST_F(BrokerTest, WhenBothEndsOfALinkBetweenNodesDieItGoes) {
  LocalProcess* process = AddTestProcess(registry_.get());
  const uint64_t id = LinkOf(process)->id;
  ASSERT_TRUE(Accept(*process, 5).ok());
  broker_->ProcessGone(process->number, EndReason::kKilled);
  EXPECT_THAT(carrier_->finishing, ElementsAre(id));
  EXPECT_EQ(registry_->links().size(), 1u);
  broker_->EndInbound("beta", 5, EndReason::kKilled);
  EXPECT_THAT(registry_->links(), IsEmpty());
  EXPECT_THAT(carrier_->outbound, IsEmpty());
  EXPECT_THAT(ended_, ElementsAre(id));
  broker_->OutboundDone(id);
  broker_->EndOutbound(id, CloseReason::kProcessGone);
}

TEST_F(BrokerTest, ALinkWhoseProcessIsGoneStaysUntilAllIsCarried) {
  LocalProcess* process = AddTestProcess(registry_.get());
  Link* link = LinkOf(process);
  ASSERT_TRUE(Send(SenderOf(*link).get()).ok());
  const uint64_t id = link->id;
  broker_->ProcessGone(process->number, EndReason::kKilled);
  StartAgain();
  EXPECT_THAT(carrier_->finishing, ElementsAre(id));
  EXPECT_FALSE(broker_->AllCarried());
  broker_->OutboundDone(id);
  EXPECT_THAT(registry_->links(), IsEmpty());
  EXPECT_TRUE(broker_->AllCarried());
  EXPECT_THAT(logged_, IsEmpty());
}

TEST_F(BrokerTest, AWayToAMailboxThatWasDestroyedGoesAtOnceAndItsSendersFindOut) {
  LocalProcess* process = AddTestProcess(registry_.get());
  for (const Endpoint& end : {Endpoint::OfAgent(), Endpoint::OfProcess(process->number)}) {
    Link* link = broker_->LinkMailbox(end, "beta", "orders", {}).value();
    auto sender = SenderOf(*link);
    ASSERT_TRUE(Send(sender.get()).ok());
    const uint64_t id = link->id;
    broker_->EndOutbound(id, CloseReason::kDestroyed);
    EXPECT_EQ(Send(sender.get()).code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(registry_->links(), IsEmpty());
    EXPECT_THAT(ended_, Contains(id));
  }
  EXPECT_EQ(process->dropped, 1u);
  EXPECT_EQ(logged_.size(), 2u);
  EXPECT_THAT(logged_, Contains(HasSubstr("1 messages of process ")));
}

TEST_F(BrokerTest, WhatTheDeadHadSentStillComesWhenTheWayToThemIsRefused) {
  LocalProcess* process = AddTestProcess(registry_.get());
  const uint64_t id = LinkOf(process)->id;
  ASSERT_TRUE(Accept(*process, 5).ok());
  broker_->EndOutbound(id, CloseReason::kProcessGone);
  ASSERT_EQ(registry_->links().size(), 1u);
  // Also after a reconnect, and after a restart.
  EXPECT_TRUE(Accept(*process, 5).ok());
  const uint32_t number = process->number;
  StartAgain();
  EXPECT_THAT(carrier_->outbound, IsEmpty());
  process = registry_->FindProcess(number);
  EXPECT_TRUE(Accept(*process, 5).ok());
  ASSERT_EQ(registry_->links().size(), 1u);
  broker_->EndInbound("beta", 5, EndReason::kKilled);
  EXPECT_THAT(registry_->links(), IsEmpty());
}

TEST_F(BrokerTest, APairWhoseLaneWasRefusedAsBrokenIsLinkedAgainWithNewMemory) {
  LocalProcess* process = AddTestProcess(registry_.get());
  const uint64_t old = LinkOf(process)->id;
  ASSERT_TRUE(Accept(*process, 5).ok());
  EXPECT_FALSE(broker_->InboundClosed("beta", 5));
  EXPECT_THAT(carrier_->finishing, ElementsAre(old));
  ASSERT_TRUE(Accept(*process, 6).ok());
  const Link* link = LinkOf(process);
  EXPECT_NE(link->id, old);
  EXPECT_EQ(link->inbound_lane, 6u);
  broker_->OutboundDone(old);
  EXPECT_EQ(registry_->links().size(), 1u);
  EXPECT_EQ(LinkOf(process), link);
}

TEST_F(BrokerTest, ALaterLaneOfAPairTakesThePlaceOfOneWhoseEndIsNotHeardYet) {
  LocalProcess* process = AddTestProcess(registry_.get());
  ASSERT_TRUE(Accept(*process, 5).ok());
  ASSERT_TRUE(Accept(*process, 9).ok());
  const uint64_t id = LinkOf(process)->id;
  EXPECT_EQ(LinkOf(process)->inbound_lane, 9u);
  EXPECT_EQ(Accept(*process, 7).code(), absl::StatusCode::kFailedPrecondition);
  // What is on its way in the earlier one still comes, until its end.
  const uint64_t old = *carrier_->finishing.begin();
  broker_->OutboundDone(old);
  EXPECT_TRUE(Accept(*process, 5).ok());
  EXPECT_EQ(registry_->links().size(), 2u);
  broker_->EndInbound("beta", 5, EndReason::kKilled);
  EXPECT_EQ(registry_->links().size(), 1u);
  EXPECT_EQ(LinkOf(process)->id, id);
}

TEST_F(BrokerTest, TheOrdinaryEndOfALaneIsNoneToBeLogged) {
  LocalProcess* process = AddTestProcess(registry_.get());
  ASSERT_TRUE(Accept(*process, 5).ok());
  broker_->ProcessGone(process->number, EndReason::kKilled);
  EXPECT_TRUE(broker_->InboundClosed("beta", 5));
  EXPECT_TRUE(broker_->InboundClosed("beta", 1234));
}

TEST_F(BrokerTest, ALaneThatEndsWhileItIsOpenedIsTakenFromTheCarrierAgain) {
  LocalProcess* process = AddTestProcess(registry_.get());
  ASSERT_TRUE(Accept(*process, 5).ok());
  broker_->EndInbound("beta", 5, EndReason::kKilled);
  EXPECT_THAT(carrier_->removed_inbound, ElementsAre(std::pair("beta", 5)));
}

TEST_F(BrokerTest, ANodeThatStartedAnewTakesWhatWasOnItsWayToIt) {
  LocalProcess* process = AddTestProcess(registry_.get());
  auto sender = SenderOf(*LinkOf(process));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Send(sender.get()).ok());
  broker_->ForgetNode("beta");
  EXPECT_EQ(process->dropped, 3u);
  EXPECT_EQ(Send(sender.get()).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(registry_->links(), IsEmpty());
  EXPECT_THAT(carrier_->forgotten, ElementsAre("beta"));
}

TEST_F(BrokerTest, AProcessThatClosedItsReceiverGivesBackWhatItHoldsWhenItIsGone) {
  LocalProcess* process = AddTestProcess(registry_.get());
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  const uint32_t number = process->number;
  ASSERT_TRUE(Send(broker_->AgentLane(mailbox).value().get()).ok());
  ASSERT_TRUE(broker_->OpenReceiver(process, mailbox, /*leases=*/false).ok());
  Claim(*mailbox, number);
  broker_->CloseReceiver(process, mailbox->id);
  EXPECT_EQ(broker_->Count(*mailbox).leased, 1u);
  // Also one that an agent before this one knew.
  StartAgain();
  mailbox = registry_->FindMailbox("orders");
  EXPECT_EQ(broker_->Count(*mailbox).leased, 1u);
  broker_->ProcessGone(number, EndReason::kKilled);
  EXPECT_EQ(broker_->Count(*mailbox).leased, 0u);
  EXPECT_EQ(broker_->Count(*mailbox).waiting, 1u);
}

TEST_F(BrokerTest, AReceiverThatWasDetachedGivesBackWhatItClaimsAfterThatWhenItDies) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  LocalProcess* process = registry_
                              ->AddProcess(child, getuid(), Fd(dup(0)),
                                           Fd(static_cast<int>(syscall(SYS_pidfd_open, child, 0))))
                              .value();
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  const uint32_t number = process->number;
  ASSERT_TRUE(Send(broker_->AgentLane(mailbox).value().get()).ok());
  ASSERT_TRUE(broker_->OpenReceiver(process, mailbox, /*leases=*/false).ok());
  broker_->AwaitEnd(*process);
  broker_->ProcessGone(number, EndReason::kDetached);
  // It had looked whether it is gone before the agent said so.
  Claim(*mailbox, number);
  EXPECT_EQ(broker_->Count(*mailbox).leased, 1u);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  AwaitNoLeases(*mailbox);
  loop_.Run();
  EXPECT_EQ(broker_->Count(*mailbox).waiting, 1u);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST_F(BrokerTest, ClaimsOfNumbersThatNobodyHasAreReleasedAtARestart) {
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  ASSERT_TRUE(Send(broker_->AgentLane(mailbox).value().get()).ok());
  Claim(*mailbox, 12345);
  StartAgain();
  EXPECT_EQ(broker_->Count(*registry_->FindMailbox("orders")).waiting, 1u);
}

TEST_F(BrokerTest, AnAgentThatDiedWhileItDestroyedAMailboxFinishesThat) {
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  ASSERT_TRUE(Send(broker_->AgentLane(mailbox).value().get()).ok());
  mailbox->destination.Close(CloseReason::kDestroyed);
  StartAgain();
  EXPECT_EQ(registry_->FindMailbox("orders"), nullptr);
  EXPECT_THAT(registry_->lanes(), IsEmpty());
  EXPECT_TRUE(registry_->AddMailbox("orders", {}, 0, 0).ok());
}

TEST_F(BrokerTest, AnOrderlyStopClosesEverythingAndSaysWhatIsLeft) {
  LocalProcess* process = AddTestProcess(registry_.get());
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  auto to_mailbox = broker_->AgentLane(mailbox).value();
  auto to_process = broker_->AgentLane(process).value();
  auto to_far = SenderOf(*LinkOf(process));
  for (const auto& lane : {to_mailbox, to_process, to_far}) ASSERT_TRUE(Send(lane.get()).ok());
  broker_->StopOutbound();
  EXPECT_EQ(Send(to_far.get()).code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(Send(to_mailbox.get()).ok());
  EXPECT_FALSE(broker_->AllCarried());
  broker_->CloseAll();
  EXPECT_EQ(Send(to_mailbox.get()).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Send(to_process.get()).code(), absl::StatusCode::kAborted);
  EXPECT_THAT(logged_, Contains("mailbox orders ends with 2 messages in it"));
  EXPECT_THAT(logged_, Contains(HasSubstr(kRemote.ToString())));
}

TEST_F(BrokerTest, AnAgentKilledWhileItStoppedCarriesOnWhatWasAccepted) {
  LocalProcess* process = AddTestProcess(registry_.get());
  Link* link = LinkOf(process);
  const uint64_t id = link->id;
  ASSERT_TRUE(Send(SenderOf(*link).get()).ok());
  broker_->StopOutbound();
  StartAgain();
  EXPECT_THAT(carrier_->finishing, ElementsAre(id));
  EXPECT_FALSE(broker_->AllCarried());
  EXPECT_NE(LinkOf(registry_->processes().begin()->second.get())->id, id);
}

TEST_F(BrokerTest, AnAgentWithALeasedMessageOrOneOnItsWayIsNotEmpty) {
  EXPECT_TRUE(broker_->Empty());
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  auto lane = broker_->AgentLane(mailbox).value();
  EXPECT_TRUE(broker_->Empty());
  ASSERT_TRUE(Send(lane.get()).ok());
  Claim(*mailbox, 12345);
  EXPECT_EQ(broker_->Count(*mailbox).waiting, 0u);
  EXPECT_FALSE(broker_->Empty());
  broker_->DestroyMailbox(mailbox);
  EXPECT_TRUE(broker_->Empty());
  Link* link = broker_->LinkMailbox(Endpoint::OfAgent(), "beta", "far", {}).value();
  ASSERT_TRUE(Send(broker_->AgentLane(*link).value().get()).ok());
  EXPECT_FALSE(broker_->Empty());
}

TEST_F(BrokerTest, AOneWayLinkIsItsOwnersUntilThatWantsATwoWayOne) {
  LocalProcess* owner = AddTestProcess(registry_.get(), 1);
  LocalProcess* other = AddTestProcess(registry_.get(), 2);
  const auto wish = [&](LocalProcess* a, LocalProcess* b, LinkWish asked) {
    return broker_->LinkLocal(a, b, asked).status().code();
  };
  EXPECT_EQ(wish(owner, owner, LinkWish::kOneWay), absl::StatusCode::kInvalidArgument);
  const uint64_t id = broker_->LinkLocal(owner, other, LinkWish::kOneWay).value()->id;
  EXPECT_THAT(TakeDirections(), ElementsAre(control::OUTWARD, control::INWARD));
  const auto expect_one_way = [&] {
    for (const LinkWish asked : {LinkWish::kTwoWay, LinkWish::kOneWay}) {
      EXPECT_EQ(wish(other, owner, asked), absl::StatusCode::kPermissionDenied);
    }
    EXPECT_EQ(broker_->LinkLocal(other, owner, LinkWish::kAsItIs).value()->id, id);
    EXPECT_EQ(broker_->LinkLocal(owner, other, LinkWish::kAsItIs).value()->id, id);
    EXPECT_EQ(broker_->LinkLocal(owner, other, LinkWish::kOneWay).value()->id, id);
    control::LinkRow row;
    broker_->Describe(*registry_->FindLink(id), &row);
    EXPECT_EQ(row.direction(), control::OUTWARD);
  };
  expect_one_way();
  const uint32_t number = owner->number;
  const uint32_t other_number = other->number;
  StartAgain();
  owner = registry_->FindProcess(number);
  other = registry_->FindProcess(other_number);
  EXPECT_THAT(TakeDirections(), ElementsAre(control::OUTWARD, control::INWARD));
  expect_one_way();
  // What programs that have not attached send is another link's.
  EXPECT_TRUE(broker_->AgentLane(owner).ok());
  notices_.clear();
  EXPECT_EQ(broker_->LinkLocal(owner, other).value()->id, id);
  EXPECT_THAT(TakeDirections(), ElementsAre(control::BOTH_WAYS, control::BOTH_WAYS));
  EXPECT_EQ(broker_->LinkLocal(other, owner).value()->id, id);
  EXPECT_EQ(wish(owner, other, LinkWish::kOneWay), absl::StatusCode::kFailedPrecondition);
  StartAgain();
  EXPECT_EQ(registry_->FindLink(id)->direction, LinkDirection::kBoth);
}

TEST_F(BrokerTest, TheAgentOfAOneWayLinksOwnerRefusesTheOthersLane) {
  LocalProcess* process = AddTestProcess(registry_.get());
  const uint64_t id = broker_->LinkRemote(process, kRemote, {}, LinkWish::kOneWay).value()->id;
  EXPECT_THAT(TakeDirections(), ElementsAre(control::OUTWARD));
  EXPECT_THAT(carrier_->one_way, ElementsAre(id));
  EXPECT_EQ(Accept(*process, 5).code(), absl::StatusCode::kPermissionDenied);
  const uint32_t number = process->number;
  StartAgain();
  process = registry_->FindProcess(number);
  EXPECT_THAT(carrier_->one_way, ElementsAre(id));
  EXPECT_EQ(Accept(*process, 5).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Wish(process, LinkWish::kAsItIs), absl::StatusCode::kOk);
  EXPECT_EQ(Accept(*process, 5).code(), absl::StatusCode::kPermissionDenied);
  notices_.clear();
  EXPECT_EQ(LinkOf(process)->id, id);
  EXPECT_THAT(TakeDirections(), ElementsAre(control::BOTH_WAYS));
  EXPECT_TRUE(Accept(*process, 5).ok());
  EXPECT_EQ(Wish(process, LinkWish::kOneWay), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(registry_->links().size(), 1u);
}

TEST_F(BrokerTest, TheEndOfWhoHasAOneWayLinksOtherEndIsLeftToItsWatch) {
  LocalProcess* process = AddTestProcess(registry_.get());
  const uint64_t id = broker_->LinkRemote(process, kRemote, {}, LinkWish::kOneWay).value()->id;
  notices_.clear();
  broker_->EndOutbound(id, CloseReason::kProcessGone);
  EXPECT_THAT(registry_->links(), IsEmpty());
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_EQ(notices_[0].lane_ended().lane_id(), id);
  EXPECT_EQ(notices_[0].lane_ended().end_reason(), 0u);
}

TEST_F(BrokerTest, ToSendOnALinkThatAnotherNodesProcessHasMadeOneWayThatNodeIsAsked) {
  LocalProcess* process = AddTestProcess(registry_.get());
  ASSERT_TRUE(Accept(*process, 5, /*one_way=*/true).ok());
  EXPECT_THAT(TakeDirections(), ElementsAre(control::INWARD));
  EXPECT_EQ(Wish(process, LinkWish::kOneWay), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Wish(process, LinkWish::kAsItIs), absl::StatusCode::kOk);
  const uint32_t number = process->number;
  StartAgain();
  process = registry_->FindProcess(number);
  EXPECT_THAT(carrier_->outbound, IsEmpty());
  const uint64_t id = LinkOf(process)->id;
  EXPECT_THAT(carrier_->outbound, ElementsAre(id));
  EXPECT_THAT(carrier_->one_way, IsEmpty());
  carrier_->outbound.clear();
  broker_->EndOutbound(id, CloseReason::kProcessGone);
  // It brings what the other sends, as before, and may be asked for again.
  EXPECT_TRUE(Accept(*process, 5, /*one_way=*/true).ok());
  EXPECT_EQ(LinkOf(process)->id, id);
  EXPECT_THAT(carrier_->outbound, ElementsAre(id));
  notices_.clear();
  broker_->OutboundOpened(id);
  EXPECT_THAT(TakeDirections(), ElementsAre(control::BOTH_WAYS));
  EXPECT_TRUE(Accept(*process, 5, /*one_way=*/true).ok());
  StartAgain();
  EXPECT_EQ(registry_->FindLink(id)->direction, LinkDirection::kBoth);
  EXPECT_THAT(carrier_->outbound, ElementsAre(id));
  broker_->EndInbound("beta", 5, EndReason::kKilled);
  EXPECT_THAT(registry_->links(), IsEmpty());
}

TEST_F(BrokerTest, OfTwoOneWayLinksThatMeetThatOfTheLesserIdStays) {
  // Ids are compared as text, by both agents alike.
  LocalProcess* lesser = AddTestProcess(registry_.get(), 1);
  const uint64_t stays = broker_->LinkRemote(lesser, kRemote, {}, LinkWish::kOneWay).value()->id;
  EXPECT_EQ(Accept(*lesser, 5, /*one_way=*/true).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(ended_, IsEmpty());
  LocalProcess* greater = AddTestProcess(registry_.get(), 9);
  const uint64_t goes = broker_->LinkRemote(greater, kRemote, {}, LinkWish::kOneWay).value()->id;
  notices_.clear();
  EXPECT_TRUE(Accept(*greater, 6, /*one_way=*/true).ok());
  EXPECT_THAT(ended_, ElementsAre(goes));
  EXPECT_THAT(carrier_->outbound, ElementsAre(stays));
  EXPECT_THAT(TakeDirections(), ElementsAre(control::INWARD));
  EXPECT_EQ(registry_->FindInbound("beta", 6)->direction, LinkDirection::kFromB);
  EXPECT_EQ(Wish(greater, LinkWish::kOneWay), absl::StatusCode::kPermissionDenied);
}

TEST_F(BrokerTest, APairWhoseWayBackStillBringsSomethingIsNotLinkedOneWay) {
  LocalProcess* process = AddTestProcess(registry_.get());
  const uint64_t id = LinkOf(process)->id;
  ASSERT_TRUE(Accept(*process, 5).ok());
  broker_->EndOutbound(id, CloseReason::kRefused);
  EXPECT_EQ(Wish(process, LinkWish::kOneWay), absl::StatusCode::kFailedPrecondition);
  broker_->EndInbound("beta", 5, EndReason::kKilled);
  EXPECT_EQ(Wish(process, LinkWish::kOneWay), absl::StatusCode::kOk);
}

TEST_F(BrokerTest, WhoAskedForTwoWaysJustThenLosesOnlyItsOwn) {
  LocalProcess* process = AddTestProcess(registry_.get());
  // The other's answer comes first, and nobody is told of an end.
  uint64_t id = LinkOf(process)->id;
  notices_.clear();
  broker_->EndOutbound(id, CloseReason::kProcessGone);
  EXPECT_THAT(registry_->links(), IsEmpty());
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_EQ(notices_[0].lane_ended().end_reason(), 0u);
  // Its lane comes first, and goes on.
  id = LinkOf(process)->id;
  ASSERT_TRUE(Accept(*process, 5, /*one_way=*/true).ok());
  auto sender = SenderOf(*registry_->FindLink(id));
  broker_->EndOutbound(id, CloseReason::kProcessGone);
  EXPECT_EQ(Send(sender.get()).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Accept(*process, 5, /*one_way=*/true).ok());
  EXPECT_EQ(registry_->FindInbound("beta", 5)->id, id);
}

TEST_F(BrokerTest, APurgeCountsWhatItDrops) {
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  auto lane = broker_->AgentLane(mailbox).value();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Send(lane.get()).ok());
  EXPECT_EQ(broker_->Purge(mailbox), 4u);
  EXPECT_EQ(mailbox->dropped, 4u);
  StartAgain();
  EXPECT_EQ(registry_->FindMailbox("orders")->dropped, 4u);
}

TEST_F(BrokerTest, ReceiversAreToldWhichLanesTheAgentWrites) {
  LocalProcess* process = AddTestProcess(registry_.get());
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  ASSERT_TRUE(broker_->AgentLane(mailbox).ok());
  ASSERT_TRUE(
      broker_->JoinMailbox(mailbox, Endpoint::OfRemoteProcess(kRemote), kRemote, 0, 5).ok());
  ASSERT_TRUE(
      broker_
          ->JoinMailbox(mailbox, Endpoint::OfProcess(process->number), process->id, process->uid, 0)
          .ok());
  ASSERT_TRUE(broker_->OpenReceiver(process, mailbox, /*leases=*/false).ok());
  ASSERT_TRUE(broker_->AddProxy(process, "beta", "far", {}, /*leases=*/false).ok());
  LinkOf(process);
  ASSERT_TRUE(broker_->AgentLane(process).ok());
  ASSERT_TRUE(broker_->LinkLocal(process, process).ok());
  std::vector<bool> by_agent;
  for (const control::Notice& notice : notices_) {
    by_agent.push_back(notice.has_lane_joined() ? notice.lane_joined().by_agent()
                                                : notice.link_joined().peer_is_agent());
  }
  EXPECT_THAT(by_agent, ElementsAre(true, true, false, true, true, true, false));
}

TEST_F(BrokerTest, AfterARestartOnlyTheLastNoticeSaysThatAReceiverKnowsAllLanes) {
  LocalProcess* process = AddTestProcess(registry_.get());
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  const uint64_t mailbox_id = mailbox->id;
  const uint64_t inbox_id = process->inbox_id;
  ASSERT_TRUE(broker_->OpenReceiver(process, mailbox, /*leases=*/false).ok());
  for (int32_t pid = 1; pid <= 3; ++pid) {
    LocalProcess* sender = AddTestProcess(registry_.get(), pid);
    const Endpoint end = Endpoint::OfProcess(sender->number);
    ASSERT_TRUE(broker_->JoinMailbox(mailbox, end, sender->id, sender->uid, 0).ok());
    ASSERT_TRUE(broker_->LinkLocal(process, sender).ok());
  }
  const uint32_t number = process->number;
  notices_.clear();
  StartAgain();
  for (const uint64_t id : {mailbox_id, inbox_id}) {
    const Destination& destination = id == mailbox_id
                                         ? registry_->FindMailbox("orders")->destination
                                         : registry_->FindProcess(number)->inbox;
    std::vector<control::Notice> notices;
    for (const control::Notice& notice : notices_) {
      if (notice.destination_id() == id) notices.push_back(notice);
    }
    ASSERT_EQ(notices.size(), 4u);
    EXPECT_EQ(notices.back().members_version(), destination.version());
    notices.pop_back();
    // The version that it knew before may be the one before the last.
    for (const control::Notice& notice : notices) {
      EXPECT_TRUE(notice.has_lane_joined() || notice.has_link_joined());
      EXPECT_LT(notice.members_version(), destination.version() - 1);
    }
  }
}

TEST_F(BrokerTest, LanesOfTheDeadGoWhenTheyAreDrained) {
  LocalProcess* process = AddTestProcess(registry_.get());
  LocalMailbox* mailbox = registry_->AddMailbox("orders", {}, 0, 0).value();
  const Endpoint sender = Endpoint::OfProcess(process->number);
  MailboxLane* lane = broker_->JoinMailbox(mailbox, sender, process->id, 0, 0).value();
  auto out = MapCellSender("test", {}, lane->geometry, lane->data, lane->state,
                           mailbox->destination, nullptr)
                 .value();
  ASSERT_TRUE(Send(out.get()).ok());
  broker_->ProcessGone(process->number, EndReason::kKilled);
  EXPECT_EQ(broker_->Purge(mailbox), 1u);
  AwaitNoLanes();
  loop_.Run();
  EXPECT_THAT(registry_->lanes(), IsEmpty());
}

}  // namespace
}  // namespace mailrail
