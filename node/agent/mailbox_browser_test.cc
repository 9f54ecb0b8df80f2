#include "node/agent/mailbox_browser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/base/coarse_clock.h"
#include "core/base/seqpacket.h"
#include "node/agent/agent_testing.h"
#include "node/agent/broker.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Row = proto::BrowsedMessage;

class MailboxBrowserTest : public testing::Test {
 protected:
  MailboxBrowserTest() : bell_(Destination::Create("test").value()) {
    const auto log = [](absl::string_view) {};
    registry_ = std::make_unique<Registry>("alpha", 1, keeper_.vault(), log);
    Broker::Options options;
    options.log = log;
    options.notify = [](uint32_t, control::Notice, FdSource) {};
    options.link_ended = [](uint64_t, const absl::Status&) {};
    broker_ = std::make_unique<Broker>(std::move(options), &loop_, registry_.get(), &bell_);
    broker_->set_carrier(&carrier_);
  }

  LocalMailbox* Create(const MailboxOptions& options = {}) {
    return registry_->AddMailbox("orders", options, 0, 0).value();
  }
  LocalMailbox* Mailbox() { return registry_->FindMailbox("orders"); }
  // A lane of a process to the mailbox.
  std::shared_ptr<OutgoingLane> NewLane() {
    const LocalProcess* const process = AddTestProcess(registry_.get());
    const MailboxLane* const lane =
        broker_
            ->JoinMailbox(Mailbox(), Endpoint::OfProcess(process->number), process->id,
                          process->uid, 0)
            .value();
    return MapCellSender("orders", Mailbox()->options, lane->geometry, lane->data, lane->state,
                         Mailbox()->destination, nullptr)
        .value();
  }
  void Send(const std::shared_ptr<OutgoingLane>& lane, const std::string& body, int priority = 0,
            const Prefix& prefix = {}) {
    ASSERT_TRUE(lane->Send(priority, {EncodePrefix(prefix), body}, absl::InfinitePast()).ok());
  }
  // A receiver with this number, of all lanes.
  std::unique_ptr<MailboxQueue> NewReceiver(uint32_t number) {
    auto queue = std::make_unique<MailboxQueue>(number);
    const uint32_t version = Mailbox()->destination.version();
    queue->Reach(version);
    for (const uint64_t id : Mailbox()->lanes) {
      queue->Join(MapCells(*registry_->FindLane(id)).value(), version);
    }
    return queue;
  }
  Lease LeaseOne(MailboxQueue* queue) {
    Lease lease;
    EXPECT_EQ(queue->TakeLease(*Mailbox()->destination.page(), &lease),
              ReceiveQueue::Taken::kMessage);
    return lease;
  }
  // What is received of it now.
  std::vector<std::string> ReceiveAll() {
    const std::unique_ptr<MailboxQueue> queue = NewReceiver(999);
    std::vector<std::string> bodies;
    Message message;
    while (queue->Take(*Mailbox()->destination.page(), nullptr, &message) ==
           ReceiveQueue::Taken::kMessage) {
      bodies.push_back(std::string(message.body()));
    }
    return bodies;
  }

  // One request; how many turns of the loop it took.
  proto::Browsed Ask(const proto::Browse& browse, int* turns = nullptr) {
    absl::optional<absl::StatusOr<proto::Browsed>> answer;
    broker_->browser().Browse(
        *Mailbox(), browse,
        {[] { return true; },
         [&](absl::StatusOr<proto::Browsed> browsed) { answer = std::move(browsed); }});
    for (int i = 0; !answer.has_value(); ++i) {
      loop_.RunOnce();
      if (turns != nullptr) *turns = i + 1;
    }
    return answer->value();
  }
  // All rows, so many in an answer.
  std::vector<Row> Browse(uint32_t limit = 1000, bool waiting_only = false) {
    proto::Browse browse;
    browse.set_limit(limit);
    browse.set_max_body_bytes(1000);
    browse.set_waiting_only(waiting_only);
    std::vector<Row> rows;
    while (true) {
      const proto::Browsed answer = Ask(browse);
      EXPECT_LE(answer.messages_size(), static_cast<int>(limit));
      rows.insert(rows.end(), answer.messages().begin(), answer.messages().end());
      if (!answer.has_next()) return rows;
      *browse.mutable_after() = answer.next();
    }
  }
  static std::vector<std::string> BodiesOf(const std::vector<Row>& rows) {
    std::vector<std::string> bodies;
    for (const Row& row : rows) bodies.push_back(row.body());
    return bodies;
  }

