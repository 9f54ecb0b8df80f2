// MessageQueue means what the mq_* calls mean: one body for POSIX's own queues, in one process and
// in two, and for ours over every transport.
#include <fcntl.h>
#include <mqueue.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/queue_user.h"

namespace mailrail {
namespace {

struct QueueKind {
  bool posix;
  Transport transport;
};

class MessageQueueTest : public ConformanceFixture, public testing::WithParamInterface<QueueKind> {
 protected:
  void SetUp() override {
    ConformanceFixture::SetUp();
    if (HasFatalFailure() || !posix()) return;
    // Without these there is nothing to compare with: that is a failure.
    const std::string name = NewQueueName();
    const mqd_t queue = mq_open(name.c_str(), O_CREAT | O_RDWR, 0600, nullptr);
    ASSERT_NE(queue, static_cast<mqd_t>(-1))
        << "this environment does not permit POSIX message queues: mq_open: " << strerror(errno);
    mq_close(queue);
  }
  void TearDown() override {
    for (const std::string& name : names_) {
      if (posix()) mq_unlink(name.c_str());
    }
    ConformanceFixture::TearDown();
  }

  Transport transport() const override { return GetParam().transport; }
  bool posix() const { return GetParam().posix; }

  // POSIX's are known to all of the host.
  std::string NewQueueName() {
    names_.push_back(posix() ? absl::StrCat("/mailrail-", getpid(), "-", NewName())
                             : absl::StrCat("/", NewName()));
    return names_.back();
  }
  OpenQueue OpenOf(Party& party, const std::string& name, const OpenAs& as = {}) {
    return Open(party, posix(), name, as);
  }
  party::QueueResult TryOpenOf(Party& party, const std::string& name, const OpenAs& as = {}) {
    return TryOpen(party, posix(), name, as);
  }

 private:
  std::vector<std::string> names_;
};

std::string KindName(const testing::TestParamInfo<QueueKind>& info) {
  const testing::TestParamInfo<Transport> transport(info.param.transport, info.index);
  return absl::StrCat(info.param.posix ? "Posix" : "Mailrail", TransportName(transport));
}

INSTANTIATE_TEST_SUITE_P(, MessageQueueTest,
                         testing::Values(QueueKind{true, Transport::kSameProcess},
                                         QueueKind{true, Transport::kTwoProcesses},
                                         QueueKind{false, Transport::kSameProcess},
                                         QueueKind{false, Transport::kTwoProcesses},
                                         QueueKind{false, Transport::kTwoNodes}),
                         KindName);

TEST_P(MessageQueueTest, MessagesOfOnePriorityAreReceivedInTheOrderOfTheirSends) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  for (OpenQueue* sender : {&there, &here}) {
    OpenQueue& receiver = sender == &here ? there : here;
    for (int i = 0; i < 8; ++i) EXPECT_THAT(sender->Send(absl::StrCat(i), 3), Works());
    for (int i = 0; i < 8; ++i) EXPECT_THAT(receiver.Receive(), Brings(absl::StrCat(i), 3));
  }
}

TEST_P(MessageQueueTest, AHigherPriorityIsReceivedFirst) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  EXPECT_THAT(there.Send("c", 5), Works());
  EXPECT_THAT(there.Send("e", 0), Works());
  EXPECT_THAT(there.Send("a", 31), Works());
  EXPECT_THAT(there.Send("d", 5), Works());
  EXPECT_THAT(there.Send("b", 30), Works());
  EXPECT_THAT(there.Send("f", 0), Works());
  ASSERT_TRUE(here.Holds(6));
  EXPECT_THAT(here.Receive(), Brings("a", 31));
  EXPECT_THAT(here.Receive(), Brings("b", 30));
  EXPECT_THAT(here.Receive(), Brings("c", 5));
  EXPECT_THAT(here.Receive(), Brings("d", 5));
  EXPECT_THAT(here.Receive(), Brings("e", 0));
  EXPECT_THAT(here.Receive(), Brings("f", 0));
}

TEST_P(MessageQueueTest, APriorityBeyondTheGreatestIsRefused) {
  OpenQueue queue = OpenOf(self(), NewQueueName(), Create());
  EXPECT_THAT(queue.Send("x", 32768), FailsWith(EINVAL));
  EXPECT_THAT(queue.Receive(Soon()), FailsWith(ETIMEDOUT));
}

