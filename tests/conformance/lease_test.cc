// Receivers that acknowledge by hand: what they have received is theirs until they say so, give it
// back, let the lease end, or die; and what was handed out often enough is a dead letter.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "tests/conformance/lease_fixture.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

using absl::StatusCode;

MAILRAIL_OVER_TRANSPORTS(LeaseTest);

TEST_P(LeaseTest, AnAcknowledgedMessageIsNeverHandedOutAgain) {
  Create({.lease_time = kShort});
  const Handle receiver = Open(peer());
  Send(Numbered(1));
  ExpectIs(Next(peer(), receiver), 1, 0);
  EXPECT_THAT(peer().Acknowledge(1), IsOk());
  const std::unique_ptr<Party> other = NewPeer();
  ExpectNothing(*other, Open(*other));
}

TEST_P(LeaseTest, ALeasedMessageIsHandedToNobodyElse) {
  Create();
  const Handle receiver = Open(peer());
  const std::unique_ptr<Party> other = NewSelf();
  const Handle of_other = Open(*other);
  Send(Numbered(2));
  ExpectIs(Next(peer(), receiver), 1, 0);
  ExpectIs(Next(*other, of_other), 2, 0);
  ExpectNothing(*other, of_other);
  EXPECT_THAT(peer().Acknowledge(1), IsOk());
  EXPECT_THAT(other->Acknowledge(2), IsOk());
}

TEST_P(LeaseTest, WhatIsGivenBackGoesBeforeAllThatWasSentAfterIt) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(3));
  ExpectIs(Next(peer(), receiver), 1, 0);
  EXPECT_THAT(peer().GiveBack(1), IsOk());
  ExpectIs(Next(peer(), receiver), 1, 1);
  EXPECT_THAT(peer().Acknowledge(1), IsOk());
  ExpectIs(Next(peer(), receiver), 2, 0);
  EXPECT_THAT(peer().Acknowledge(2), IsOk());
  ExpectIs(Next(peer(), receiver), 3, 0);
}

TEST_P(LeaseTest, AMessageThatIsDestroyedUnacknowledgedIsGivenBack) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(1));
  ExpectIs(Next(peer(), receiver), 1, 0);
  peer().Destroy(1);
  ExpectIs(Next(peer(), receiver), 1, 1);
}

TEST_P(LeaseTest, WhatIsGivenBackForLaterComesNotBeforeThat) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(2));
  ExpectIs(Next(peer(), receiver), 1, 0);
  const absl::Time before = absl::Now();
  EXPECT_THAT(peer().GiveBack(1, absl::Milliseconds(400)), IsOk());
  ExpectIs(Next(peer(), receiver), 2, 0);
  EXPECT_THAT(peer().Acknowledge(2), IsOk());
  ExpectIs(Next(peer(), receiver), 1, 1);
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(399));
}

TEST_P(LeaseTest, AMessageWhoseLeaseHasEndedGoesToAnother) {
  Create({.lease_time = kShort});
  const Handle receiver = Open(peer());
  const std::unique_ptr<Party> other = NewSelf();
  const Handle of_other = Open(*other);
  Send(Numbered(1));
  ExpectIs(Next(peer(), receiver), 1, 0);
  const absl::Time leased = absl::Now();
  ExpectIs(Next(*other, of_other), 1, 1);
  EXPECT_GE(absl::Now() - leased, kShort / 2);
  EXPECT_THAT(other->Acknowledge(1), IsOk());
  // The first has lost it. Where its agent is not the mailbox's it may not know of that.
  if (!across_nodes()) {
    EXPECT_THAT(peer().Acknowledge(1), HasCode(StatusCode::kFailedPrecondition));
  }
  ExpectNothing(*other, of_other);
}