  TestKeeper keeper_;
  Loop loop_;
  const Destination bell_;
  RememberingCarrier carrier_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Broker> broker_;
};

TEST_F(MailboxBrowserTest, TheOrderIsThatOfReceiveWhateverWasGivenBack) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  Create({.capacity_messages = 512});
  std::vector<std::shared_ptr<OutgoingLane>> lanes = {NewLane()};
  for (int i = 0; i < 300; ++i) {
    if (i == 20 || i == 40) lanes.push_back(NewLane());
    Send(lanes[random() % lanes.size()], "message " + std::to_string(i),
         static_cast<int>(random() % 3) * 15);
  }
  const std::unique_ptr<MailboxQueue> queue = NewReceiver(77);
  std::vector<Lease> leases;
  for (int i = 0; i < 100; ++i) leases.push_back(LeaseOne(queue.get()));
  std::shuffle(leases.begin(), leases.end(), random);
  for (size_t i = 0; i < 60; ++i) queue->Finish(leases[i], MailboxQueue::Outcome::kReturned);
  for (size_t i = 60; i < 70; ++i)
    queue->FinishLater(leases[i], DueTick::After(MonotonicTime(), 1000000000000));
  const std::vector<Row> all = Browse();
  EXPECT_EQ(all.size(), 300u);
  const std::vector<std::string> waiting = BodiesOf(Browse(1000, /*waiting_only=*/true));
  EXPECT_EQ(waiting.size(), 260u);
  for (const uint32_t limit : {1u, 7u}) EXPECT_EQ(BodiesOf(Browse(limit, true)), waiting);
  EXPECT_EQ(BodiesOf(Browse(64)), BodiesOf(all));
  std::vector<std::string> waiting_of_all;
  for (const Row& row : all) {
    if (row.state() == Row::WAITING) waiting_of_all.push_back(row.body());
  }
  EXPECT_EQ(waiting_of_all, waiting);
  EXPECT_EQ(ReceiveAll(), waiting);
  // What goes back takes the place that it had in the list.
  std::vector<std::string> left;
  for (const Row& row : all) {
    if (row.state() == Row::LEASED) left.push_back(row.body());
  }
  for (size_t i = 70; i < 100; ++i) queue->Finish(leases[i], MailboxQueue::Outcome::kReturned);
  EXPECT_EQ(ReceiveAll(), left);
}

TEST_F(MailboxBrowserTest, WhatIsThereAgainGoesBeforeAllOfItsLaneThatNobodyHadYet) {
  Create();
  const std::vector<std::shared_ptr<OutgoingLane>> lanes = {NewLane(), NewLane()};
  for (size_t i = 0; i < 6; ++i) Send(lanes[i % 2], std::to_string(i));
  // The last of the first lane was withheld, and is due now, before those that were sent before it.
  const std::shared_ptr<IncomingCells> cells =
      MapCells(*registry_->FindLane(*Mailbox()->lanes.begin())).value();
  std::vector<CellHead> heads;
  cells->reader().ForEachWaiting(
      [&](int, const CellHead& head, const Record&) { heads.push_back(head); });
  CellReader::Kept kept;
  ASSERT_TRUE(cells->reader().Withhold(0, heads[2], 0, &kept));
  ASSERT_TRUE(cells->reader().MakeDue(kept));
  const std::vector<std::string> listed = BodiesOf(Browse());
  EXPECT_EQ(BodiesOf(Browse(1, /*waiting_only=*/true)), listed);
  EXPECT_EQ(ReceiveAll(), listed);
  EXPECT_THAT(listed, ElementsAre("1", "3", "4", "0", "2", "5"));
}