TEST_P(MessageQueueTest, OpeningFindsWhatIsThereAndCreatesWhatIsNot) {
  const std::string name = NewQueueName();
  EXPECT_THAT(TryOpenOf(peer(), name), FailsWith(ENOENT));
  OpenQueue here = OpenOf(self(), name, {.create = true, .exclusive = true, .max_messages = 7});
  EXPECT_THAT(TryOpenOf(peer(), name, {.create = true, .exclusive = true}), FailsWith(EEXIST));
  OpenQueue there = OpenOf(peer(), name, {.create = true, .max_messages = 3});
  EXPECT_EQ(there.Attributes().max_messages(), 7);
  EXPECT_THAT(there.Send("x"), Works());
  EXPECT_THAT(here.Receive(), Brings("x", 0));
}

TEST_P(MessageQueueTest, AQueueWithoutRoomIsNotCreated) {
  const std::string name = NewQueueName();
  EXPECT_THAT(TryOpenOf(self(), name, {.create = true, .max_messages = 0}), FailsWith(EINVAL));
  EXPECT_THAT(TryOpenOf(self(), name, {.create = true, .max_message_bytes = 0}), FailsWith(EINVAL));
  EXPECT_THAT(TryOpenOf(self(), name), FailsWith(ENOENT));
}

TEST_P(MessageQueueTest, OneThatIsNonblockingNeverWaits) {
  const std::string name = NewQueueName();
  OpenQueue queue = OpenOf(self(), name, {.create = true, .nonblocking = true, .max_messages = 2});
  // Who waited would wait for a minute, and for ever.
  for (const absl::Time deadline : {Patience(), absl::InfiniteFuture()}) {
    EXPECT_THAT(queue.Receive(deadline), FailsWith(EAGAIN));
    EXPECT_THAT(queue.Send("a", 1, deadline), Works());
    EXPECT_THAT(queue.Send("b", 1, deadline), Works());
    EXPECT_THAT(queue.Send("c", 1, deadline), FailsWith(EAGAIN));
    EXPECT_THAT(queue.Receive(deadline), Brings("a", 1));
    EXPECT_THAT(queue.Receive(deadline), Brings("b", 1));
  }
  OpenQueue there = OpenOf(peer(), name, {.nonblocking = true});
  EXPECT_THAT(there.Receive(absl::InfiniteFuture()), FailsWith(EAGAIN));
}

TEST_P(MessageQueueTest, TimedCallsEndAtTheirDeadline) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, {.create = true, .max_messages = 2});
  OpenQueue there = OpenOf(peer(), name);
  for (OpenQueue* queue : {&here, &there}) {
    const absl::Time deadline = Soon();
    EXPECT_THAT(queue->Receive(deadline), FailsWith(ETIMEDOUT));
    EXPECT_GE(absl::Now(), deadline);
    EXPECT_THAT(queue->Receive(absl::UnixEpoch()), FailsWith(ETIMEDOUT));
  }
  // What need not wait is done whatever the deadline.
  EXPECT_THAT(here.Send("a", 0, absl::UnixEpoch()), Works());
  EXPECT_THAT(here.Send("b", 0, absl::UnixEpoch()), Works());
  const absl::Time deadline = Soon();
  EXPECT_THAT(here.Send("c", 0, deadline), FailsWith(ETIMEDOUT));
  EXPECT_GE(absl::Now(), deadline);
  EXPECT_THAT(here.Send("c", 0, absl::UnixEpoch()), FailsWith(ETIMEDOUT));
  EXPECT_THAT(here.Receive(absl::UnixEpoch()), Brings("a", 0));
  EXPECT_THAT(there.Receive(), Brings("b", 0));
}

TEST_P(MessageQueueTest, MessagesOfAnySizeUpToTheLargestGoThrough) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, {.create = true, .max_message_bytes = 8000});
  OpenQueue there = OpenOf(peer(), name, {.max_message_bytes = 8000});
  for (const size_t bytes : {0u, 1u, 96u, 97u, 4096u, 8000u}) {
    const std::string body(bytes, 'x');
    EXPECT_THAT(there.Send(body, 2), Works());
    EXPECT_THAT(here.Receive(), Brings(body, 2));
    EXPECT_THAT(here.Send(body, 2), Works());
    EXPECT_THAT(there.Receive(), Brings(body, 2));
  }
}

TEST_P(MessageQueueTest, WhatIsTooLargeIsRefusedAndSoIsABufferThatIsTooSmall) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, {.create = true, .max_message_bytes = 100});
  OpenQueue there = OpenOf(peer(), name, {.max_message_bytes = 100});
  for (OpenQueue* queue : {&here, &there}) {
    EXPECT_THAT(queue->Send(std::string(101, 'x')), FailsWith(EMSGSIZE));
    EXPECT_THAT(queue->Send("small"), Works());
    // Though the message would fit; and it stays.
    EXPECT_THAT(queue->Receive(Patience(), 99), FailsWith(EMSGSIZE));
    EXPECT_THAT(here.Receive(), Brings("small", 0));
  }
}

