// What is sent for later is received later.
#include <memory>
#include <string>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;

constexpr absl::Duration kShort = absl::Milliseconds(300);
// How exact it is.
constexpr absl::Duration kTick = absl::Milliseconds(100);

// A mailbox of either party.
class DelayTest : public ChannelTest {
 protected:
  // Receives one; how long after `start`.
  absl::Duration ExpectNext(const Channel& channel, uint64_t number, absl::Time start) {
    const ReceiveResult result = self().Receive(channel.receiver, 1);
    EXPECT_THAT(result, IsOk());
    if (!result.status.ok()) return absl::ZeroDuration();
    EXPECT_EQ(result.messages[0].number, number);
    EXPECT_TRUE(result.messages[0].intact);
    EXPECT_EQ(result.messages[0].attempts, 0);
    return absl::Now() - start;
  }
};

INSTANTIATE_TEST_SUITE_P(
    , DelayTest,
    testing::Combine(testing::Values(Transport::kSameProcess, Transport::kTwoProcesses,
                                     Transport::kTwoNodes),
                     testing::Values(Route::kMailboxOfReceiver, Route::kMailboxOfSender)),
    ChannelName);

TEST_P(DelayTest, ItIsNotReceivedBeforeAndBySomebodyThen) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  for (const auto way : {party::SEND, party::BATCH, party::CLAIM}) {
    for (const size_t bytes : {8u, 300u, 5000u}) {
      const absl::Time start = absl::Now();
      ASSERT_THAT(peer().Send(channel.sender,
                              {{.number = 1, .bytes = bytes, .delay = kShort}, {.number = 2}},
                              Patience(), {.way = way == party::BATCH ? party::SEND : way}),
                  IsOk());
      ExpectNext(channel, 2, start);
      EXPECT_GE(ExpectNext(channel, 1, start), kShort - kTick);
    }
  }
}

TEST_P(DelayTest, WhatIsDueFirstComesFirst) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  ASSERT_THAT(peer().Send(channel.sender, {{.number = 1, .delay = 4 * kShort},
                                           {.number = 2, .delay = 2 * kShort},
                                           {.number = 3}}),
              IsOk());
  const ReceiveResult result = self().Receive(channel.receiver, 3);
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(NumbersOf(result.messages), ElementsAre(3, 2, 1));
}

TEST_P(DelayTest, AsManyAsThereIsRoomForAreSent) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  ASSERT_THAT(peer().Send(channel.sender, Numbered(1000, {.delay = kShort})), IsOk());
  // The agent was told of each, and hears its sender still.
  EXPECT_THAT(peer().CreateMailbox(NewName()), IsOk());
  const ReceiveResult result = self().Receive(channel.receiver, 1000);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result.messages.size(), 1000u);
}

TEST_P(DelayTest, ItOutlivesItsSenderAndTheAgents) {
  const std::unique_ptr<Party> sender = NewPeer();
  ASSERT_OK_AND_ASSIGN(channel, Open(*sender, self()));
  const absl::Time start = absl::Now();
  ASSERT_THAT(sender->Send(channel.sender, {{.number = 1, .bytes = 500, .delay = 3 * kShort}}),
              IsOk());
  sender->End();
  KillAgent("alpha");
  if (across_nodes()) KillAgent("beta");
  EXPECT_GE(ExpectNext(channel, 1, start), 3 * kShort - kTick);
}

TEST_P(DelayTest, ItMayExpireBeforeItIsDue) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  ASSERT_THAT(
      peer().Send(channel.sender, {{.number = 1, .time_to_live = kShort, .delay = 2 * kShort},
                                   {.number = 2, .delay = 3 * kShort}}),
      IsOk());
  ExpectNext(channel, 2, absl::Now());
}

using NoDelayTest = ConformanceTest;
MAILRAIL_OVER_TRANSPORTS(NoDelayTest);

TEST_P(NoDelayTest, AProcessIsSentNothingForLaterAndNothingIsForMoreThanSixDays) {
  ASSERT_OK_AND_ASSIGN(direct, self().Connect(peer().id()));
  EXPECT_THAT(self().Send(direct, {{.delay = kShort}}), HasCode(StatusCode::kInvalidArgument));
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  EXPECT_THAT(self().Send(sender, {{.delay = absl::Hours(6 * 24 + 1)}}),
              HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(self().Send(sender, {{.delay = -kShort}}), HasCode(StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace mailrail
