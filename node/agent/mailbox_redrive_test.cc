// Dead letters that go back to where they were sent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/base/coarse_clock.h"
#include "node/agent/agent_testing.h"
#include "node/agent/broker.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ProcessId kSender("beta", 4711, 3);

class MailboxRedriveTest : public testing::Test {
 protected:
  MailboxRedriveTest() : bell_(Destination::Create("test").value()) {
    Start();
    Create("dead");
    Create("jobs");
  }

  void Start() {
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
  LocalMailbox* Create(const std::string& name, const MailboxOptions& options = {}) {
    return registry_->AddMailbox(name, options, 0, 0).value();
  }
  LocalMailbox* Find(const std::string& name) { return registry_->FindMailbox(name); }
  std::shared_ptr<OutgoingLane> LaneTo(const std::string& name) {
    return broker_->AgentLane(Find(name)).value();
  }
  // Puts a dead letter of `mailbox` there.
  void Bury(const std::string& body, const std::string& mailbox = "jobs", int priority = 0,
            DeadLetterReason reason = DeadLetterReason::kAttempts) {
    const Prefix prefix = {.sender = kSender,
                           .dead_letter_reason = reason,
                           .dead_letter_mailbox = mailbox,
                           .headers = {{"kind", body}},
                           .reply_to = "answers"};
    ASSERT_TRUE(
        LaneTo("dead")->Send(priority, {EncodePrefix(prefix), body}, absl::InfinitePast()).ok());
  }
  absl::StatusOr<proto::Redriven> Ask(const proto::Redrive& redrive) {
    absl::optional<absl::StatusOr<proto::Redriven>> answer;
    broker_->browser().Redrive(
        *Find("dead"), redrive,
        {[] { return true; },
         [&](absl::StatusOr<proto::Redriven> redriven) { answer = std::move(redriven); }});
    while (!answer.has_value()) loop_->RunOnce();
    return *std::move(answer);
  }
  static proto::Redrive NewRequest(uint32_t limit = 1000) {
    static uint64_t last_token = 0;
    proto::Redrive redrive;
    redrive.set_limit(limit);
    redrive.set_token(++last_token);
    return redrive;
  }
  uint64_t Redrive(uint32_t limit = 1000) { return Ask(NewRequest(limit))->moved(); }
  // What is received of a mailbox now.
  std::vector<Message> Receive(const std::string& name) {
    MailboxQueue queue(999);
    const uint32_t version = Find(name)->destination.version();
    queue.Reach(version);
    for (const uint64_t id : Find(name)->lanes) {
      queue.Join(MapCells(*registry_->FindLane(id)).value(), version);
    }
    std::vector<Message> messages(1);
    while (queue.Take(*Find(name)->destination.page(), nullptr, &messages.back()) ==
           ReceiveQueue::Taken::kMessage) {
      messages.emplace_back();
    }
    messages.pop_back();
    return messages;
  }
  std::vector<std::string> Bodies(const std::string& name) {
    std::vector<std::string> bodies;
    for (const Message& message : Receive(name)) bodies.push_back(std::string(message.body()));
    return bodies;
  }
  CellReader::Counts Count(const std::string& name) { return broker_->Count(*Find(name)); }
  std::shared_ptr<IncomingCells> CellsOf(const std::string& name) {
    return MapCells(*registry_->FindLane(*Find(name)->lanes.begin())).value();
  }

  TestKeeper keeper_;
  const Destination bell_;
  RememberingCarrier carrier_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Broker> broker_;
};

TEST_F(MailboxRedriveTest, ALetterGoesBackAsItWasSentAndIsADeadLetterNoMore) {
  Bury("first", "jobs", 9);
  EXPECT_EQ(Redrive(), 1u);
  EXPECT_EQ(Count("dead").left(), 0u);
  const std::vector<Message> received = Receive("jobs");
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].body(), "first");
  EXPECT_EQ(received[0].sender(), kSender);
  EXPECT_EQ(received[0].priority(), 9);
  EXPECT_EQ(received[0].attempts(), 0);
  EXPECT_THAT(received[0].headers(), ElementsAre(Header{"kind", "first"}));
  EXPECT_EQ(received[0].reply_to(), "answers");
  EXPECT_EQ(received[0].dead_letter_reason(), DeadLetterReason::kNone);
  EXPECT_EQ(received[0].dead_letter_mailbox(), "");
}

