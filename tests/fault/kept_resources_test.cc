// What programs make their agent hold (connections, descriptors, room for messages), it holds no
// longer than they need it, and what it has none of it does without.
#include <sys/resource.h>

#include "tests/fault/one_agent.h"

namespace mailrail {
namespace {

using KeptResourcesTest = OneAgentTest;

TEST_F(KeptResourcesTest, ClientsThatDisappearHalfWayLeaveNothingBehind) {
  ExpectUnharmed();
  const pid_t agent = cluster_->Proper("alpha");
  const size_t before = OpenDescriptors(agent);
  const control::Request attach = AttachRequest();
  control::Request connect;
  connect.set_id(2);
  connect.set_connect_process(witness_->id().ToString());
  for (int i = 0; i < 500; ++i) {
    const Fd socket = Connect();
    ASSERT_TRUE(SendPacket(socket.get(), attach.SerializeAsString()).ok());
    ASSERT_TRUE(SendPacket(socket.get(), connect.SerializeAsString()).ok());
    // Some read what they were granted, and go without a word.
    if (i % 2 == 0) {
      ASSERT_TRUE(ReceivePacket(socket.get(), true).ok());
    }
  }
  // The witness reads its notices, so that none waits in the agent with its descriptors.
  EXPECT_TRUE(Eventually([&] {
    (void)witness_->inbox().TryReceive();
    return OpenDescriptors(agent) <= before;
  })) << OpenDescriptors(agent)
      << " descriptors, before " << before;
  ExpectUnharmed();
}

TEST_F(KeptResourcesTest, AReceiverThatReadsNothingHoldsNoDescriptorsOfTheAgents) {
  ASSERT_TRUE(witness_->CreateMailbox("q").ok());
  auto stopped = Attach();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  auto receiver = stopped->OpenMailbox("q");  // which is never asked for a message
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  const pid_t agent = cluster_->Proper("alpha");
  const size_t before = OpenDescriptors(agent);
  for (int i = 0; i < 200; ++i) {
    auto sender = Attach();
    ASSERT_TRUE(sender.ok()) << sender.status();
    ASSERT_TRUE(sender->ConnectMailbox("q").ok());
  }
  // Two of one notice, the next to go out, may be open.
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors(agent) <= before + 2; }))
      << OpenDescriptors(agent) << " descriptors, before " << before;
  ExpectUnharmed();
}

TEST_F(KeptResourcesTest, WithoutDescriptorsGrantsFailOrWaitAndNobodyIsCutOff) {
  ASSERT_TRUE(witness_->CreateMailbox("q").ok());
  auto receiver = witness_->OpenMailbox("q");
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  const pid_t agent = cluster_->Proper("alpha");
  rlimit before;
  ASSERT_EQ(prlimit(agent, RLIMIT_NOFILE, nullptr, &before), 0);
  int sent = 0;
  // From none left to as many as it needs: it fails at each place once.
  for (rlim_t left = 0; left < 12; ++left) {
    auto sender = Attach();
    ASSERT_TRUE(sender.ok()) << sender.status();
    const rlimit few = {OpenDescriptors(agent) + left, before.rlim_max};
    ASSERT_EQ(prlimit(agent, RLIMIT_NOFILE, &few, nullptr), 0);
    const auto refused = sender->ConnectMailbox("q");
    // The notice of a new link waits for descriptors, and the answer comes after it.
    const auto no_link = sender->Connect(witness_->id(), absl::Now() + absl::Milliseconds(100));
    ASSERT_EQ(prlimit(agent, RLIMIT_NOFILE, &before, nullptr), 0);
    EXPECT_TRUE(refused.ok() || absl::IsResourceExhausted(refused.status())) << refused.status();
    EXPECT_TRUE(no_link.ok() || absl::IsResourceExhausted(no_link.status()) ||
                absl::IsDeadlineExceeded(no_link.status()))
        << no_link.status();
    auto granted = sender->ConnectMailbox("q");
    ASSERT_TRUE(granted.ok()) << granted.status() << " with " << left << " left";
    ASSERT_TRUE(granted->Send("body").ok());
    ++sent;
    auto link = sender->Connect(witness_->id());
    ASSERT_TRUE(link.ok()) << link.status() << " with " << left << " left";
    const absl::StatusOr<Message> message = receiver->Receive(Patience());
    ASSERT_TRUE(message.ok()) << message.status() << " with " << left << " left";
  }
  EXPECT_EQ(sent, 12);
  ExpectUnharmed();
}

TEST_F(KeptResourcesTest, ConnectionsThatNeverAttachMakeRoomForNewOnes) {
  std::vector<Fd> idle;
  for (int i = 0; i < 1500; ++i) idle.push_back(Connect());
  const pid_t agent = cluster_->Proper("alpha");
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors(agent) < 1200; })) << OpenDescriptors(agent);
  EXPECT_TRUE(Attach().ok());
  ExpectUnharmed();
}

TEST_F(KeptResourcesTest, AViewThatOutlivesItsReceiverIsRoomAgainWhenItsProcessIsGone) {
  MailboxOptions options;
  options.capacity_messages = 1;
  ASSERT_TRUE(witness_->CreateMailbox("q", options).ok());
  auto sender = witness_->ConnectMailbox("q");
  ASSERT_TRUE(sender.ok()) << sender.status();
  const std::string large(100000, 'x');
  ASSERT_TRUE(sender->Send(large).ok());
  absl::StatusOr<Message> view;
  {
    auto reader = Attach();
    ASSERT_TRUE(reader.ok()) << reader.status();
    {
      auto receiver = reader->OpenMailbox("q");
      ASSERT_TRUE(receiver.ok()) << receiver.status();
      view = receiver->Receive(Patience());
      ASSERT_TRUE(view.ok()) << view.status();
    }
    // The receiver is closed for good once a later request is answered.
    ASSERT_TRUE(reader->Resolve(reader->id().ToString()).ok());
    EXPECT_EQ(sender->Send(large, {}, absl::InfinitePast()).code(),
              absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(Eventually([&] { return sender->Send(large, {}, absl::InfinitePast()).ok(); }));
}

}  // namespace
}  // namespace mailrail