TEST_P(MessageQueueTest, AFullQueueTakesTheNextWhenOneIsReceived) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, {.create = true, .max_messages = 3});
  OpenQueue there = OpenOf(peer(), name);
  for (const char* body : {"a", "b", "c"}) EXPECT_THAT(here.Send(body, 4), Works());
  auto waiting =
      std::async(std::launch::async, [&] { return here.Send("d", 4, absl::InfiniteFuture()); });
  EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
  EXPECT_THAT(there.Receive(), Brings("a", 4));
  EXPECT_THAT(waiting.get(), Works());
  for (const char* body : {"b", "c", "d"}) EXPECT_THAT(there.Receive(), Brings(body, 4));
  EXPECT_TRUE(here.Holds(0));
}

TEST_P(MessageQueueTest, AReceiverThatWaitsGetsWhatIsSentLater) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  auto waiting =
      std::async(std::launch::async, [&] { return there.Receive(absl::InfiniteFuture()); });
  EXPECT_TRUE(Eventually([&] { return peer().Asleep() == 1; }));
  EXPECT_THAT(here.Send("later", 9), Works());
  EXPECT_THAT(waiting.get(), Brings("later", 9));
}

TEST_P(MessageQueueTest, EachMessageGoesToOneOfTheReceivers) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  std::vector<std::string> bodies;
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(here.Send(absl::StrCat(i)), Works());
    bodies.push_back((i % 2 == 0 ? here : there).Receive().body());
  }
  EXPECT_THAT(bodies, testing::ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"));
  EXPECT_THAT(here.Receive(Soon()), FailsWith(ETIMEDOUT));
  EXPECT_THAT(there.Receive(Soon()), FailsWith(ETIMEDOUT));
}

TEST_P(MessageQueueTest, AttributesTellTheLimitsAndHowManyWait) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, {.create = true, .max_messages = 5});
  OpenQueue there = OpenOf(peer(), name, {.nonblocking = true});
  EXPECT_THAT(there.Attributes(), Works());
  for (OpenQueue* queue : {&here, &there}) {
    EXPECT_EQ(queue->Attributes().max_messages(), 5);
    EXPECT_EQ(queue->Attributes().max_message_bytes(), 1000);
    EXPECT_EQ(queue->Attributes().nonblocking(), queue == &there);
    EXPECT_TRUE(queue->Holds(0));
  }
  for (int i = 0; i < 3; ++i) EXPECT_THAT(here.Send("x", i), Works());
  EXPECT_TRUE(here.Holds(3));
  EXPECT_TRUE(there.Holds(3));
  EXPECT_THAT(here.Receive(), Brings("x", 2));
  EXPECT_TRUE(there.Holds(2));
}

TEST_P(MessageQueueTest, NonblockingIsSetOfOneThatIsOpenAndOfNoOther) {
  const std::string name = NewQueueName();
  OpenQueue one = OpenOf(self(), name, Create());
  OpenQueue other = OpenOf(self(), name);
  EXPECT_THAT(one.SetNonblocking(true), Works());
  EXPECT_TRUE(one.Attributes().nonblocking());
  EXPECT_FALSE(other.Attributes().nonblocking());
  EXPECT_THAT(one.Receive(), FailsWith(EAGAIN));
  EXPECT_THAT(other.Receive(Soon()), FailsWith(ETIMEDOUT));
  EXPECT_THAT(one.SetNonblocking(false), Works());
  EXPECT_THAT(one.Receive(Soon()), FailsWith(ETIMEDOUT));
}

TEST_P(MessageQueueTest, OneThatIsOpenForOneThingRefusesTheOther) {
  const std::string name = NewQueueName();
  OpenQueue sends = OpenOf(self(), name, {.create = true, .access = party::QueueCall::SEND_ONLY});
  OpenQueue receives = OpenOf(peer(), name, {.access = party::QueueCall::RECEIVE_ONLY});
  EXPECT_THAT(sends.Receive(Soon()), FailsWith(EBADF));
  EXPECT_THAT(receives.Send("x"), FailsWith(EBADF));
  EXPECT_THAT(sends.Send("x"), Works());
  EXPECT_THAT(receives.Receive(), Brings("x", 0));
}

