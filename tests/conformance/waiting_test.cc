// Waiting: for any of several receivers, by a descriptor, in every wait mode.
#include <poll.h>
#include <sys/epoll.h>

#include <future>
#include <memory>
#include <vector>

#include "core/base/fd.h"
#include "tests/conformance/conformance.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

using WaitingTest = ChannelTest;
using WaitAnyTest = ConformanceTest;

MAILRAIL_OVER_CHANNELS(WaitingTest);
MAILRAIL_OVER_TRANSPORTS(WaitAnyTest);

// Waits until the descriptor polls readable.
bool WaitUntilReadable(int descriptor) {
  pollfd poll_descriptor = {.fd = descriptor, .events = POLLIN, .revents = 0};
  return poll(&poll_descriptor, 1, 60000) == 1 && (poll_descriptor.revents & POLLIN) != 0;
}

TEST_P(WaitingTest, ASleepingReceiverIsWoken) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  for (uint64_t round = 1; round <= 20; ++round) {
    auto waiting =
        std::async(std::launch::async, [&] { return self().Receive(channel.receiver, 1); });
    EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
    ASSERT_THAT(peer().Send(channel.sender, {{.number = round}}), IsOk());
    const ReceiveResult result = waiting.get();
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result.messages[0].number, round);
  }
}

TEST_P(WaitingTest, EachWaitModeReceivesEverything) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  uint64_t next = 1;
  for (const WaitMode mode : {WaitMode::kAdaptive, WaitMode::kSpin, WaitMode::kBlock}) {
    Receiver& receiver = self().receiver(channel.receiver);
    receiver.set_wait_mode(mode);
    auto sent = std::async(std::launch::async, [&, first = next] {
      return peer().Send(channel.sender, Numbered(1000, {}, first));
    });
    for (int i = 0; i < 1000; ++i) {
      const absl::StatusOr<Message> message = receiver.Receive(Patience());
      ASSERT_THAT(message, IsOk());
      ASSERT_EQ(NumberOf(message->body()), next++);
    }
    EXPECT_THAT(sent.get(), IsOk());
  }
}

TEST_P(WaitingTest, ADescriptorPollsReadableForEachMessage) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  Receiver& receiver = self().receiver(channel.receiver);
  ASSERT_OK_AND_ASSIGN(descriptor, receiver.Descriptor());
  for (uint64_t round = 1; round <= 200; ++round) {
    ASSERT_THAT(peer().Send(channel.sender, {{.number = round}}), IsOk());
    absl::StatusOr<Message> message;
    do {
      ASSERT_TRUE(WaitUntilReadable(descriptor)) << "message " << round;
      message = receiver.TryReceive();
    } while (message.status().code() == absl::StatusCode::kDeadlineExceeded);
    ASSERT_THAT(message, IsOk());
    ASSERT_EQ(NumberOf(message->body()), round);
    // As an event loop does, to see that this was all.
    ASSERT_THAT(receiver.TryReceive(), HasCode(absl::StatusCode::kDeadlineExceeded));
  }
}

TEST_P(WaitingTest, ADescriptorIsReadableForWhatWasThereBefore) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  ASSERT_THAT(peer().Send(channel.sender, {{.number = 1}}), IsOk());
  Receiver& receiver = self().receiver(channel.receiver);
  ASSERT_OK_AND_ASSIGN(descriptor, receiver.Descriptor());
  do {
    ASSERT_TRUE(WaitUntilReadable(descriptor));
  } while (!receiver.TryReceive().ok());
}

// An event loop that looks at nothing but its descriptors, with a flood into each.
TEST_P(WaitingTest, AnEventLoopMissesNothing) {
  constexpr size_t kMessages = 1500;
  struct Source {
    std::unique_ptr<LocalParty> party;
    Channel channel;
    int descriptor = -1;
    size_t received = 0;
  };
  std::vector<Source> sources(2);
  const Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  std::vector<std::future<SendResult>> sent;
  for (size_t i = 0; i < sources.size(); ++i) {
    Source& source = sources[i];
    source.party = NewSelf();
    ASSERT_OK_AND_ASSIGN(channel, Open(peer(), *source.party));
    source.channel = channel;
    ASSERT_OK_AND_ASSIGN(descriptor, source.party->receiver(channel.receiver).Descriptor());
    epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
    ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, descriptor, &event), 0);
    sent.push_back(std::async(std::launch::async, [&] {
      return peer().Send(source.channel.sender, Numbered(kMessages));
    }));
  }
  while (sources[0].received + sources[1].received < 2 * kMessages) {
    epoll_event event{};
    ASSERT_EQ(epoll_wait(epoll.get(), &event, 1, 60000), 1) << "it polls as empty, and is not";
    Source& source = sources[event.data.u64];
    Receiver& receiver = source.party->receiver(source.channel.receiver);
    for (;;) {
      const absl::StatusOr<Message> message = receiver.TryReceive();
      if (!message.ok()) break;
      ASSERT_EQ(NumberOf(message->body()), ++source.received);
    }
  }
  for (std::future<SendResult>& each : sent) EXPECT_THAT(each.get(), IsOk());
}

