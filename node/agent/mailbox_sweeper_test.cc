#include "node/agent/mailbox_sweeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "node/agent/agent_testing.h"
#include "node/agent/broker.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

using testing::Contains;
using testing::HasSubstr;

class MailboxSweeperTest : public testing::Test {
 protected:
  MailboxSweeperTest() : bell_(Destination::Create("test").value()) { Start(); }

  void Start() {
    const auto log = [this](absl::string_view line) { logged_.push_back(std::string(line)); };
    // With the agent go the timers that it has set.
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
  LocalMailbox* Create(const std::string& name, const MailboxOptions& options = {}) {
    return registry_->AddMailbox(name, options, 0, 0).value();
  }
  LocalMailbox* Find(const std::string& name) { return registry_->FindMailbox(name); }
  std::shared_ptr<OutgoingLane> LaneTo(const std::string& name) {
    return broker_->AgentLane(Find(name)).value();
  }
  void Send(const std::string& name, absl::string_view body) {
    ASSERT_TRUE(LaneTo(name)->Send(0, {{}, body}, absl::InfinitePast()).ok());
  }
  // The first message that can be received, claimed by process `number`.
  CellHead Claim(const std::string& name, uint32_t number) {
    CellHead head;
    const std::shared_ptr<IncomingCells> cells = CellsOf(name);
    EXPECT_EQ(cells->reader().Peek(0, &head), Look::kReady);
    EXPECT_TRUE(cells->reader().Claim(0, head, number));
    return head;
  }
  std::shared_ptr<IncomingCells> CellsOf(const std::string& name) {
    return MapCells(*registry_->FindLane(*Find(name)->lanes.begin())).value();
  }
  // A message of a mailbox with one attempt that was handed out.
  void Condemn(const std::string& name, absl::string_view body) {
    Send(name, body);
    const CellHead head = Claim(name, 77);
    ASSERT_TRUE(CellsOf(name)->reader().Return(0, head.slot, head.position, 77));
    broker_->LookAtMailbox(Find(name)->id);
  }
  CellReader::Counts Count(const std::string& name) { return broker_->Count(*Find(name)); }

  // Runs the loop until then.
  void Await(const std::function<bool()>& done) {
    while (!done()) loop_->RunOnce();
  }

  TestKeeper keeper_;
  const Destination bell_;
  std::vector<std::string> logged_;
  RememberingCarrier carrier_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Broker> broker_;
};

TEST_F(MailboxSweeperTest, ADeadLetterIsMovedWithItsReasonAndItsSender) {
  Create("dead");
  Create("jobs", {.max_attempts = 1, .dead_letter = "dead"});
  Condemn("jobs", "body");
  Await([this] { return Count("dead").waiting == 1; });
  EXPECT_EQ(Count("jobs").left(), 0u);
  EXPECT_EQ(Find("jobs")->dead_letters, 1u);
  EXPECT_EQ(Find("jobs")->dropped, 0u);
}

TEST_F(MailboxSweeperTest, WhatADeathLeftBetweenTheTwoMailboxesIsInOneOfThem) {
  for (const bool published : {false, true}) {
    const std::string jobs = published ? "jobs1" : "jobs0";
    const std::string dead = published ? "dead1" : "dead0";
    Create(dead);
    Create(jobs, {.max_attempts = 1, .dead_letter = dead});
    Send(jobs, "body");
    const CellHead head = Claim(jobs, 77);
    // Condemned, noted, and perhaps published.
    ASSERT_TRUE(CellsOf(jobs)->reader().Return(0, head.slot, head.position, 77));
    Send(dead, "another");
    volatile MoveNote* const note = MoveNote::Of(*Find(dead));
    note->lane = *Find(jobs)->lanes.begin();
    note->sequence = head.position;
    note->priority = 0;
    note->position = LaneTo(dead)->sequence(0) + 1;
    if (published) Send(dead, "body");
    StartAgain();
    Await([&] { return Count(jobs).left() == 0; });
    EXPECT_EQ(Count(dead).waiting, 2u) << published;
    EXPECT_EQ(MoveNote::Of(*Find(dead))->position, 0u);
  }
}

TEST_F(MailboxSweeperTest, ADeadLetterWaitsForRoomAndThenGoes) {
  Create("dead", {.capacity_messages = 1});
  Create("jobs", {.max_attempts = 1, .dead_letter = "dead"});
  Condemn("jobs", "first");
  Condemn("jobs", "second");
  Await([this] { return Count("dead").waiting == 1; });
  EXPECT_EQ(Count("jobs").condemned, 1u);
  const CellHead head = Claim("dead", 78);
  ASSERT_TRUE(CellsOf("dead")->reader().Take(0, head.slot, head.position, 78, false));
  Await([this] { return Count("dead").waiting == 1; });
  EXPECT_EQ(Count("jobs").left(), 0u);
  EXPECT_EQ(Find("jobs")->dead_letters, 2u);
}

TEST_F(MailboxSweeperTest, ADeadLetterWithoutAMailboxIsDroppedCountedAndLogged) {
  Create("dead");
  Create("jobs", {.max_attempts = 1, .dead_letter = "dead"});
  broker_->DestroyMailbox(Find("dead"));
  Condemn("jobs", "body");
  Await([this] { return Count("jobs").left() == 0; });
  EXPECT_EQ(Find("jobs")->dropped, 1u);
  EXPECT_THAT(logged_, Contains(HasSubstr("its dead-letter mailbox was destroyed")));
}

TEST_F(MailboxSweeperTest, ALeaseEndsAfterItsTimeAlsoOfAReceiverThatHasClosed) {
  LocalProcess* const process = AddTestProcess(registry_.get());
  LocalMailbox* const mailbox = Create("jobs", {.lease_time = absl::Milliseconds(40)});
  Send("jobs", "body");
  ASSERT_TRUE(broker_->OpenReceiver(process, mailbox, /*leases=*/true).ok());
  const absl::Time before = absl::Now();
  const CellHead head = Claim("jobs", process->number);
  broker_->CloseReceiver(process, mailbox->id);
  Await([this] { return Count("jobs").waiting == 1; });
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(40));
  EXPECT_FALSE(CellsOf("jobs")->reader().Take(0, head.slot, head.position, process->number, false));
}

