// Promise 5: every blocking call returns at its deadline, and when the peer or the mailbox is gone.
#include <signal.h>

#include <future>
#include <memory>
#include <vector>

#include "tests/conformance/conformance.h"

namespace mailrail {
namespace {

using DeadlineTest = ChannelTest;
// Only a mailbox ends while it is received from.
using MailboxDeadlineTest = ChannelTest;
using AgentDeadlineTest = ConformanceTest;
using NodeDeadlineTest = ConformanceTest;

MAILRAIL_OVER_CHANNELS(DeadlineTest);
INSTANTIATE_TEST_SUITE_P(
    , MailboxDeadlineTest,
    testing::Combine(testing::Values(Transport::kSameProcess, Transport::kTwoProcesses,
                                     Transport::kTwoNodes),
                     testing::Values(Route::kMailboxOfReceiver, Route::kMailboxOfSender)),
    ChannelName);
MAILRAIL_OVER_TRANSPORTS(AgentDeadlineTest);
INSTANTIATE_TEST_SUITE_P(, NodeDeadlineTest, testing::Values(Transport::kTwoNodes), TransportName);

// A deadline that a call is to reach.
absl::Time Soon() { return absl::Now() + absl::Milliseconds(30); }

constexpr auto kDeadlineExceeded = absl::StatusCode::kDeadlineExceeded;
constexpr auto kUnavailable = absl::StatusCode::kUnavailable;

// Expects that `call` reaches each kind of deadline, and is not early. Between nodes room may come
// when a queue looked full: then it is called again.
template <typename Call>
void ExpectReturnsAtDeadline(Call call) {
  for (const absl::Duration wait :
       {-absl::InfiniteDuration(), absl::Seconds(-1), absl::Milliseconds(30)}) {
    absl::Time deadline;
    absl::Status status;
    do {
      deadline = absl::Now() + wait;
      status = StatusOf(call(deadline));
    } while (status.ok());
    EXPECT_THAT(status, HasCode(kDeadlineExceeded));
    EXPECT_GE(absl::Now(), deadline);
  }
}

TEST_P(DeadlineTest, ReceivesReturnAtTheirDeadline) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  Receiver& receiver = self().receiver(channel.receiver);
  ExpectReturnsAtDeadline([&](absl::Time deadline) { return receiver.Receive(deadline); });
  ExpectReturnsAtDeadline([&](absl::Time deadline) { return receiver.ReceiveBatch(9, deadline); });
  ExpectReturnsAtDeadline([&](absl::Time deadline) { return WaitAny({&receiver}, deadline); });
  EXPECT_THAT(receiver.TryReceive(), HasCode(kDeadlineExceeded));
  if (route() == Route::kInbox) {
    ExpectReturnsAtDeadline(
        [&](absl::Time deadline) { return receiver.ReceiveFrom(peer().id(), deadline); });
  }
  // None of them took anything away.
  ASSERT_THAT(peer().Send(channel.sender, {{.number = 5}}), IsOk());
  EXPECT_THAT(receiver.Receive(Patience()), IsOk());
}

TEST_P(DeadlineTest, EachWaitModeReturnsAtItsDeadline) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  Receiver& receiver = self().receiver(channel.receiver);
  for (const WaitMode mode : {WaitMode::kAdaptive, WaitMode::kSpin, WaitMode::kBlock}) {
    receiver.set_wait_mode(mode);
    ExpectReturnsAtDeadline([&](absl::Time deadline) { return receiver.Receive(deadline); });
    ASSERT_THAT(peer().Send(channel.sender, {{.number = 5}}), IsOk());
    EXPECT_THAT(receiver.Receive(Patience()), IsOk());
  }
}

// The sender is in this process, so that all of its calls can be tried.
TEST_P(DeadlineTest, SendsWithoutRoomReturnAtTheirDeadline) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer(), {.capacity_messages = 8}));
  Sender& sender = self().sender(channel.sender);
  size_t sent = 0;
  ExpectReturnsAtDeadline([&](absl::Time deadline) {
    const absl::Status status = sender.Send("a", {}, deadline);
    if (status.ok()) ++sent;
    return status;
  });
  ExpectReturnsAtDeadline([&](absl::Time deadline) {
    const absl::StatusOr<size_t> count = sender.SendBatch({"b", "c"}, {}, deadline);
    if (count.ok()) sent += *count;
    return count;
  });
  ExpectReturnsAtDeadline([&](absl::Time deadline) {
    // Where the place in the order is what lacks, it is Commit that waits.
    absl::StatusOr<ClaimedMessage> claim = sender.Claim(1, {}, deadline);
    if (!claim.ok()) return claim.status();
    const absl::Status status = claim->Commit(deadline);
    if (status.ok()) ++sent;
    return status;
  });
  // What was not sent does not arrive.
  EXPECT_THAT(peer().Receive(channel.receiver, sent), IsOk());
  EXPECT_THAT(peer().Receive(channel.receiver, 1, absl::Now() + absl::Milliseconds(100)),
              HasCode(kDeadlineExceeded));
}