TEST_F(MailboxRedriveTest, EachGoesToItsOwnMailboxInOrder) {
  Create("others");
  for (int i = 0; i < 6; ++i) Bury(std::to_string(i), i % 2 == 0 ? "jobs" : "others");
  EXPECT_EQ(Redrive(), 6u);
  EXPECT_THAT(Bodies("jobs"), ElementsAre("0", "2", "4"));
  EXPECT_THAT(Bodies("others"), ElementsAre("1", "3", "5"));
}

TEST_F(MailboxRedriveTest, OnlyThoseOfTheReasonAndAsManyAsAreAskedForGo) {
  Bury("attempts");
  Bury("expired", "jobs", 0, DeadLetterReason::kExpired);
  Bury("expired too", "jobs", 0, DeadLetterReason::kExpired);
  proto::Redrive expired = NewRequest(1);
  expired.set_reason(static_cast<uint32_t>(DeadLetterReason::kExpired));
  EXPECT_EQ(Ask(expired)->moved(), 1u);
  EXPECT_THAT(Bodies("jobs"), ElementsAre("expired"));
  EXPECT_EQ(Redrive(1), 1u);
  EXPECT_THAT(Bodies("jobs"), ElementsAre("attempts"));
  EXPECT_THAT(Bodies("dead"), ElementsAre("expired too"));
}

TEST_F(MailboxRedriveTest, AllGoToTheMailboxThatIsNamed) {
  Create("others");
  Bury("first");
  Bury("second", "gone");
  proto::Redrive redrive = NewRequest();
  redrive.set_to("others@alpha");
  EXPECT_EQ(Ask(redrive)->moved(), 2u);
  EXPECT_THAT(Bodies("others"), ElementsAre("first", "second"));
  for (const auto& [to, code] : std::vector<std::pair<std::string, absl::StatusCode>>{
           {"nowhere", absl::StatusCode::kNotFound},
           {"dead", absl::StatusCode::kInvalidArgument},
           {"others@beta", absl::StatusCode::kInvalidArgument},
           {"no name", absl::StatusCode::kInvalidArgument}}) {
    redrive.set_to(to);
    EXPECT_EQ(Ask(redrive).status().code(), code) << to;
  }
}

TEST_F(MailboxRedriveTest, WhatIsNoDeadLetterOrIsLeasedStays) {
  ASSERT_TRUE(LaneTo("dead")->Send(0, {{}, "sent there"}, absl::InfinitePast()).ok());
  Bury("leased", "jobs", 1);
  CellHead head;
  const std::shared_ptr<IncomingCells> cells = CellsOf("dead");
  ASSERT_EQ(cells->reader().Peek(1, &head), Look::kReady);
  ASSERT_TRUE(cells->reader().Claim(1, head, 77));
  const proto::Redriven redriven = *Ask(NewRequest());
  EXPECT_EQ(redriven.moved(), 0u);
  EXPECT_EQ(redriven.left(), 0u);
  EXPECT_EQ(Count("dead").leased, 1u);
  EXPECT_EQ(Count("dead").waiting, 1u);
  EXPECT_EQ(Count("jobs").left(), 0u);
}

TEST_F(MailboxRedriveTest, WhatCannotGoStaysAndIsTold) {
  Create("small", {.max_message_bytes = 3});
  Create("full", {.capacity_messages = 1});
  Bury("lost", "gone");
  Bury("large", "small");
  Bury("one", "full");
  Bury("two", "full");
  Bury("three", "full");
  Bury("last");
  const proto::Redriven redriven = *Ask(NewRequest());
  EXPECT_EQ(redriven.moved(), 2u);
  EXPECT_EQ(redriven.left(), 4u);
  EXPECT_EQ(redriven.why().code(), static_cast<int>(absl::StatusCode::kNotFound));
  EXPECT_THAT(redriven.why().message(), HasSubstr("'gone'"));
  EXPECT_EQ(Count("dead").waiting, 4u);
  EXPECT_THAT(Bodies("full"), ElementsAre("one"));
  EXPECT_EQ(Redrive(), 1u);
  EXPECT_THAT(Bodies("full"), ElementsAre("two"));
  // The one that had no room was away for a moment, and so goes first.
  EXPECT_THAT(Bodies("dead"), ElementsAre("three", "lost", "large"));
}

