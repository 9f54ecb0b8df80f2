// The sending end of a broadcast mailbox.
#include "core/mailbox/lane_group.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/mailbox/test_channel.h"

namespace mailrail {
namespace {

constexpr uint32_t kCapacity = 2;

// One receiver's mailbox, and the sender's lane to it.
struct Subscription {
  Subscription(const MailboxOptions& options, uint32_t number) : channel(options), queue(number) {
    lane = channel.AddCells({&queue});
  }
  std::string Next() { return Receive(queue, channel); }

  TestChannel channel;
  MailboxQueue queue;
  std::shared_ptr<OutgoingLane> lane;
};

class LaneGroupTest : public testing::Test {
 protected:
  void Start(FullPolicy when_full) {
    options_ = {.max_message_bytes = 1 << 20,
                .capacity_messages = kCapacity,
                .when_full = when_full,
                .policy = ReceivePolicy::kBroadcast};
    whole_ = std::make_unique<OutgoingLane>(
        "mailbox news", options_, mailbox_.Destination(),
        [this](absl::Time) -> absl::StatusOr<std::vector<std::shared_ptr<OutgoingLane>>> {
          ++asked_;
          if (!answer_.ok()) return answer_;
          std::vector<std::shared_ptr<OutgoingLane>> lanes;
          for (const auto& subscription : subscriptions_) lanes.push_back(subscription->lane);
          return lanes;
        });
    whole_->AddHandle();
  }
  Subscription& Subscribe() {
    subscriptions_.push_back(
        std::make_unique<Subscription>(options_, static_cast<uint32_t>(1 + subscriptions_.size())));
    mailbox_.control().subscriptions.fetch_add(1);
    return *subscriptions_.back();
  }
  absl::Status Send(absl::string_view body, int priority = 0) {
    return TrySend(*whole_, priority, body);
  }

  MailboxOptions options_;
  TestChannel mailbox_;
  std::vector<std::unique_ptr<Subscription>> subscriptions_;
  absl::Status answer_;
  int asked_ = 0;
  std::unique_ptr<OutgoingLane> whole_;
};

TEST_F(LaneGroupTest, TheAgentIsAskedWhenSomebodyHasSubscribedAndOnlyThen) {
  Start(FullPolicy::kBlock);
  EXPECT_TRUE(Send("nobody").ok());
  Subscription& first = Subscribe();
  EXPECT_TRUE(Send("one").ok());
  EXPECT_EQ(first.Next(), "one");
  EXPECT_TRUE(Send("two").ok());
  EXPECT_EQ(asked_, 2);
  Subscription& second = Subscribe();
  EXPECT_TRUE(Send("three").ok());
  EXPECT_EQ(asked_, 3);
  EXPECT_EQ(first.Next(), "two");
  EXPECT_EQ(first.Next(), "three");
  EXPECT_EQ(second.Next(), "three");
  EXPECT_EQ(second.Next(), "(nothing)");
}

TEST_F(LaneGroupTest, WithoutAnAnswerNothingIsSentAndItIsAskedAgain) {
  Start(FullPolicy::kBlock);
  Subscription& first = Subscribe();
  answer_ = absl::UnavailableError("no agent");
  EXPECT_EQ(Send("one"), answer_);
  answer_ = absl::OkStatus();
  EXPECT_TRUE(Send("two").ok());
  EXPECT_EQ(first.Next(), "two");
}

TEST_F(LaneGroupTest, WhereOneHasNoRoomNobodyGetsIt) {
  for (const bool large : {false, true}) {
    subscriptions_.clear();
    Start(FullPolicy::kReject);
    Subscription& fast = Subscribe();
    Subscription& slow = Subscribe();
    const std::string body(large ? 500000 : 10, 'x');
    for (uint32_t i = 0; i < kCapacity; ++i) {
      EXPECT_TRUE(Send(body).ok());
      EXPECT_EQ(fast.Next(), body);
    }
    // Again and again: no room is lost by it.
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(absl::IsResourceExhausted(Send(body)));
    EXPECT_EQ(fast.Next(), "(nothing)");
    // Another priority has slots of its own, but bodies share the room of the lane.
    EXPECT_TRUE(Send("urgent", 30).ok());
    EXPECT_EQ(fast.Next(), "urgent");
    EXPECT_EQ(slow.Next(), "urgent");
    EXPECT_EQ(slow.Next(), body);
    EXPECT_TRUE(Send(body).ok());
    EXPECT_EQ(fast.Next(), body);
  }
}

TEST_F(LaneGroupTest, WhereTheOldestAreDroppedEachDropsItsOwn) {
  Start(FullPolicy::kDropOldest);
  Subscription& fast = Subscribe();
  Subscription& slow = Subscribe();
  for (int i = 1; i <= 5; ++i) {
    EXPECT_TRUE(Send(std::to_string(i)).ok());
    EXPECT_EQ(fast.Next(), std::to_string(i));
  }
  EXPECT_EQ(slow.Next(), "4");
  EXPECT_EQ(slow.Next(), "5");
}

TEST_F(LaneGroupTest, OneThatIsClosedIsLeftOut) {
  Start(FullPolicy::kReject);
  Subscription& stays = Subscribe();
  Subscription& goes = Subscribe();
  for (uint32_t i = 0; i < kCapacity; ++i) {
    EXPECT_TRUE(Send("both").ok());
    EXPECT_EQ(stays.Next(), "both");
  }
  EXPECT_FALSE(Send("full").ok());
  goes.channel.Close(CloseReason::kDestroyed);
  EXPECT_TRUE(Send("one").ok());
  EXPECT_EQ(stays.Next(), "one");
  EXPECT_EQ(asked_, 1);
}

TEST_F(LaneGroupTest, WhenTheMailboxIsClosedNobodyGetsIt) {
  Start(FullPolicy::kBlock);
  Subscription& first = Subscribe();
  EXPECT_TRUE(Send("one").ok());
  mailbox_.Close(CloseReason::kDestroyed);
  EXPECT_TRUE(absl::IsUnavailable(Send("two")));
  EXPECT_EQ(first.Next(), "one");
  EXPECT_EQ(first.Next(), "(nothing)");
}

TEST_F(LaneGroupTest, WhatMayExpireIsSaidOfLanesThatJoinLaterToo) {
  Start(FullPolicy::kBlock);
  Subscribe();
  EXPECT_TRUE(Send("one").ok());
  EXPECT_TRUE(whole_->SetExpires());
  EXPECT_FALSE(whole_->SetExpires());
  Subscription& second = Subscribe();
  EXPECT_TRUE(Send("two").ok());
  EXPECT_TRUE(second.lane->expires());
}

}  // namespace
}  // namespace mailrail
