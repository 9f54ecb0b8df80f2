// Requests and their answers.
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

using absl::StatusCode;

// Calls of self() that peer() answers.
using CallTest = ChannelTest;
MAILRAIL_OVER_CHANNELS(CallTest);

TEST_P(CallTest, TheAnswerOfWhoeverReceivesARequestComesToItsCaller) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  const std::vector<size_t> sizes = {8, 40, 96, 500, 5000, 300000};
  auto answering =
      std::async(std::launch::async, [&] { return peer().Answer(channel.receiver, sizes.size()); });
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto answer = self().Call(channel.sender, {.number = i + 1, .bytes = sizes[i]});
    ASSERT_THAT(answer, IsOk());
    EXPECT_EQ(answer->number, i + 1);
    EXPECT_EQ(answer->bytes, sizes[i]);
    EXPECT_TRUE(answer->intact);
    EXPECT_EQ(answer->sender, peer().id());
  }
  EXPECT_THAT(answering.get(), IsOk());
}

TEST_P(CallTest, EachOfManyThreadsGetsItsOwnAnswers) {
  constexpr size_t kThreads = 6;
  constexpr size_t kCalls = 40;
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  auto answering = std::async(std::launch::async,
                              [&] { return peer().Answer(channel.receiver, kThreads * kCalls); });
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, first = thread * kCalls] {
      const auto sender = route() == Route::kInbox ? self().Connect(peer().id())
                                                   : self().ConnectMailbox(channel.mailbox);
      ASSERT_THAT(sender, IsOk());
      for (size_t number = first; number < first + kCalls; ++number) {
        const auto answer = self().Call(*sender, {.number = number});
        ASSERT_THAT(answer, IsOk());
        ASSERT_EQ(answer->number, number);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(answering.get(), IsOk());
}

TEST_P(CallTest, ARequestThatIsNotReceivedInTimeIsReceivedByNobody) {
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), peer()));
  EXPECT_THAT(self().Call(channel.sender, {.number = 1}, absl::Now() + absl::Milliseconds(50)),
              HasCode(StatusCode::kDeadlineExceeded));
  // Between nodes the time on the way is added. The time is what is tested.
  if (across_nodes()) absl::SleepFor(absl::Milliseconds(300));
  auto answering =
      std::async(std::launch::async, [&] { return peer().Answer(channel.receiver, 1); });
  const auto answer = self().Call(channel.sender, {.number = 2});
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->number, 2u);
  EXPECT_THAT(answering.get(), IsOk());
}

TEST_P(CallTest, ACallReturnsWhenWhoIsCalledIsGone) {
  const std::unique_ptr<Party> server = NewPeer();
  ASSERT_OK_AND_ASSIGN(channel, Open(self(), *server));
  auto calling =
      std::async(std::launch::async, [&] { return self().Call(channel.sender, {.number = 1}); });
  EXPECT_THAT(server->Receive(channel.receiver, 1), IsOk());
  if (route() == Route::kInbox) {
    server->End();
  } else {
    EXPECT_THAT(server->DestroyMailbox(channel.mailbox), IsOk());
  }
  EXPECT_THAT(calling.get(), HasCode(StatusCode::kUnavailable));
  EXPECT_THAT(self().Call(channel.sender, {.number = 2}), HasCode(StatusCode::kUnavailable));
}

// Calls of peer() that self() answers, as it likes.
class AnswerTest : public ChannelTest {
 protected:
  Message Next(const Channel& channel) {
    absl::StatusOr<Message> message = self().receiver(channel.receiver).Receive(Patience());
    EXPECT_THAT(message, IsOk());
    return message.ok() ? *std::move(message) : Message();
  }
  std::future<absl::StatusOr<Received>> Calling(const Channel& channel, uint64_t number,
                                                absl::Time deadline = Patience()) {
    return std::async(std::launch::async, [=, this] {
      return peer().Call(channel.sender, {.number = number}, deadline);
    });
  }
  absl::Status Reply(const Message& request, uint64_t number) {
    return self().process().Reply(request, MakeBody(number, 8), {}, Patience());
  }
};

MAILRAIL_OVER_CHANNELS(AnswerTest);

TEST_P(AnswerTest, OneThatComesTooLateIsNotTakenForTheNext) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  auto first = Calling(channel, 1, absl::Now() + absl::Milliseconds(300));
  const Message late = Next(channel);
  EXPECT_THAT(first.get(), HasCode(StatusCode::kDeadlineExceeded));
  auto second = Calling(channel, 2);
  const Message request = Next(channel);
  EXPECT_THAT(Reply(late, 1), IsOk());
  EXPECT_THAT(Reply(request, 2), IsOk());
  const auto answer = second.get();
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->number, 2u);
}

TEST_P(AnswerTest, OfTwoTheFirstCounts) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  for (uint64_t number = 1; number <= 3; ++number) {
    auto calling = Calling(channel, number);
    const Message request = Next(channel);
    EXPECT_THAT(Reply(request, 10 * number), IsOk());
    EXPECT_THAT(Reply(request, 10 * number + 1), IsOk());
    const auto answer = calling.get();
    ASSERT_THAT(answer, IsOk());
    EXPECT_EQ(answer->number, 10 * number);
  }
}

