// Receivers on other nodes of which nothing is heard, messages that none could take, and what the
// home keeps meanwhile.
#include <string.h>

#include <memory>
#include <string>
#include <thread>

#include "core/message/prefix.h"
#include "gtest/gtest.h"
#include "node/carrier/proxy_note.h"
#include "node/carrier/remote_receiver_testing.h"

namespace mailrail {
namespace {

constexpr absl::Time kForEver = absl::InfiniteFuture();

class RemoteReceiverLossTest : public RemoteReceiverTest {
 protected:
  // Makes alpha's carrier anew, one that soon gives up on deliveries.
  void GiveUpSoon() {
    alpha.on_restart = [&] { OpenAtHome(1); };
    // As the agent does, which gives it its place again.
    alpha.events().on_receiver_reached = [&](uint64_t) { OpenAtHome(1); };
    alpha.Stop();
    cutoff = absl::Milliseconds(20);
    alpha.Start();
  }

  // What follows a message that was dropped comes, on the same sessions.
  void ExpectDroppedThenGood() {
    Send(0, "good");
    EXPECT_EQ(ReceiveRemotely().body(), "good");
    alpha.events().Await(kDropped);
    EXPECT_EQ(alpha.events().Count(kDropped), 1);
    EXPECT_EQ(alpha.events().Count("down beta"), 0);
    EXPECT_EQ(beta.events().Count("down alpha"), 0);
  }
};

TEST_F(RemoteReceiverLossTest, WhatAStoppedReceiverDoesNotTakeGoesBackMarked) {
  GiveUpSoon();
  Want(true);
  Send(0, "first");
  AwaitDelivered();
  const Message message = local.Receive();
  EXPECT_EQ(message.body(), "first");
  EXPECT_EQ(message.attempts(), 1);
  // It goes on: it still has what was delivered, and then receives what comes after.
  EXPECT_EQ(receiver.Receive().body(), "first");
  Send(0, "second");
  EXPECT_EQ(receiver.Receive().body(), "second");
}

TEST_F(RemoteReceiverLossTest, WhatANodeThatIsAwayWasGivenGoesBackMarked) {
  GiveUpSoon();
  beta.on_restart = [&] { AddProxy(true); };
  Want(true);
  Send(0, "first");
  AwaitDelivered();
  beta.Stop();
  const Message message = local.Receive();
  EXPECT_EQ(message.body(), "first");
  EXPECT_EQ(message.attempts(), 1);
  inner.destination.bell()->wanted = 0;
  beta.Start();
  Send(0, "second");
  // If it wants something before the carrier is there, what was delivered is still for it.
  for (std::string body; body != "second";) body = std::string(ReceiveRemotely().body());
}

// It acknowledges by hand, and has an hour for that.
TEST_F(RemoteReceiverLossTest, AReceiverOfANodeThatIsAwayForTooLongIsCutOffUntilItIsReachedAgain) {
  leases = true;
  GiveUpSoon();
  Want(true);
  Send(0, "first");
  AwaitDelivered();
  // Not 0 when it took the nodes longer than the cutoff to connect.
  const int before = alpha.events().Count("cut off beta 5");
  EXPECT_EQ(alpha.events().Count("reached beta 5"), before);
  beta.on_restart = [&] { AddProxy(true); };
  beta.Stop();
  alpha.events().Await("cut off beta 5", before + 1);
  const Message message = local.Receive();
  EXPECT_EQ(message.body(), "first");
  EXPECT_EQ(message.attempts(), 1);
  EXPECT_EQ(alpha.events().Count("reached beta 5"), before);
  inner.destination.bell()->wanted = 0;
  beta.Start();
  alpha.events().Await("reached beta 5", before + 1);
  Send(0, "second");
  for (std::string body; body != "second";) body = std::string(ReceiveRemotely().body());
  EXPECT_EQ(alpha.events().Count("cut off beta 5"), before + 1);
}

TEST_F(RemoteReceiverLossTest, WhatAnAgentBringsThatKnowsNothingOfTheOneBeforeItIsMarked) {
  beta.on_restart = [&] { AddProxy(true); };
  Want(true);
  Send(0, "first");
  AwaitDelivered();
  beta.Stop();
  const Message before = receiver.Receive();
  EXPECT_EQ(before.body(), "first");
  EXPECT_FALSE(before.redelivered());
  // What the carrier that published it had noted is lost.
  const Mapping control = inner.destination.control_memory.Map();
  memset(control.data() + ProxyNote::kOffset, 0, ProxyNote::kCount * sizeof(ProxyNote));
  beta.Start();
  const Message after = receiver.Receive();
  EXPECT_EQ(after.body(), "first");
  EXPECT_TRUE(after.redelivered());
}

TEST_F(RemoteReceiverLossTest, AMessageThatIsTooLargeIsDroppedAtHome) {
  sender = mailbox.NewSender(1, false, kLargest + 1);
  Send(0, std::string(kLargest + 1, 'x'));
  ExpectDroppedThenGood();
}

TEST_F(RemoteReceiverLossTest, AMessageThatTheReceiversNodeRefusesIsDropped) {
  alpha.carrier().RemoveReceiver("beta", kKey, /*tell=*/false);
  home_takes = kLargest + 1;
  OpenAtHome(1);
  sender = mailbox.NewSender(1, false, kLargest + 1);
  Send(0, std::string(kLargest + 1, 'x'));
  ExpectDroppedThenGood();
}

TEST_F(RemoteReceiverLossTest, ALaneThatForgesASenderIsReceivedFromNoMore) {
  alpha.carrier().RemoveReceiver("beta", kKey, /*tell=*/false);
  OpenAtHome(1, /*lane_of_agent=*/false);
  Prefix prefix;
  prefix.sender = ProcessId("alpha", 77, 8);
  const std::string encoded = EncodePrefix(prefix);
  Want(true);
  ASSERT_TRUE(sender->Send(0, {encoded, "forged"}, kForEver).ok());
  alpha.events().Await(kDropped);
  Send(0, "after it");
  EXPECT_EQ(local.Receive().body(), "after it");
  EXPECT_EQ(alpha.events().Count("down beta"), 0);
  EXPECT_EQ(beta.events().Count("down alpha"), 0);
}

TEST_F(RemoteReceiverLossTest, ASenderThatIsNoProcessIsDropped) {
  Prefix prefix;
  prefix.sender = ProcessId("alpha", 77, 0);
  const std::string encoded = EncodePrefix(prefix);
  ASSERT_TRUE(sender->Send(0, {encoded, "of nobody"}, kForEver).ok());
  ExpectDroppedThenGood();
}

TEST_F(RemoteReceiverLossTest, TheHomeHearsOfAReceiverThatWasNeverThere) {
  beta.carrier().RemoveProxy("alpha", 99);
  alpha.events().Await("gone beta 99");
}

TEST_F(RemoteReceiverLossTest, TheHomeAsksAgainWhetherTheReceiverIsThere) {
  beta.events().Await("check alpha 5");
  beta.on_restart = [&] { AddProxy(true); };
  beta.Stop();
  beta.Start();
  beta.events().Await("check alpha 5", 2);
}

TEST_F(RemoteReceiverLossTest, LanesThatHaveEndedAreLetGoOfThoughNothingIsWanted) {
  std::shared_ptr<IncomingCells> lane = mailbox.NewIncoming();
  const std::weak_ptr<IncomingCells> kept = lane;
  const uint64_t id = lane->id();
  home_queue->Join(std::move(lane), 2);
  home_queue->End(id, 3);
  while (!kept.expired()) std::this_thread::yield();
}

}  // namespace
}  // namespace mailrail
