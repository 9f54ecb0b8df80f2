// What message queues have from mailboxes, and POSIX's have not.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "mailrail/message_queue.h"
#include "tests/conformance/queue_user.h"

namespace mailrail {
namespace {

using absl::StatusCode;

class QueueMailboxTest : public ConformanceTest {
 protected:
  std::string NewQueueName() { return absl::StrCat("/", NewName()); }
  OpenQueue OpenOf(Party& party, const std::string& name, const OpenAs& as = {}) {
    return Open(party, /*posix=*/false, name, as);
  }
};

MAILRAIL_OVER_TRANSPORTS(QueueMailboxTest);

TEST_P(QueueMailboxTest, SenderAndReceiverNeedNeverRunAtTheSameTimeNorTheAgentAllTheTime) {
  const std::string name = NewQueueName();
  {
    const std::unique_ptr<Party> maker = NewSelf();
    OpenOf(*maker, name, Create());
  }
  {
    const std::unique_ptr<Party> sender = NewPeer();
    OpenQueue there = OpenOf(*sender, name);
    for (int i = 0; i < 10; ++i) EXPECT_THAT(there.Send(absl::StrCat(i), i / 5), Works());
    sender->End();
  }
  KillAgent("alpha");
  if (across_nodes()) KillAgent("beta");
  ASSERT_THAT(cluster().WaitUntilConnected(), IsOk());
  const std::unique_ptr<Party> receiver = NewPeer();
  OpenQueue there = OpenOf(*receiver, name);
  ASSERT_TRUE(there.Holds(10));
  for (const int i : {5, 6, 7, 8, 9, 0, 1, 2, 3, 4}) {
    EXPECT_THAT(there.Receive(), Brings(absl::StrCat(i), i / 5));
  }
}

TEST_P(QueueMailboxTest, ARegistrationOutlivesTheAgent) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  EXPECT_THAT(there.Notify(), Works());
  KillAgent("alpha");
  if (across_nodes()) KillAgent("beta");
  ASSERT_THAT(cluster().WaitUntilConnected(), IsOk());
  EXPECT_THAT(here.Notify(), FailsWith(EBUSY));
  EXPECT_THAT(here.Send("a"), Works());
  EXPECT_TRUE(Eventually([&] { return there.Notified() == 1; }));
}

TEST_P(QueueMailboxTest, UnlinkingTellsThoseThatHaveItOpen) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  auto waiting =
      std::async(std::launch::async, [&] { return there.Receive(absl::InfiniteFuture()); });
  EXPECT_TRUE(Eventually([&] { return peer().Asleep() == 1; }));
  EXPECT_THAT(Unlink(self(), /*posix=*/false, name), Works());
  EXPECT_THAT(waiting.get(), FailsWith(EPIPE));
  EXPECT_THAT(here.Send("x"), FailsWith(EPIPE));
  EXPECT_THAT(here.Receive(), FailsWith(EPIPE));
  EXPECT_TRUE(Eventually([&] { return there.Send("x").error() == EPIPE; }));
  EXPECT_THAT(here.Attributes(), FailsWith(ENOENT));
}

TEST_P(QueueMailboxTest, AQueueIsTheMailboxOfThatNameOnWhateverNode) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, {.max_message_bytes = 500, .capacity_messages = 12}),
              IsOk());
  ASSERT_OK_AND_ASSIGN(sender, self().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  for (const std::string& queue : {"/" + name, name, "/" + name + "@alpha"}) {
    OpenQueue there = OpenOf(peer(), queue, {.create = true, .max_message_bytes = 500});
    EXPECT_EQ(there.Attributes().max_messages(), 12);
    EXPECT_THAT(self().Send(sender, {{.number = 1, .priority = 3}}), IsOk());
    const party::QueueResult received = there.Receive();
    EXPECT_THAT(received, Works());
    EXPECT_EQ(received.priority(), 3u);
    EXPECT_THAT(there.Send("back", 4), Works());
    const ReceiveResult result = self().Receive(receiver, 1);
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result.messages[0].sender, peer().id());
    EXPECT_EQ(result.messages[0].priority, 4);
  }
}

TEST_P(QueueMailboxTest, WhatIsNoNameOfAMailboxIsRefused) {
  for (const std::string& name :
       {std::string("/"), std::string(""), std::string("/a/b"), std::string("//a"),
        std::string("/4711"), "/" + std::string(64, 'a')}) {
    EXPECT_THAT(TryOpen(peer(), /*posix=*/false, name, Create()), FailsWith(EINVAL)) << name;
    EXPECT_THAT(Unlink(peer(), /*posix=*/false, name), FailsWith(EINVAL)) << name;
  }
  // Another node's is opened, and not made.
  EXPECT_THAT(TryOpen(self(), /*posix=*/false, "/none@nowhere"), FailsWith(ENOENT));
  EXPECT_THAT(TryOpen(self(), /*posix=*/false, "/none@nowhere", Create()), FailsWith(EINVAL));
}

TEST_P(QueueMailboxTest, PrioritiesAreAsManyAsPosixGrants) {
  OpenQueue here = OpenOf(self(), NewQueueName(), Create());
  EXPECT_THAT(here.Send("x", kMaxPriority), Works());
  EXPECT_THAT(here.Send("x", kMaxPriority + 1), FailsWith(EINVAL));
}

TEST_P(QueueMailboxTest, TheMostMessagesCountForEachSenderAndPriority) {
  const std::string name = NewQueueName();
  OpenOf(self(), name, {.create = true, .max_messages = 2});
  int64_t sent = 0;
  for (int sender = 0; sender < 2; ++sender) {
    const std::unique_ptr<Party> other = NewSelf();
    OpenQueue queue = OpenOf(*other, name, {.nonblocking = true});
    for (const int priority : {0, 7}) {
      EXPECT_THAT(queue.Send("a", priority), Works());
      EXPECT_THAT(queue.Send("b", priority), Works());
      EXPECT_THAT(queue.Send("c", priority), FailsWith(EAGAIN));
      sent += 2;
    }
  }
  OpenQueue there = OpenOf(peer(), name);
  EXPECT_TRUE(there.Holds(sent));
}