TEST_P(LeaseTest, AnExtendedLeaseEndsLater) {
  Create({.lease_time = absl::Milliseconds(600)});
  const Handle receiver = Open(peer());
  const std::unique_ptr<Party> other = NewSelf();
  const Handle of_other = Open(*other);
  Send(Numbered(1));
  ExpectIs(Next(peer(), receiver), 1, 0);
  EXPECT_THAT(peer().Extend(1, absl::Hours(1)), IsOk());
  EXPECT_THAT(other->Receive(of_other, 1, absl::Now() + absl::Milliseconds(1500)),
              HasCode(StatusCode::kDeadlineExceeded));
  // And earlier.
  EXPECT_THAT(peer().Extend(1, absl::Milliseconds(1)), IsOk());
  ExpectIs(Next(*other, of_other), 1, 1);
}

TEST_P(LeaseTest, WhatADeadReceiverHadLeasedGoesToAnotherMarked) {
  Create();
  const std::unique_ptr<Party> dying = NewPeer();
  const Handle receiver = Open(*dying);
  Send(Numbered(2));
  ExpectIs(Next(*dying, receiver), 1, 0);
  dying->End();
  const Handle next = Open(peer());
  ExpectIs(Next(peer(), next), 1, 1);
  EXPECT_THAT(peer().Acknowledge(1), IsOk());
  ExpectIs(Next(peer(), next), 2, 0);
}

TEST_P(LeaseTest, ALeaseEndsWithItsProcessThoughTheMessageLivesOn) {
  Create();
  Send(Numbered(1));
  absl::optional<Message> message;
  {
    AttachOptions options;
    options.socket = cluster().Socket(peer_node());
    options.autostart = false;
    absl::StatusOr<Process> process = Process::Attach(options);
    ASSERT_THAT(process, IsOk());
    absl::StatusOr<Receiver> receiver =
        process->OpenMailbox(full_name(), {.acknowledgement = Acknowledgement::kManual});
    ASSERT_THAT(receiver, IsOk());
    absl::StatusOr<Message> received = receiver->Receive(Patience());
    ASSERT_THAT(received, IsOk());
    message = *std::move(received);
  }
  ExpectIs(Next(peer(), Open(peer())), 1, 1);
  EXPECT_TRUE(IsIntact(message->body()));
  EXPECT_THAT(message->Acknowledge(), HasCode(StatusCode::kAborted));
}

TEST_P(LeaseTest, LargeBodiesAreLeasedToo) {
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(2, {.bytes = 100000}));
  ExpectIs(Next(peer(), receiver), 1, 0);
  EXPECT_THAT(peer().GiveBack(1), IsOk());
  ExpectIs(Next(peer(), receiver), 1, 1);
  EXPECT_THAT(peer().Acknowledge(1), IsOk());
  ExpectIs(Next(peer(), receiver), 2, 0);
}

TEST_P(LeaseTest, WhatWasHandedOutOftenEnoughIsADeadLetter) {
  const std::string dead = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  Create({.max_attempts = 3, .dead_letter = dead});
  const Handle receiver = Open(peer());
  Send(Numbered(2, {.bytes = 200, .priority = 4}));
  for (int attempt = 0; attempt < 3; ++attempt) {
    ExpectIs(Next(peer(), receiver), 1, attempt);
    EXPECT_THAT(peer().GiveBack(1), IsOk());
  }
  ExpectIs(Next(peer(), receiver), 2, 0);
  EXPECT_THAT(peer().Acknowledge(2), IsOk());
  ASSERT_OK_AND_ASSIGN(letters, peer().OpenMailbox(dead + "@alpha"));
  const Received letter = Next(peer(), letters);
  ExpectIs(letter, 1, 0);
  EXPECT_EQ(letter.sender, self().id());
  EXPECT_EQ(letter.priority, 4);
  EXPECT_EQ(letter.dead_letter_reason, DeadLetterReason::kAttempts);
  EXPECT_EQ(letter.dead_letter_mailbox, name_);
  ExpectNothing(peer(), letters);
}