TEST_F(MailboxBrowserTest, ARowTellsAllOfAMessage) {
  LocalMailbox* const mailbox = Create({.lease_time = absl::Seconds(50)});
  const std::shared_ptr<OutgoingLane> lane = broker_->AgentLane(mailbox).value();
  const ProcessId sender("beta", 4711, 3);
  const int64_t expires = MonotonicTime() + 3600000000000;
  Send(lane, "leased", 9, {.sender = sender, .headers = {{"kind", "test"}}, .reply_to = "answers"});
  Send(lane, "delayed", 8, {.sender = sender});
  Send(lane, std::string(5000, 'x'), 7, {.sender = sender, .expires_ns = expires});
  Send(lane, "letter", 6,
       {.sender = sender,
        .dead_letter_reason = DeadLetterReason::kExpired,
        .dead_letter_mailbox = "jobs"});
  LocalProcess* const process = AddTestProcess(registry_.get());
  ASSERT_TRUE(broker_->OpenReceiver(process, mailbox, /*leases=*/true).ok());
  const std::unique_ptr<MailboxQueue> queue = NewReceiver(process->number);
  LeaseOne(queue.get());
  queue->FinishLater(LeaseOne(queue.get()), DueTick::After(MonotonicTime(), 100000000000));
  loop_.RunOnce();  // the sweeper sees the lease
  const std::vector<Row> rows = Browse();
  ASSERT_EQ(rows.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(rows[i].priority(), 9 - i);
    EXPECT_EQ(rows[i].sequence(), 1u);
    EXPECT_EQ(rows[i].sender().node() + std::to_string(rows[i].sender().pid()), "beta4711");
  }
  EXPECT_EQ(rows[0].state(), Row::LEASED);
  EXPECT_EQ(rows[0].leased_by().incarnation(), process->number);
  EXPECT_GT(rows[0].left_ms(), 30000u);
  EXPECT_LE(rows[0].left_ms(), 50000u);
  EXPECT_EQ(rows[0].headers(0).name() + "=" + rows[0].headers(0).value(), "kind=test");
  EXPECT_EQ(rows[0].reply_to(), "answers");
  EXPECT_EQ(rows[0].attempts(), 0u);
  EXPECT_EQ(rows[1].state(), Row::DELAYED);
  EXPECT_EQ(rows[1].attempts(), 1u);
  EXPECT_GT(rows[1].left_ms(), 90000u);
  EXPECT_LE(rows[1].left_ms(), 101000u);
  EXPECT_EQ(rows[2].state(), Row::WAITING);
  EXPECT_FALSE(rows[2].has_left_ms());
  EXPECT_EQ(rows[2].body(), std::string(1000, 'x'));
  EXPECT_EQ(rows[2].body_bytes(), 5000u);
  EXPECT_GT(rows[2].expires_left_ms(), 3500000u);
  EXPECT_EQ(rows[3].dead_letter_reason(), static_cast<uint32_t>(DeadLetterReason::kExpired));
  EXPECT_EQ(rows[3].dead_letter_mailbox(), "jobs");
  proto::Browse of;
  of.set_limit(10);
  of.set_dead_letters_of("jobs");
  EXPECT_EQ(Ask(of).messages_size(), 1);
  of.set_dead_letters_of("others");
  EXPECT_EQ(Ask(of).messages_size(), 0);
}

TEST_F(MailboxBrowserTest, WhatNobodyWillReceiveIsLeftOut) {
  Create({.max_attempts = 1});
  const std::shared_ptr<OutgoingLane> lane = NewLane();
  const std::unique_ptr<MailboxQueue> queue = NewReceiver(77);
  queue->TakeOverChanges();
  Send(lane, "condemned");
  Send(lane, "taken");
  const std::shared_ptr<IncomingCells> cells =
      MapCells(*registry_->FindLane(*Mailbox()->lanes.begin())).value();
  const Lease condemned = LeaseOne(queue.get());
  ASSERT_TRUE(cells->reader().Return(0, condemned.slot, condemned.sequence, 77));
  queue->Finish(LeaseOne(queue.get()), MailboxQueue::Outcome::kReceived);
  Send(lane, "expired", 0, {.expires_ns = MonotonicTime() - 1});
  // A process cannot say who sent it.
  Send(lane, "forged", 0, {.sender = ProcessId("beta", 1, 1)});
  EXPECT_THAT(Browse(), IsEmpty());
  Send(lane, "sound");
  EXPECT_THAT(BodiesOf(Browse(1)), ElementsAre("sound"));
  EXPECT_THAT(BodiesOf(Browse(1, /*waiting_only=*/true)), ElementsAre("sound"));
}