TEST_P(QueueMailboxTest, WhoRegistersLateIsToldOfWhatIsThere) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  EXPECT_THAT(here.Send("a"), Works());
  EXPECT_THAT(there.Notify(), Works());
  EXPECT_TRUE(Eventually([&] { return there.Notified() == 1; }));
  EXPECT_THAT(there.Receive(), Brings("a", 0));
}

// As programs of POSIX do it: register again, then take all that there is.
TEST_P(QueueMailboxTest, ACallbackThatRegistersAgainMissesNoMessage) {
  constexpr size_t kMessages = 200;
  const std::string name = NewQueueName();
  absl::Mutex mutex;
  size_t received = 0;
  absl::Status failed;
  absl::StatusOr<MessageQueue> queue =
      MessageQueue::Open(self().process(), name, {.create = true, .nonblocking = true});
  ASSERT_THAT(queue, IsOk());
  const std::function<void()> take_all = [&] {
    const absl::Status registered = queue->Notify(take_all);
    absl::StatusOr<Message> message = queue->Receive();
    for (; message.ok(); message = queue->Receive()) {
      absl::MutexLock lock(&mutex);
      ++received;
    }
    absl::MutexLock lock(&mutex);
    failed.Update(registered);
    if (!absl::IsDeadlineExceeded(message.status())) failed.Update(message.status());
  };
  ASSERT_THAT(queue->Notify(take_all), IsOk());
  OpenQueue there = OpenOf(peer(), name);
  for (size_t i = 0; i < kMessages; ++i) {
    EXPECT_THAT(there.Send("x", static_cast<int>(Random(kPriorityCount))), Works());
  }
  EXPECT_TRUE(Eventually([&] {
    absl::MutexLock lock(&mutex);
    return received == kMessages;
  }));
  queue->CancelNotify();
  absl::MutexLock lock(&mutex);
  EXPECT_THAT(failed, IsOk());
}

TEST_P(QueueMailboxTest, ADescriptorAndASetTellOfMessagesAgainAndAgain) {
  const std::string name = NewQueueName();
  absl::StatusOr<MessageQueue> queue =
      MessageQueue::Open(self().process(), name, {.create = true, .nonblocking = true});
  ASSERT_THAT(queue, IsOk());
  OpenQueue there = OpenOf(peer(), name);
  ASSERT_OK_AND_ASSIGN(descriptor, queue->receiver().Descriptor());
  WaitSet set(self().process());
  ASSERT_THAT(set.Add(7, queue->receiver()), IsOk());
  for (int round = 0; round < 3; ++round) {
    EXPECT_THAT(there.Send("x"), Works());
    ASSERT_OK_AND_ASSIGN(key, set.Wait(Patience()));
    EXPECT_EQ(key, 7u);
    pollfd entry = {descriptor, POLLIN, 0};
    EXPECT_EQ(poll(&entry, 1, 60000), 1);
    EXPECT_THAT(queue->Receive(), IsOk());
    EXPECT_THAT(queue->Receive(), HasCode(StatusCode::kDeadlineExceeded));
  }
  ASSERT_THAT(set.Remove(7), IsOk());
}

TEST_P(QueueMailboxTest, AMailboxTellsEveryNodeWhatIsInIt) {
  const std::string name = NewName();
  ASSERT_THAT(peer().CreateMailbox(name, {.capacity_messages = 44, .max_attempts = 3}), IsOk());
  ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenLeasing(name));
  ASSERT_THAT(peer().Send(sender, Numbered(5)), IsOk());
  ASSERT_THAT(peer().Receive(receiver, 3), IsOk());
  ASSERT_THAT(peer().GiveBack(2, absl::Hours(1)), IsOk());
  Process& process = self().process();
  for (const std::string& text : {name, absl::StrCat(name, "@", peer_node())}) {
    ASSERT_OK_AND_ASSIGN(state, process.StatMailbox(text));
    EXPECT_EQ(state.options.capacity_messages, 44u);
    EXPECT_EQ(state.options.max_attempts, 3u);
    EXPECT_EQ(state.waiting, 2u);
    EXPECT_EQ(state.leased, 2u);
    EXPECT_EQ(state.delayed, 1u);
  }
  EXPECT_THAT(process.StatMailbox("none"), HasCode(StatusCode::kNotFound));
  EXPECT_THAT(process.StatMailbox("no name"), HasCode(StatusCode::kInvalidArgument));
}

TEST_P(QueueMailboxTest, TheChildOfAForkIsRefusedAndHarmsNothing) {
  const std::string name = NewQueueName();
  auto queue = std::make_unique<MessageQueue>(
      MessageQueue::Open(self().process(), name, {.create = true}).value());
  ASSERT_THAT(queue->Notify([] {}), IsOk());
  const pid_t child = fork();
  if (child == 0) {
    bool refused = absl::IsFailedPrecondition(queue->Send("x")) &&
                   absl::IsFailedPrecondition(queue->Receive().status()) &&
                   absl::IsFailedPrecondition(queue->GetAttributes().status()) &&
                   absl::IsFailedPrecondition(queue->Notify([] {}));
    queue->CancelNotify();
    queue.reset();
    _exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(OpenOf(peer(), name).Notify(), FailsWith(EBUSY));
  EXPECT_THAT(queue->Send("x"), IsOk());
}

}  // namespace
}  // namespace mailrail