TEST_P(WaitAnyTest, WaitAnyNamesTheReceiverThatHasAMessage) {
  const std::string names[] = {NewName(), NewName()};
  std::vector<Receiver*> receivers = {&self().process().inbox()};
  std::vector<Handle> senders;
  ASSERT_OK_AND_ASSIGN(to_inbox, peer().Connect(self().id()));
  senders.push_back(to_inbox);
  // One at home on each side.
  ASSERT_THAT(self().CreateMailbox(names[0]), IsOk());
  ASSERT_THAT(peer().CreateMailbox(names[1]), IsOk());
  for (const std::string& name : names) {
    ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
    receivers.push_back(&self().receiver(receiver));
    ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
    senders.push_back(sender);
  }
  for (int round = 0; round < 100; ++round) {
    const size_t which = Random(receivers.size());
    ASSERT_THAT(peer().Send(senders[which], {{.number = which}}), IsOk());
    absl::StatusOr<Message> message;
    do {
      const absl::StatusOr<size_t> ready = WaitAny(receivers, Patience());
      ASSERT_THAT(ready, IsOk());
      ASSERT_LT(*ready, receivers.size());
      message = receivers[*ready]->TryReceive();
    } while (message.status().code() == absl::StatusCode::kDeadlineExceeded);
    ASSERT_THAT(message, IsOk());
    ASSERT_EQ(NumberOf(message->body()), which);
  }
  EXPECT_THAT(WaitAny(receivers, absl::Now()), HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST_P(WaitAnyTest, WaitAnyNamesTheFirstOfSeveral) {
  std::vector<Receiver*> receivers;
  for (int i = 0; i < 3; ++i) {
    const std::string name = NewName();
    ASSERT_THAT(self().CreateMailbox(name), IsOk());
    ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
    receivers.push_back(&self().receiver(receiver));
    if (i == 0) continue;
    ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
    ASSERT_THAT(peer().Send(sender, {{}}), IsOk());
  }
  EXPECT_TRUE(OnceArrived([&](absl::Duration travel) {
    absl::SleepFor(travel);
    const absl::StatusOr<size_t> ready = WaitAny(receivers, Patience());
    return ready.ok() && *ready == 1;
  }));
}

TEST_P(WaitAnyTest, WaitAnyWakesForEachReceiver) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(to_mailbox, peer().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(to_inbox, peer().Connect(self().id()));
  const std::vector<Receiver*> receivers = {&self().process().inbox(), &self().receiver(receiver)};
  for (int round = 0; round < 40; ++round) {
    auto waiting = std::async(std::launch::async, [&] { return WaitAny(receivers, Patience()); });
    absl::SleepFor(absl::Microseconds(Random(500)));
    ASSERT_THAT(peer().Send(round % 2 == 0 ? to_inbox : to_mailbox, {{}}), IsOk());
    const absl::StatusOr<size_t> ready = waiting.get();
    ASSERT_THAT(ready, IsOk());
    EXPECT_EQ(*ready, static_cast<size_t>(round % 2));
    ASSERT_THAT(receivers[static_cast<size_t>(round % 2)]->Receive(Patience()), IsOk());
  }
}

TEST_P(WaitAnyTest, WaitAnyReturnsWhenAMailboxIsDestroyed) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  const std::vector<Receiver*> receivers = {&self().process().inbox(), &self().receiver(receiver)};
  auto waiting = std::async(std::launch::async, [&] { return WaitAny(receivers, Patience()); });
  ASSERT_THAT(peer().DestroyMailbox(name), IsOk());
  const absl::StatusOr<size_t> ready = waiting.get();
  ASSERT_THAT(ready, IsOk());
  EXPECT_EQ(*ready, 1u);
  EXPECT_TRUE(Eventually([&] {
    return receivers[1]->TryReceive().status().code() == absl::StatusCode::kUnavailable;
  }));
}

}  // namespace
}  // namespace mailrail