TEST_P(DeadlineTest, AClaimWithoutRoomForItsBodyReturnsAtItsDeadline) {
  constexpr size_t kBytes = 200000;
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer(), {.max_message_bytes = kBytes}));
  Sender& sender = self().sender(channel.sender);
  ExpectReturnsAtDeadline([&](absl::Time deadline) {
    absl::StatusOr<ClaimedMessage> claim = sender.Claim(kBytes, {}, deadline);
    return claim.ok() ? claim->Commit(deadline) : claim.status();
  });
}

TEST_P(DeadlineTest, ASendThatNeedNotWaitTakesAnyDeadline) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  Sender& sender = self().sender(channel.sender);
  EXPECT_THAT(sender.Send("a", {}, absl::InfinitePast()), IsOk());
  const absl::StatusOr<size_t> sent =
      sender.SendBatch({"b", "c"}, {}, absl::Now() - absl::Seconds(1));
  ASSERT_THAT(sent, IsOk());
  EXPECT_EQ(*sent, 2u);
  absl::StatusOr<ClaimedMessage> claim = sender.Claim(1, {}, absl::InfinitePast());
  ASSERT_THAT(claim, IsOk());
  claim->body()[0] = 'd';
  EXPECT_THAT(claim->Commit(absl::InfinitePast()), IsOk());
  EXPECT_THAT(peer().Receive(channel.receiver, 4), IsOk());
}

TEST_P(DeadlineTest, AReceiveThatNeedNotWaitTakesAnyDeadline) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  Receiver& receiver = self().receiver(channel.receiver);
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    EXPECT_THAT(peer().Send(channel.sender, Numbered(2)), IsOk());
    absl::SleepFor(travel);
    const bool both =
        receiver.Receive(absl::Now() - absl::Seconds(1)).ok() && receiver.TryReceive().ok();
    while (receiver.TryReceive().ok()) continue;
    return both;
  }));
}

// What self() receives from, and what ends under it: of the inbox's messages those of one process,
// or a mailbox.
class EndTest : public ChannelTest {
 protected:
  struct Source {
    std::unique_ptr<Party> sender;
    Channel channel;
  };

  absl::StatusOr<Source> OpenSource() {
    Source source{.sender = NewPeer(), .channel = {}};
    const absl::StatusOr<Channel> channel = Open(*source.sender, self());
    if (!channel.ok()) return channel.status();
    source.channel = *channel;
    return source;
  }

  ReceiveResult ReceiveFrom(const Source& source) {
    return self().Receive(source.channel.receiver, 1, Patience(),
                          {.from = route() == Route::kInbox ? source.sender->id() : ProcessId()});
  }

  void End(const Source& source) {
    if (route() == Route::kInbox) {
      source.sender->End();
    } else {
      EXPECT_THAT(source.sender->DestroyMailbox(source.channel.mailbox), IsOk());
    }
  }
};

MAILRAIL_OVER_CHANNELS(EndTest);

TEST_P(EndTest, AWaitingReceiverReturnsWhenWhatItWaitsForIsGone) {
  ASSERT_OK_AND_ASSIGN(source, OpenSource());
  auto waiting = std::async(std::launch::async, [&] { return ReceiveFrom(source); });
  EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
  End(source);
  EXPECT_THAT(waiting.get(), HasCode(kUnavailable));
  EXPECT_THAT(ReceiveFrom(source), HasCode(kUnavailable));
}

// Over and over, with the end at any moment of the wait's beginning.
TEST_P(EndTest, NoReceiverMissesTheEndOfWhatItWaitsFor) {
  for (int round = 0; round < 30; ++round) {
    ASSERT_OK_AND_ASSIGN(source, OpenSource());
    auto waiting = std::async(std::launch::async, [&] { return ReceiveFrom(source); });
    absl::SleepFor(absl::Microseconds(Random(1000)));
    End(source);
    ASSERT_THAT(waiting.get(), HasCode(kUnavailable));
  }
}

