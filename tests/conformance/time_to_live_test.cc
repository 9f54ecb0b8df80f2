// A message that has lived its time is received by nobody; from a mailbox it goes to the dead
// letters.
#include <memory>
#include <string>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using absl::StatusCode;

constexpr absl::Duration kShort = absl::Milliseconds(200);

using TimeToLiveTest = ChannelTest;
using ExpiredMailboxTest = ConformanceTest;

MAILRAIL_OVER_CHANNELS(TimeToLiveTest);
MAILRAIL_OVER_TRANSPORTS(ExpiredMailboxTest);

TEST_P(TimeToLiveTest, WhatIsReceivedInTimeIsAMessageAsAnyOther) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  for (const size_t bytes : {8u, 500u, 20000u}) {
    ASSERT_THAT(peer().Send(channel.sender,
                            {{.number = 1, .bytes = bytes, .time_to_live = absl::Hours(1)}}),
                IsOk());
    const ReceiveResult result = self().Receive(channel.receiver, 1);
    ASSERT_THAT(result, IsOk());
    EXPECT_TRUE(result.messages[0].intact);
    EXPECT_EQ(result.messages[0].bytes, bytes);
  }
}

TEST_P(TimeToLiveTest, WhatHasLivedItsTimeIsReceivedByNobodyAndTheRestIs) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  ASSERT_THAT(peer().Send(channel.sender, {{.number = 1, .time_to_live = kShort},
                                           {.number = 2},
                                           {.number = 3, .bytes = 20000, .time_to_live = kShort},
                                           {.number = 4, .time_to_live = absl::Hours(1)}}),
              IsOk());
  absl::SleepFor(2 * kShort);  // the time is what is tested
  const ReceiveResult result = self().Receive(channel.receiver, 2);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(NumbersOf(result.messages), (std::vector<uint64_t>{2, 4}));
  EXPECT_THAT(self().Receive(channel.receiver, 1, absl::Now() + kShort),
              HasCode(StatusCode::kDeadlineExceeded));
  // Their room is free again.
  ASSERT_THAT(peer().Send(channel.sender, {{.number = 5}}), IsOk());
  EXPECT_THAT(self().Receive(channel.receiver, 1), IsOk());
}

TEST_P(TimeToLiveTest, ATimeThatIsNoneIsRefused) {
  ASSERT_OK_AND_ASSIGN(sender, self().Connect(peer().id()));
  const SendOptions none = {.time_to_live = absl::ZeroDuration()};
  EXPECT_THAT(self().sender(sender).Send("x", none), HasCode(StatusCode::kInvalidArgument));
}

TEST_P(ExpiredMailboxTest, WithoutAReceiverTooItGoesToTheDeadLettersWithTheReason) {
  const std::string dead = NewName(), name = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  ASSERT_THAT(self().CreateMailbox(name, {.dead_letter = dead}), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name + "@alpha"));
  ASSERT_THAT(peer().Send(sender, {{.number = 1, .bytes = 300, .time_to_live = kShort}}), IsOk());
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  const ReceiveResult result = self().Receive(letters, 1);
  ASSERT_THAT(result, IsOk());
  EXPECT_TRUE(result.messages[0].intact);
  EXPECT_EQ(result.messages[0].sender, peer().id());
  EXPECT_EQ(result.messages[0].dead_letter_reason, DeadLetterReason::kExpired);
  EXPECT_EQ(result.messages[0].dead_letter_mailbox, name);
}

TEST_P(ExpiredMailboxTest, WhatAReceiverFindsExpiredGoesThereToo) {
  const std::string dead = NewName(), name = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  ASSERT_THAT(self().CreateMailbox(name, {.dead_letter = dead}), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name + "@alpha"));
  ASSERT_THAT(self().Send(sender, {{.number = 1, .time_to_live = absl::Milliseconds(1)}}), IsOk());
  absl::SleepFor(absl::Milliseconds(5));  // the time is what is tested
  EXPECT_THAT(peer().Receive(receiver, 1, absl::Now() + kShort),
              HasCode(StatusCode::kDeadlineExceeded));
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  EXPECT_THAT(self().Receive(letters, 1), IsOk());
}

TEST_P(ExpiredMailboxTest, WhatIsGivenBackExpiresInItsPlace) {
  const std::string dead = NewName(), name = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  ASSERT_THAT(self().CreateMailbox(name, {.dead_letter = dead}), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenLeasing(name + "@alpha"));
  ASSERT_THAT(self().Send(sender, {{.number = 1, .time_to_live = absl::Milliseconds(700)}}),
              IsOk());
  ASSERT_THAT(peer().Receive(receiver, 1), IsOk());
  EXPECT_THAT(peer().GiveBack(1), IsOk());
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  const ReceiveResult result = self().Receive(letters, 1);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result.messages[0].dead_letter_reason, DeadLetterReason::kExpired);
}

TEST_P(ExpiredMailboxTest, AnAgentThatIsStartedAgainSeesToItToo) {
  const std::string dead = NewName(), name = NewName();
  ASSERT_THAT(self().CreateMailbox(dead), IsOk());
  ASSERT_THAT(self().CreateMailbox(name, {.dead_letter = dead}), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_THAT(self().Send(sender, {{.number = 1, .time_to_live = absl::Milliseconds(800)}}),
              IsOk());
  KillAgent("alpha");
  ASSERT_OK_AND_ASSIGN(letters, self().OpenMailbox(dead));
  EXPECT_THAT(self().Receive(letters, 1), IsOk());
}

}  // namespace
}  // namespace mailrail