TEST_F(MailboxRedriveTest, WhatAFullMailboxWouldDropStaysToo) {
  Create("full", {.capacity_messages = 1, .when_full = FullPolicy::kDropNewest});
  Bury("one", "full");
  Bury("two", "full");
  const proto::Redriven redriven = *Ask(NewRequest());
  EXPECT_EQ(redriven.moved(), 1u);
  EXPECT_EQ(redriven.left(), 1u);
  EXPECT_EQ(redriven.why().code(), static_cast<int>(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Bodies("full"), ElementsAre("one"));
  EXPECT_THAT(Bodies("dead"), ElementsAre("two"));
}

TEST_F(MailboxRedriveTest, ManyTakeSeveralAnswersWhichGoOnBehindThoseThatStay) {
  for (int i = 0; i < 600; ++i) Bury(std::to_string(i), i % 100 == 0 ? "gone" : "jobs");
  proto::Redrive redrive = NewRequest();
  uint64_t moved = 0, left = 0;
  int answers = 0;
  for (bool more = true; more; ++answers) {
    const proto::Redriven redriven = *Ask(redrive);
    moved += redriven.moved();
    left += redriven.left();
    EXPECT_TRUE(answers > 0 || redriven.found() == 600u) << redriven.found();
    more = redriven.has_next();
    redrive = NewRequest();
    *redrive.mutable_after() = redriven.next();
  }
  EXPECT_GT(answers, 1);
  EXPECT_EQ(moved, 594u);
  EXPECT_EQ(left, 6u);
  const std::vector<std::string> bodies = Bodies("jobs");
  ASSERT_EQ(bodies.size(), 594u);
  EXPECT_EQ(bodies.front(), "1");
  EXPECT_EQ(bodies.back(), "599");
}

// At each point between two of its steps.
TEST_F(MailboxRedriveTest, WhatADeathLeftOfAMoveIsInOneOfTheTwoMailboxesAndCountedOnce) {
  for (const int death : {0, 1, 2, 3, 4}) {
    SCOPED_TRACE(death);
    Bury("first");
    Bury("second");
    const proto::Redrive request = NewRequest(1);
    // What the agent had done by then: withheld, noted, published, freed, counted.
    volatile MoveTally* const tally = MoveTally::Of(*Find("dead"));
    tally->token = request.token();
    tally->moved = 0;
    const std::shared_ptr<IncomingCells> cells = CellsOf("dead");
    CellHead head;
    ASSERT_EQ(cells->reader().Peek(0, &head), Look::kReady);
    CellReader::Kept kept;
    ASSERT_TRUE(cells->reader().Withhold(0, head, DueTick::After(MonotonicTime(), 0), &kept));
    volatile MoveNote* const note = MoveNote::Of(*Find("jobs"));
    if (death >= 1) {
      note->lane = cells->id();
      note->sequence = head.position;
      note->priority = 0;
      note->tallied = Find("dead")->id;
      note->moved = 1;
      note->position = LaneTo("jobs")->sequence(0) + 1;
    }
    if (death >= 2) {
      ASSERT_TRUE(LaneTo("jobs")->Send(0, {{}, "first"}, absl::InfinitePast()).ok());
    }
    if (death >= 3) cells->reader().Discard(kept);
    if (death >= 4) tally->moved = 1;
    StartAgain();
    while (Count("dead").delayed > 0) loop_->RunOnce();
    EXPECT_EQ(MoveNote::Of(*Find("jobs"))->position, 0u);
    EXPECT_EQ(Count("dead").waiting, death >= 2 ? 1u : 2u);
    EXPECT_EQ(Count("jobs").waiting, death >= 2 ? 1u : 0u);
    // Who asked asks again, and has one moved in all.
    EXPECT_EQ(Ask(request)->moved(), 1u);
    EXPECT_THAT(Bodies("jobs"), ElementsAre("first"));
    const std::vector<Message> rest = Receive("dead");
    ASSERT_EQ(rest.size(), 1u);
    EXPECT_EQ(rest[0].body(), "second");
  }
}

TEST_F(MailboxRedriveTest, ARequestThatIsRepeatedMovesNoMoreThanItAsksFor) {
  for (int i = 0; i < 5; ++i) Bury(std::to_string(i));
  const proto::Redrive request = NewRequest(3);
  EXPECT_EQ(Ask(request)->moved(), 3u);
  EXPECT_EQ(Ask(request)->moved(), 3u);
  StartAgain();
  EXPECT_EQ(Ask(request)->moved(), 3u);
  EXPECT_THAT(Bodies("jobs"), ElementsAre("0", "1", "2"));
  EXPECT_EQ(Redrive(), 2u);
  EXPECT_THAT(Bodies("dead"), IsEmpty());
}

}  // namespace
}  // namespace mailrail
