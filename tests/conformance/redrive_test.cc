// Dead letters that go back to where they were sent: each once, whatever dies meanwhile.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using testing::ElementsAre;

// The mailboxes are on peer()'s node; self() asks for the letters to be moved.
class RedriveTest : public ConformanceTest {
 protected:
  // Creates a mailbox and one for its dead letters.
  void Create() {
    dead_ = NewName();
    jobs_ = NewName();
    ASSERT_THAT(peer().CreateMailbox(dead_), IsOk());
    ASSERT_THAT(peer().CreateMailbox(jobs_, {.max_attempts = 1, .dead_letter = dead_}), IsOk());
    ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(jobs_));
    sender_ = sender;
  }
  std::string Full(const std::string& name) const { return name + "@" + peer_node(); }
  // Sends these to the mailbox, from where they go to the dead letters.
  void Bury(const std::vector<Outgoing>& messages) {
    ASSERT_OK_AND_ASSIGN(receiver, peer().OpenLeasing(jobs_));
    ASSERT_THAT(peer().Send(sender_, messages), IsOk());
    const ReceiveResult result = peer().Receive(receiver, messages.size());
    ASSERT_THAT(result, IsOk());
    for (const Received& message : result.messages) {
      ASSERT_THAT(peer().GiveBack(message.number), IsOk());
    }
    peer().Close(receiver);
    ASSERT_TRUE(Eventually([&] { return Letters() == messages.size(); }));
  }
  size_t Letters() {
    const auto all = self().process().Browse(Full(dead_), {.limit = 100000}, Patience());
    EXPECT_THAT(all, IsOk());
    return all.ok() ? all->size() : 0;
  }
  Redriven Redrive(const RedriveOptions& options = {}) {
    const absl::StatusOr<Redriven> redriven =
        self().process().Redrive(Full(dead_), options, Patience());
    EXPECT_THAT(redriven, IsOk());
    return redriven.value_or(Redriven());
  }
  // All that comes from the mailbox, in so many receives.
  ReceiveResult Receive(const std::string& name, size_t count) {
    const absl::StatusOr<Handle> receiver = peer().OpenMailbox(name);
    EXPECT_THAT(receiver, IsOk());
    ReceiveResult result = peer().Receive(*receiver, count);
    EXPECT_THAT(result, IsOk());
    EXPECT_THAT(peer().Receive(*receiver, 1, absl::Now() + absl::Milliseconds(200)),
                HasCode(StatusCode::kDeadlineExceeded));
    peer().Close(*receiver);
    return result;
  }

  std::string dead_, jobs_;
  Handle sender_ = 0;
};

MAILRAIL_OVER_TRANSPORTS(RedriveTest);

TEST_P(RedriveTest, DeadLettersGoBackInOrderAndAreReceivedOnceAsTheyWereSent) {
  Create();
  std::vector<Outgoing> messages =
      Numbered(50, {.bytes = 300, .headers = {{"kind", "test"}}, .reply_to = "answers"});
  for (Outgoing& message : messages) message.priority = static_cast<int>(message.number % 3);
  Bury(messages);
  const Redriven redriven = Redrive();
  EXPECT_EQ(redriven.moved, 50u);
  EXPECT_EQ(redriven.left, 0u);
  EXPECT_THAT(redriven.why, IsOk());
  EXPECT_EQ(Letters(), 0u);
  const ReceiveResult result = Receive(jobs_, 50);
  int last_priority = 2;
  uint64_t last = 0;
  for (const Received& message : result.messages) {
    EXPECT_TRUE(message.intact);
    EXPECT_EQ(message.attempts, 0);
    EXPECT_EQ(message.sender, peer().id());
    EXPECT_EQ(message.headers, messages[0].headers);
    EXPECT_EQ(message.reply_to, "answers");
    EXPECT_EQ(message.dead_letter_reason, DeadLetterReason::kNone);
    EXPECT_EQ(message.priority, static_cast<int>(message.number % 3));
    if (message.priority != last_priority) last = 0;
    EXPECT_LE(message.priority, last_priority);
    EXPECT_GT(message.number, last);
    last_priority = message.priority;
    last = message.number;
  }
}

TEST_P(RedriveTest, WhatIsRedrivenHasItsAttemptsAnewAndIsADeadLetterAgainAfterThem) {
  Create();
  Bury(Numbered(1));
  EXPECT_EQ(Redrive().moved, 1u);
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenLeasing(jobs_));
  const ReceiveResult result = peer().Receive(receiver, 1);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result.messages[0].attempts, 0);
  EXPECT_THAT(peer().GiveBack(1), IsOk());
  EXPECT_TRUE(Eventually([&] { return Letters() == 1; }));
}