TEST_F(MailboxSweeperTest, ALeaseThatEndsForTheLastTimeIsADeadLetter) {
  LocalProcess* const process = AddTestProcess(registry_.get());
  Create("dead");
  LocalMailbox* const mailbox = Create(
      "jobs", {.lease_time = absl::Milliseconds(40), .max_attempts = 1, .dead_letter = "dead"});
  Send("jobs", "body");
  ASSERT_TRUE(broker_->OpenReceiver(process, mailbox, /*leases=*/true).ok());
  Claim("jobs", process->number);
  Await([this] { return Count("dead").waiting == 1; });
  EXPECT_EQ(Count("jobs").left(), 0u);
}

TEST_F(MailboxSweeperTest, AnAgentThatIsStartedAgainGoesOnEndingLeases) {
  LocalProcess* const process = AddTestProcess(registry_.get());
  const uint32_t number = process->number;
  LocalMailbox* const mailbox = Create("jobs", {.lease_time = absl::Milliseconds(40)});
  Send("jobs", "body");
  ASSERT_TRUE(broker_->OpenReceiver(process, mailbox, /*leases=*/true).ok());
  Claim("jobs", number);
  StartAgain();
  EXPECT_TRUE(Find("jobs")->leasing.contains(number));
  Await([this] { return Count("jobs").waiting == 1; });
}

TEST_F(MailboxSweeperTest, OnlyWhoHasALeaseExtendsIt) {
  LocalProcess* const process = AddTestProcess(registry_.get());
  LocalMailbox* const mailbox = Create("jobs");
  Send("jobs", "body");
  ASSERT_TRUE(broker_->OpenReceiver(process, mailbox, /*leases=*/true).ok());
  const CellHead head = Claim("jobs", process->number);
  control::ExtendLease lease;
  lease.set_destination_id(mailbox->id);
  lease.set_lane_id(*mailbox->lanes.begin());
  lease.set_slot(head.slot);
  lease.set_sequence(head.position);
  lease.set_time_ms(1);
  EXPECT_TRUE(
      absl::IsFailedPrecondition(broker_->ExtendLease(AddTestProcess(registry_.get()), lease)));
  EXPECT_TRUE(broker_->ExtendLease(process, lease).ok());
  Await([this] { return Count("jobs").waiting == 1; });
  EXPECT_TRUE(absl::IsFailedPrecondition(broker_->ExtendLease(process, lease)));
}

}  // namespace
}  // namespace mailrail