TEST_F(MailboxBrowserTest, APurgeDropsWhatWaitsOrIsDelayedAndLeavesTheRest) {
  LocalMailbox* const mailbox = Create({.max_attempts = 2});
  const std::shared_ptr<OutgoingLane> lane = NewLane();
  for (const char* body : {"leased", "delayed", "returned", "condemned", "new"}) Send(lane, body);
  const std::unique_ptr<MailboxQueue> queue = NewReceiver(77);
  queue->set_max_attempts(2);
  std::vector<Lease> leases;
  for (int i = 0; i < 4; ++i) leases.push_back(LeaseOne(queue.get()));
  ASSERT_TRUE(queue->FinishLater(leases[1], DueTick::After(MonotonicTime(), 100000000000)));
  ASSERT_TRUE(queue->Finish(leases[2], MailboxQueue::Outcome::kReturned));
  ASSERT_TRUE(leases[3].lane->reader().Condemn(0, leases[3].slot, leases[3].sequence, 77,
                                               Condemned::kAttempts));
  EXPECT_EQ(broker_->Purge(mailbox), 3u);
  EXPECT_EQ(mailbox->dropped, 3u);
  EXPECT_THAT(BodiesOf(Browse()), ElementsAre("leased"));
  EXPECT_EQ(broker_->Count(*mailbox).condemned, 1u);
  // It is its holder's still.
  EXPECT_TRUE(queue->Finish(leases[0], MailboxQueue::Outcome::kReceived));
  // The condemned one is the sweeper's.
  broker_->LookAtMailbox(mailbox->id);
  while (broker_->Count(*mailbox).left() > 0) loop_.RunOnce();
  EXPECT_EQ(mailbox->dropped, 4u);
}

TEST_F(MailboxBrowserTest, AnAnswerFitsAPacketAndTheNextGoesOn) {
  LocalMailbox* const mailbox = Create();
  const std::shared_ptr<OutgoingLane> lane = broker_->AgentLane(mailbox).value();
  Prefix prefix;
  for (int i = 0; i < 12000; ++i) prefix.headers.push_back({});
  prefix.reply_to = std::string(3000, 'r');
  for (int i = 0; i < 20; ++i)
    Send(lane, std::string(40000, static_cast<char>('a' + i)), 0, prefix);
  proto::Browse browse;
  browse.set_limit(1u << 31);
  browse.set_max_body_bytes(~0u);
  std::string firsts;
  for (int answers = 1;; ++answers) {
    const proto::Browsed answer = Ask(browse);
    ASSERT_LE(answer.ByteSizeLong(), kMaxPacketBytes - 1024);
    for (const Row& row : answer.messages()) {
      EXPECT_EQ(row.body().size(), kMostBrowsedBytes);
      firsts += row.body()[0];
    }
    if (!answer.has_next()) {
      EXPECT_GT(answers, 10);
      break;
    }
    *browse.mutable_after() = answer.next();
  }
  EXPECT_EQ(firsts, "abcdefghijklmnopqrst");
}

TEST_F(MailboxBrowserTest, ALargeMailboxTakesManyTurnsAndTheLoopGoesOnMeanwhile) {
  Create({.capacity_messages = kLargestCapacityMessages});
  const std::shared_ptr<OutgoingLane> lane = NewLane();
  for (int priority = 0; priority < 8; ++priority) Send(lane, "x", priority);
  proto::Browse browse;
  browse.set_limit(100);
  int turns = 0;
  EXPECT_EQ(Ask(browse, &turns).messages_size(), 8);
  // Of each priority there are four words to look at for each message that there may be.
  EXPECT_GT(turns, 8 * 4 * static_cast<int>(kLargestCapacityMessages) / 8192);
}

TEST_F(MailboxBrowserTest, OneThatIsNotWaitedForOrWhoseMailboxGoesIsOver) {
  LocalMailbox* const mailbox = Create();
  Send(NewLane(), "x");
  absl::Status status;
  const auto done = [&](const absl::StatusOr<proto::Browsed>& browsed) {
    status = browsed.status();
  };
  bool answered = false;
  broker_->browser().Browse(
      *mailbox, {},
      {[] { return false; }, [&](const absl::StatusOr<proto::Browsed>&) { answered = true; }});
  broker_->browser().Browse(*mailbox, {}, {[] { return true; }, done});
  broker_->DestroyMailbox(mailbox);
  for (int i = 0; i < 4; ++i) loop_.RunOnce();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(answered);
}

TEST_F(MailboxBrowserTest, RequestsWithoutEndAreRefused) {
  LocalMailbox* const mailbox = Create();
  int refused = 0, answered = 0;
  for (int i = 0; i < 3000; ++i) {
    broker_->browser().Browse(*mailbox, {},
                              {[] { return true; },
                               [&](const absl::StatusOr<proto::Browsed>& browsed) {
                                 (browsed.ok() ? answered : refused) += 1;
                               }});
  }
  while (answered + refused < 3000) loop_.RunOnce();
  EXPECT_GT(refused, 0);
  EXPECT_GT(answered, 100);
}

}  // namespace
}  // namespace mailrail