TEST_P(RedriveTest, ATimeToLiveThatHasEndedIsDropped) {
  dead_ = NewName();
  jobs_ = NewName();
  ASSERT_THAT(peer().CreateMailbox(dead_), IsOk());
  ASSERT_THAT(peer().CreateMailbox(jobs_, {.dead_letter = dead_}), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(jobs_));
  ASSERT_THAT(peer().Send(sender, {{.number = 1, .time_to_live = absl::Milliseconds(1)}}), IsOk());
  ASSERT_TRUE(Eventually([&] { return Letters() == 1; }));
  EXPECT_EQ(Redrive({.reason = DeadLetterReason::kAttempts}).moved, 0u);
  EXPECT_EQ(Redrive({.reason = DeadLetterReason::kExpired}).moved, 1u);
  EXPECT_EQ(Receive(jobs_, 1).messages[0].number, 1u);
}

TEST_P(RedriveTest, AsManyAsAreAskedForGoAndToTheMailboxThatIsNamed) {
  Create();
  const std::string other = NewName();
  ASSERT_THAT(peer().CreateMailbox(other), IsOk());
  Bury(Numbered(700));
  EXPECT_EQ(Redrive({.to = other, .limit = 300}).moved, 300u);
  EXPECT_EQ(Letters(), 400u);
  const std::vector<uint64_t> first = NumbersOf(Receive(other, 300).messages);
  EXPECT_EQ(first, NumbersOf(Numbered(300)));
  EXPECT_EQ(Redrive().moved, 400u);
  EXPECT_EQ(NumbersOf(Receive(jobs_, 400).messages), NumbersOf(Numbered(400, {}, 301)));
  EXPECT_THAT(self().process().Redrive(Full(dead_), {.to = dead_}),
              HasCode(StatusCode::kInvalidArgument));
}

TEST_P(RedriveTest, WhatCannotGoBackStaysAndIsTold) {
  Create();
  Bury(Numbered(3));
  ASSERT_THAT(peer().DestroyMailbox(jobs_), IsOk());
  const Redriven redriven = Redrive();
  EXPECT_EQ(redriven.moved, 0u);
  EXPECT_EQ(redriven.left, 3u);
  EXPECT_THAT(redriven.why, HasCode(StatusCode::kNotFound));
  EXPECT_EQ(Letters(), 3u);
}

TEST_P(RedriveTest, AnAgentThatIsKilledInTheMidstNeitherLosesNorDoublesOne) {
  constexpr size_t kMessages = 3000;
  Create();
  Bury(Numbered(kMessages));
  // Killed where it moves: somewhere after the first has come.
  std::atomic<size_t> moved = 0;
  std::thread redrives([&] {
    // In steps, so that one of them is under way.
    for (int i = 0; moved < kMessages && i < 1000; ++i) {
      moved += Redrive({.limit = 1 + static_cast<size_t>(i % 40)}).moved;
    }
  });
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(jobs_));
  ReceiveResult result = peer().Receive(receiver, 1 + Random(500));
  EXPECT_THAT(result, IsOk());
  KillAgent(peer_node());
  const ReceiveResult rest = peer().Receive(receiver, kMessages - result.messages.size());
  redrives.join();
  EXPECT_THAT(rest, IsOk());
  EXPECT_EQ(moved, kMessages);
  EXPECT_EQ(Letters(), 0u);
  EXPECT_THAT(peer().Receive(receiver, 1, absl::Now() + absl::Milliseconds(300)),
              HasCode(StatusCode::kDeadlineExceeded));
  std::vector<uint64_t> numbers = NumbersOf(result.messages);
  for (const Received& message : rest.messages) numbers.push_back(message.number);
  EXPECT_EQ(numbers, NumbersOf(Numbered(kMessages)));
}

TEST_P(RedriveTest, ALinkTakesNoDeadLetters) {
  const std::string link = NewName();
  ASSERT_THAT(peer().CreateMailbox(link, {.policy = ReceivePolicy::kLink}), IsOk());
  const absl::Status refused = peer().CreateMailbox(NewName(), {.dead_letter = link});
  EXPECT_THAT(refused, HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(refused.message()), testing::HasSubstr("is a link"));
}

}  // namespace
}  // namespace mailrail