TEST_P(DeadlineTest, AWaitingSenderReturnsWhenItsDestinationIsGone) {
  const std::unique_ptr<Party> receiver = NewPeer();
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), *receiver, {.capacity_messages = 8}));
  auto waiting = std::async(std::launch::async, [&] {
    return self().Send(channel.sender, Numbered(200000), absl::InfiniteFuture());
  });
  EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
  if (route() == Route::kInbox) {
    receiver->End();
  } else {
    EXPECT_THAT(receiver->DestroyMailbox(channel.mailbox), IsOk());
  }
  EXPECT_THAT(waiting.get(), HasCode(kUnavailable));
  EXPECT_THAT(self().Send(channel.sender, {{}}), HasCode(kUnavailable));
}

TEST_P(DeadlineTest, ASenderLearnsThatItsDestinationIsGone) {
  const std::unique_ptr<Party> receiver = NewPeer();
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), *receiver));
  ASSERT_THAT(self().Send(channel.sender, Numbered(10)), IsOk());
  if (route() == Route::kInbox) {
    receiver->End();
  } else {
    EXPECT_THAT(receiver->DestroyMailbox(channel.mailbox), IsOk());
  }
  SendResult result;
  EXPECT_TRUE(Eventually([&] {
    result = self().Send(channel.sender, {{}}, absl::InfinitePast());
    return !result.status.ok();
  }));
  EXPECT_THAT(result, HasCode(kUnavailable));
  absl::StatusOr<ClaimedMessage> claim = self().sender(channel.sender).Claim(8, {}, Patience());
  EXPECT_THAT(claim.ok() ? claim->Commit(Patience()) : claim.status(), HasCode(kUnavailable));
  EXPECT_THAT(self().sender(channel.sender).SendBatch({"a"}, {}, Patience()),
              HasCode(kUnavailable));
}

// Over and over, with the destruction at all moments of the wait's beginning.
TEST_P(MailboxDeadlineTest, NoReceiverMissesTheEndOfItsMailbox) {
  for (int round = 0; round < 30; ++round) {
    ASSERT_OK_AND_ASSIGN(channel, Open());
    auto waiting = std::async(std::launch::async,
                              [&] { return self().Receive(channel.receiver, 1, Patience()); });
    absl::SleepFor(absl::Microseconds(Random(1000)));
    ASSERT_THAT(peer().DestroyMailbox(channel.mailbox), IsOk());
    ASSERT_THAT(waiting.get(), HasCode(kUnavailable));
  }
}

TEST_P(AgentDeadlineTest, CallsToAStoppedAgentReturnAtTheirDeadline) {
  kill(cluster().Proper("alpha"), SIGSTOP);
  const std::string name = NewName();
  const auto call = [&](auto what) {
    const absl::Time deadline = Soon();
    EXPECT_THAT(what(deadline), HasCode(kDeadlineExceeded));
    EXPECT_GE(absl::Now(), deadline);
  };
  Process& process = self().process();
  call([&](absl::Time deadline) { return process.CreateMailbox(name, {}, deadline); });
  call([&](absl::Time deadline) { return process.OpenMailbox(name, deadline); });
  call([&](absl::Time deadline) { return process.ConnectMailbox(name, deadline); });
  call([&](absl::Time deadline) { return process.Connect(name, deadline); });
  call([&](absl::Time deadline) { return process.Connect(peer().id(), deadline); });
  call([&](absl::Time deadline) { return process.Resolve(name, deadline); });
  call([&](absl::Time deadline) { return process.DestroyMailbox(name, deadline); });
  kill(cluster().Proper("alpha"), SIGCONT);
  // And it goes on.
  EXPECT_TRUE(Eventually([&] {
    const absl::Status created = process.CreateMailbox(name);
    return created.ok() || created.code() == absl::StatusCode::kAlreadyExists;
  }));
  EXPECT_THAT(process.Connect(peer().id()), IsOk());
}

TEST_P(NodeDeadlineTest, ACallThatNeedsAStoppedNodeReturnsAtItsDeadline) {
  kill(cluster().Proper("beta"), SIGSTOP);
  const absl::StatusOr<Handle> connected = self().Connect(peer().id(), Soon());
  const absl::StatusOr<ProcessId> resolved = self().Resolve("nobody@beta", Soon());
  kill(cluster().Proper("beta"), SIGCONT);
  EXPECT_THAT(connected, HasCode(kDeadlineExceeded));
  EXPECT_THAT(resolved, HasCode(kDeadlineExceeded));
  EXPECT_THAT(self().Connect(peer().id()), IsOk());
}

}  // namespace
}  // namespace mailrail