TEST_P(AnswerTest, ItHasHeadersAndAPriorityOfItsOwn) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  auto calling = Calling(channel, 1);
  const Message request = Next(channel);
  EXPECT_THAT(
      self().process().Reply(request, MakeBody(5, 8), {.priority = 7, .headers = {{"kind", "no"}}}),
      IsOk());
  const auto answer = calling.get();
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->priority, 7);
  EXPECT_EQ(answer->headers, (std::vector<Header>{{"kind", "no"}}));
}

TEST_P(AnswerTest, WhenItsCallerIsGoneThatIsSaid) {
  const std::unique_ptr<Party> caller = NewPeer();
  ASSERT_OK_AND_ASSIGN(channel, Open(*caller, self()));
  auto calling = std::async(std::launch::async, [&] {
    return caller->Call(channel.sender, {.number = 1}, absl::Now() + absl::Milliseconds(300));
  });
  const Message request = Next(channel);
  EXPECT_THAT(calling.get(), HasCode(StatusCode::kDeadlineExceeded));
  caller->End();
  // A node hears a little later of what has gone on another.
  EXPECT_TRUE(Eventually([&] {
    const absl::Status status = Reply(request, 1);
    return absl::IsNotFound(status) || absl::IsUnavailable(status);
  }));
}

TEST_P(AnswerTest, AgentsMayBeKilledBeforeItIsGiven) {
  ASSERT_OK_AND_ASSIGN(channel, Open());
  auto first = Calling(channel, 1);
  EXPECT_THAT(Reply(Next(channel), 1), IsOk());
  EXPECT_THAT(first.get(), IsOk());
  auto second = Calling(channel, 2);
  const Message request = Next(channel);
  KillAgent("alpha");
  if (across_nodes()) KillAgent("beta");
  EXPECT_THAT(Reply(request, 2), IsOk());
  const auto answer = second.get();
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->number, 2u);
}

using MailboxCallTest = ConformanceTest;
MAILRAIL_OVER_TRANSPORTS(MailboxCallTest);

TEST_P(MailboxCallTest, WhenNobodyReceivesAtAllThatIsSaidAtOnce) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  EXPECT_THAT(self().Call(sender, {}, absl::InfiniteFuture()), HasCode(StatusCode::kUnavailable));
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name));
  auto answering = std::async(std::launch::async, [&] { return peer().Answer(receiver, 1); });
  // Another node hears of the receiver a little later.
  EXPECT_TRUE(Eventually([&] { return self().Call(sender, {.number = 3}).ok(); }));
  EXPECT_THAT(answering.get(), IsOk());
  peer().Close(receiver);
  EXPECT_TRUE(Eventually([&] {
    return absl::IsUnavailable(
        self().Call(sender, {}, absl::Now() + absl::Milliseconds(20)).status());
  }));
}

TEST_P(MailboxCallTest, WhenItsReceiverDiesALeasedRequestIsAnsweredByAnother) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name), IsOk());
  const std::unique_ptr<Party> dying = NewPeer();
  ASSERT_OK_AND_ASSIGN(of_dying, dying->OpenLeasing(name));
  ASSERT_OK_AND_ASSIGN(of_other, peer().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  auto calling = std::async(std::launch::async, [&] { return self().Call(sender, {.number = 4}); });
  ASSERT_THAT(dying->Receive(of_dying, 1), IsOk());
  dying->End();
  EXPECT_THAT(peer().Answer(of_other, 1), IsOk());
  const auto answer = calling.get();
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->number, 4u);
  EXPECT_EQ(answer->sender, peer().id());
}

TEST_P(MailboxCallTest, AMessageThatWasSentToBeAnsweredElsewhereIs) {
  const std::string orders = NewName();
  const std::string answers = NewName();
  ASSERT_THAT(self().CreateMailbox(orders), IsOk());
  ASSERT_THAT(self().CreateMailbox(answers), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(orders));
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(answers));
  ASSERT_OK_AND_ASSIGN(worker, peer().OpenMailbox(orders));
  ASSERT_THAT(self().Send(sender, {{.number = 6, .reply_to = answers}}), IsOk());
  EXPECT_THAT(peer().Answer(worker, 1), IsOk());
  const ReceiveResult result = self().Receive(receiver, 1);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result.messages[0].number, 6u);
  EXPECT_EQ(result.messages[0].sender, peer().id());
}

TEST_P(MailboxCallTest, WhatCannotBeAnsweredOrCalledIsSaidSo) {
  ASSERT_OK_AND_ASSIGN(sender, peer().Connect(self().id()));
  ASSERT_THAT(peer().Send(sender, Numbered(1)), IsOk());
  const auto message = self().process().inbox().Receive(Patience());
  ASSERT_THAT(message, IsOk());
  EXPECT_THAT(self().process().Reply(*message, "to whom?"),
              HasCode(StatusCode::kFailedPrecondition));
  ASSERT_OK_AND_ASSIGN(caller, self().Connect(peer().id()));
  EXPECT_THAT(self().Call(caller, {.reply_to = "elsewhere"}),
              HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(self().Call(caller, {}, absl::InfinitePast()),
              HasCode(StatusCode::kDeadlineExceeded));
  EXPECT_THAT(self().CreateMailbox("_replies.1.2"), HasCode(StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace mailrail