TEST_P(LeaseTest, WhatKilledItsReceiversOftenEnoughIsADeadLetter) {
  const std::string dead = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  Create({.max_attempts = 2, .dead_letter = dead});
  Send(Numbered(1));
  for (int attempt = 0; attempt < 2; ++attempt) {
    const std::unique_ptr<Party> dying = NewPeer();
    ExpectIs(Next(*dying, Open(*dying)), 1, attempt);
    dying->End();
  }
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  ExpectIs(Next(self(), letters), 1, 0);
  ExpectNothing(peer(), Open(peer()));
}

TEST_P(LeaseTest, WithoutADeadLetterMailboxWhatWasHandedOutOftenEnoughIsGone) {
  Create({.max_attempts = 1});
  const Handle receiver = Open(peer());
  Send(Numbered(1));
  ExpectIs(Next(peer(), receiver), 1, 0);
  EXPECT_THAT(peer().GiveBack(1), IsOk());
  ExpectNothing(peer(), receiver);
  // Its room is free.
  Send(Numbered(1, {}, 2));
  ExpectIs(Next(peer(), receiver), 2, 0);
}

TEST_P(LeaseTest, AMessageThatWasReceivedWithoutALeaseCannotBeSettled) {
  Create();
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name_));
  Send(Numbered(1));
  absl::StatusOr<Message> message = self().receiver(receiver).Receive(Patience());
  ASSERT_THAT(message, IsOk());
  EXPECT_FALSE(message->leased());
  EXPECT_THAT(message->Acknowledge(), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(message->GiveBack(), HasCode(StatusCode::kFailedPrecondition));
  EXPECT_THAT(message->Extend(absl::Seconds(1)), HasCode(StatusCode::kFailedPrecondition));
}

TEST_P(LeaseTest, WhoGivesBackForLaterAgainAndAgainCanGoOnAskingTheAgent) {
  constexpr size_t kMany = 200;
  Create();
  const Handle receiver = Open(peer());
  Send(Numbered(kMany));
  for (size_t i = 1; i <= kMany; ++i) {
    ExpectIs(Next(peer(), receiver), i, 0);
    ASSERT_THAT(peer().GiveBack(i, absl::Hours(1)), IsOk());
  }
  EXPECT_THAT(peer().CreateMailbox(NewName()), IsOk());
}

TEST_P(LeaseTest, OptionsOutOfRangeAreRefused) {
  const auto create = [&](const MailboxOptions& options) {
    return peer().CreateMailbox(NewName(), options);
  };
  EXPECT_THAT(create({.lease_time = absl::Milliseconds(9)}), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(create({.max_attempts = kMostAttempts + 1}), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(create({.dead_letter = "no name"}), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(create({.dead_letter = "nobody-has-created-it"}), HasCode(StatusCode::kNotFound));
}

TEST_P(LeaseTest, LeasesAndDelaysOutliveTheAgent) {
  const std::string dead = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  Create({.lease_time = absl::Milliseconds(800), .max_attempts = 2, .dead_letter = dead});
  const Handle receiver = Open(peer());
  const std::unique_ptr<Party> other = NewSelf();
  const Handle of_other = Open(*other);
  Send(Numbered(2));
  ExpectIs(Next(peer(), receiver), 1, 0);
  ExpectIs(Next(*other, of_other), 2, 0);
  EXPECT_THAT(other->GiveBack(2, absl::Milliseconds(500)), IsOk());
  KillAgent("alpha");
  // Both come again: the one is due, the lease of the other ends.
  std::vector<uint64_t> numbers;
  for (int i = 0; i < 2; ++i) {
    const Received message = Next(*other, of_other);
    EXPECT_EQ(message.attempts, 1);
    numbers.push_back(message.number);
    EXPECT_THAT(other->GiveBack(message.number), IsOk());
  }
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(numbers, (std::vector<uint64_t>{1, 2}));
  // That was the second time for both.
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  const ReceiveResult result = self().Receive(letters, 2);
  EXPECT_THAT(result, IsOk());
}

}  // namespace
}  // namespace mailrail