TEST_P(MessageQueueTest, WhatIsUnlinkedIsGoneByNameAndStillReceivedByWhoHasItOpen) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  for (const char* body : {"a", "b"}) EXPECT_THAT(here.Send(body), Works());
  EXPECT_THAT(Unlink(peer(), posix(), name), Works());
  EXPECT_THAT(Unlink(peer(), posix(), name), FailsWith(ENOENT));
  EXPECT_THAT(TryOpenOf(self(), name), FailsWith(ENOENT));
  // One of that name is another one.
  OpenQueue other = OpenOf(self(), name, {.create = true, .exclusive = true});
  EXPECT_THAT(other.Receive(Soon()), FailsWith(ETIMEDOUT));
  EXPECT_THAT(other.Send("c"), Works());
  EXPECT_THAT(here.Receive(), Brings("a", 0));
  EXPECT_THAT(here.Receive(), Brings("b", 0));
  EXPECT_THAT(other.Receive(), Brings("c", 0));
}

TEST_P(MessageQueueTest, WhatAProcessHasSentIsReceivedAfterItsEnd) {
  const std::string name = NewQueueName();
  const std::unique_ptr<Party> sender = NewPeer();
  OpenQueue there = OpenOf(*sender, name, Create());
  for (int i = 0; i < 5; ++i) EXPECT_THAT(there.Send(absl::StrCat(i), i), Works());
  sender->End();
  // Who receives comes only now.
  OpenQueue here = OpenOf(self(), name);
  for (int i = 4; i >= 0; --i) EXPECT_THAT(here.Receive(), Brings(absl::StrCat(i), i));
}

TEST_P(MessageQueueTest, WhoIsRegisteredIsToldOnceOfAMessageInAnEmptyQueue) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  for (uint64_t round = 1; round <= 3; ++round) {
    EXPECT_THAT(here.Notify(), Works());
    EXPECT_THAT(there.Send("a"), Works());
    EXPECT_TRUE(Eventually([&] { return here.Notified() == round; }));
    EXPECT_THAT(there.Send("b"), Works());
    EXPECT_THAT(here.Receive(), Brings("a", 0));
    EXPECT_THAT(here.Receive(), Brings("b", 0));
    EXPECT_EQ(here.Notified(), round);
  }
  EXPECT_EQ(there.Notified(), 0u);
}

TEST_P(MessageQueueTest, OneProcessIsRegisteredAtATime) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  EXPECT_THAT(here.Notify(), Works());
  EXPECT_THAT(here.Notify(), FailsWith(EBUSY));
  EXPECT_THAT(there.Notify(), FailsWith(EBUSY));
  EXPECT_THAT(there.Send("a"), Works());
  EXPECT_TRUE(Eventually([&] { return here.Notified() == 1; }));
  EXPECT_THAT(here.Receive(), Brings("a", 0));
  // It was told, and so it is another's turn.
  EXPECT_THAT(there.Notify(), Works());
  EXPECT_THAT(here.Send("b"), Works());
  EXPECT_TRUE(Eventually([&] { return there.Notified() == 1; }));
  EXPECT_EQ(here.Notified(), 1u);
}

TEST_P(MessageQueueTest, ARegistrationEndsWhenItIsTakenBackOrTheQueueIsClosed) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  OpenQueue there = OpenOf(peer(), name);
  OpenQueue closed = OpenOf(peer(), name);
  EXPECT_THAT(there.Notify(), Works());
  EXPECT_THAT(there.CancelNotify(), Works());
  EXPECT_THAT(closed.Notify(), Works());
  EXPECT_THAT(here.Notify(), FailsWith(EBUSY));
  EXPECT_THAT(closed.Close(), Works());
  EXPECT_THAT(here.Notify(), Works());
  EXPECT_THAT(here.Send("a"), Works());
  EXPECT_TRUE(Eventually([&] { return here.Notified() == 1; }));
  EXPECT_EQ(there.Notified(), 0u);
}

TEST_P(MessageQueueTest, ARegistrationEndsWithItsProcess) {
  const std::string name = NewQueueName();
  OpenQueue here = OpenOf(self(), name, Create());
  const std::unique_ptr<Party> other = NewPeer();
  OpenQueue there = OpenOf(*other, name);
  EXPECT_THAT(there.Notify(), Works());
  EXPECT_THAT(here.Notify(), FailsWith(EBUSY));
  other->End();
  EXPECT_TRUE(Eventually([&] { return here.Notify().error() == 0; }));
  EXPECT_THAT(here.Send("a"), Works());
  EXPECT_TRUE(Eventually([&] { return here.Notified() == 1; }));
}

}  // namespace
}  // namespace mailrail
