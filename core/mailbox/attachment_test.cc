// What lanes and queues do when the process that uses them is detached from its node.
#include "core/mailbox/attachment.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "core/mailbox/test_channel.h"

namespace mailrail {
namespace {

// A process that is attached, until a test says otherwise.
class TestAttachment : public Attachment {
 public:
  TestAttachment() { set_page(&page); }
  void AskToLookAt(const OutgoingLane&) const override {}
  absl::Status Check() const override {
    if (on_check) on_check();
    return attached ? absl::OkStatus() : absl::AbortedError("detached");
  }

  ControlPage page{};
  bool attached = true;
  std::function<void()> on_check;
};

TEST(AttachmentTest, WhatADetachedProcessSendsIsTakenBack) {
  TestChannel channel;
  MailboxQueue receiver(1);
  TestAttachment attachment;
  const auto lane = channel.AddCells({&receiver});
  lane->set_attachment(&attachment);
  ASSERT_TRUE(TrySend(*lane, 0, "attached").ok());
  attachment.attached = false;
  attachment.page.closed = static_cast<uint32_t>(CloseReason::kProcessGone);
  EXPECT_EQ(TrySend(*lane, 0, "gone").code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Receive(receiver, channel), "attached");
  EXPECT_EQ(Receive(receiver, channel), "(nothing)");
}

TEST(AttachmentTest, ASenderWhoseAgentWasKilledFindsOutWithoutAWord) {
  for (const bool to_inbox : {false, true}) {
    TestChannel channel;
    MailboxQueue receiver(1);
    InboxQueue inbox;
    TestAttachment attachment;
    const auto lane =
        to_inbox ? channel.AddRing(&inbox, ProcessId("test", 1, 1)) : channel.AddCells({&receiver});
    lane->set_attachment(&attachment);
    ASSERT_TRUE(TrySend(*lane, 0, "x").ok());
    attachment.attached = false;
    absl::Status status;
    while (status.ok()) {
      status = TrySend(*lane, 0, "x");
      to_inbox ? Receive(inbox, channel) : Receive(receiver, channel);
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
    EXPECT_EQ(TrySend(*lane, 0, "x").code(), absl::StatusCode::kAborted);
  }
}

TEST(AttachmentTest, ASenderThatWaitsForRoomFindsOutThatItIsDetached) {
  MailboxOptions options;
  options.capacity_messages = 1;
  TestChannel channel(options);
  TestAttachment attachment;
  const auto lane = channel.AddCells({});
  lane->set_attachment(&attachment);
  ASSERT_TRUE(TrySend(*lane, 0, "x").ok());
  attachment.attached = false;
  EXPECT_EQ(lane->Send(0, {{}, "y"}, absl::InfiniteFuture()).code(), absl::StatusCode::kAborted);
}

TEST(AttachmentTest, ABatchThatComesTooLateSaysHowManyWereReceived) {
  TestChannel channel;
  MailboxQueue receiver(1);
  TestAttachment attachment;
  const auto lane = channel.AddCells({&receiver});
  lane->set_attachment(&attachment);
  ASSERT_TRUE(TrySend(*lane, 0, "first").ok());
  EXPECT_EQ(Receive(receiver, channel), "first");
  attachment.page.closed = static_cast<uint32_t>(CloseReason::kAgentGone);
  // All four are published; one is received before their sender finds out.
  attachment.on_check = [&] {
    EXPECT_EQ(Receive(receiver, channel), "a");
    attachment.attached = false;
    attachment.on_check = nullptr;
  };
  const absl::StatusOr<size_t> sent =
      lane->SendBatch(0, {"a", "b", "c", "d"}, absl::InfinitePast());
  ASSERT_TRUE(sent.ok()) << sent.status();
  EXPECT_EQ(*sent, 1u);
  EXPECT_EQ(Receive(receiver, channel), "(nothing)");
  EXPECT_EQ(lane->SendBatch(0, {"e", "f"}, absl::InfinitePast()).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(Receive(receiver, channel), "(nothing)");
}

TEST(AttachmentTest, AReceiverThatIsGoneClaimsNothing) {
  TestChannel channel;
  TestAttachment attachment;
  MailboxQueue gone(1, &attachment), other(2);
  const auto lane = channel.AddCells({&gone, &other});
  ASSERT_TRUE(TrySend(*lane, 0, "x").ok());
  attachment.page.closed = static_cast<uint32_t>(CloseReason::kProcessGone);
  EXPECT_EQ(Receive(gone, channel), "(void)");
  Message message;
  ASSERT_EQ(other.Take(channel.control(), nullptr, &message), Taken::kMessage);
  EXPECT_EQ(message.body(), "x");
  EXPECT_FALSE(message.redelivered());
}

}  // namespace
}  // namespace mailrail
