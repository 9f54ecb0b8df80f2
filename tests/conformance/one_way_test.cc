// One-way links (ConnectOptions::one_way): who has asked for one sends on it, and nobody else.
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/conformance/own_cluster.h"

namespace mailrail {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;

constexpr StatusCode kRefused = StatusCode::kPermissionDenied;

using OneWayTest = ConformanceTest;
using OneWayAfterRestartTest = OwnClusterTest;

MAILRAIL_OVER_TRANSPORTS(OneWayTest);
MAILRAIL_OVER_TRANSPORTS(OneWayAfterRestartTest);

TEST_P(OneWayTest, OnlyWhoHasAskedForItSends) {
  const std::string name = NewName();
  ASSERT_THAT(self().RegisterName(name), IsOk());
  ASSERT_OK_AND_ASSIGN(there, self().ConnectOneWay(peer().id()));
  const std::vector<Outgoing> messages = Numbered(100);
  ASSERT_THAT(self().Send(there, messages), IsOk());
  ExpectDelivered(peer().Receive(Party::kInbox, 100).messages, messages);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(peer().Connect(self().id()), HasCode(kRefused));
    EXPECT_THAT(peer().Connect(name), HasCode(kRefused));
    EXPECT_THAT(peer().ConnectOneWay(self().id()), HasCode(kRefused));
  }
  EXPECT_THAT(peer().Connect(self().id()).status().message(), HasSubstr("one-way"));
  EXPECT_THAT(self().Receive(Party::kInbox, 1, absl::Now() + absl::Milliseconds(50)),
              HasCode(StatusCode::kDeadlineExceeded));
  // All others may send to it.
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(from_other, other->Connect(name));
  ASSERT_THAT(other->Send(from_other, Numbered(1)), IsOk());
  EXPECT_THAT(self().Receive(Party::kInbox, 1), IsOk());
}

TEST_P(OneWayTest, ItIsMadeByNameToo) {
  const std::string name = NewName();
  ASSERT_THAT(peer().RegisterName(name), IsOk());
  ASSERT_OK_AND_ASSIGN(there, self().ConnectOneWay(name));
  ASSERT_THAT(self().Send(there, Numbered(1)), IsOk());
  EXPECT_THAT(peer().Receive(Party::kInbox, 1), IsOk());
  EXPECT_THAT(peer().Connect(self().id()), HasCode(kRefused));
}

TEST_P(OneWayTest, WhoReceivesMayNameItsSender) {
  ASSERT_OK_AND_ASSIGN(there, self().ConnectOneWay(peer().id()));
  auto receiving = std::async(std::launch::async, [&] {
    return peer().Receive(Party::kInbox, 10, Patience(), {.from = self().id()});
  });
  ASSERT_THAT(self().Send(there, Numbered(10)), IsOk());
  ExpectDelivered(receiving.get().messages, Numbered(10));
}

TEST_P(OneWayTest, WhoMadeItMakesItTwoWay) {
  ASSERT_OK_AND_ASSIGN(there, self().ConnectOneWay(peer().id()));
  ASSERT_THAT(self().Send(there, Numbered(10)), IsOk());
  ASSERT_THAT(peer().Connect(self().id()), HasCode(kRefused));
  ASSERT_OK_AND_ASSIGN(again, self().Connect(peer().id()));
  ASSERT_OK_AND_ASSIGN(back, peer().Connect(self().id()));
  ASSERT_THAT(peer().Send(back, Numbered(100)), IsOk());
  ExpectDelivered(self().Receive(Party::kInbox, 100).messages, Numbered(100));
  // It is the same link: what was sent before comes before.
  ASSERT_THAT(self().Send(again, Numbered(10, {}, 11)), IsOk());
  ASSERT_THAT(self().Send(there, Numbered(10, {}, 21)), IsOk());
  ExpectDelivered(peer().Receive(Party::kInbox, 30).messages, Numbered(30));
}

TEST_P(OneWayTest, AReceiverThatSleepsHearsWhatIsSentOnceItIsTwoWay) {
  ASSERT_THAT(self().ConnectOneWay(peer().id()), IsOk());
  auto receiving = std::async(std::launch::async, [&] {
    return self().Receive(Party::kInbox, 1, Patience(), {.from = peer().id()});
  });
  EXPECT_TRUE(Eventually([&] { return self().Asleep() == 1; }));
  ASSERT_THAT(self().Connect(peer().id()), IsOk());
  ASSERT_OK_AND_ASSIGN(back, peer().Connect(self().id()));
  ASSERT_THAT(peer().Send(back, Numbered(1)), IsOk());
  EXPECT_THAT(receiving.get(), IsOk());
}

TEST_P(OneWayTest, ALinkForBothIsNotMadeOneWay) {
  ASSERT_OK_AND_ASSIGN(there, self().Connect(peer().id()));
  EXPECT_THAT(self().ConnectOneWay(peer().id()), HasCode(StatusCode::kFailedPrecondition));
  // Nor by who has not made it.
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(from_other, other->Connect(self().id()));
  EXPECT_THAT(self().ConnectOneWay(other->id()), HasCode(StatusCode::kFailedPrecondition));
  ASSERT_THAT(other->Send(from_other, Numbered(1)), IsOk());
  EXPECT_THAT(self().Receive(Party::kInbox, 1), IsOk());
  ASSERT_THAT(self().Send(there, Numbered(1)), IsOk());
  EXPECT_THAT(peer().Receive(Party::kInbox, 1), IsOk());
}

TEST_P(OneWayTest, WhoHasItMayAskForItAgain) {
  ASSERT_OK_AND_ASSIGN(first, self().ConnectOneWay(peer().id()));
  ASSERT_OK_AND_ASSIGN(second, self().ConnectOneWay(peer().id()));
  ASSERT_THAT(self().Send(first, Numbered(10)), IsOk());
  ASSERT_THAT(self().Send(second, Numbered(10, {}, 11)), IsOk());
  ExpectDelivered(peer().Receive(Party::kInbox, 20).messages, Numbered(20));
  EXPECT_THAT(peer().Connect(self().id()), HasCode(kRefused));
}

TEST_P(OneWayTest, AProcessHasNoOneWayLinkWithItself) {
  EXPECT_THAT(self().ConnectOneWay(self().id()), HasCode(StatusCode::kInvalidArgument));
  EXPECT_THAT(self().Connect(self().id()), IsOk());
}

// New processes each time, so that both ask at the same moment.
TEST_P(OneWayTest, OfTwoThatAskAtOnceOneIsRefused) {
  for (int round = 0; round < 15; ++round) {
    const std::unique_ptr<LocalParty> one = NewSelf();
    const std::unique_ptr<Party> other = NewPeer();
    auto asking = std::async(std::launch::async, [&] { return other->ConnectOneWay(one->id()); });
    const absl::StatusOr<Handle> there = one->ConnectOneWay(other->id());
    const absl::StatusOr<Handle> back = asking.get();
    ASSERT_NE(there.ok(), back.ok()) << there.status() << " and " << back.status();
    Party& winner = there.ok() ? static_cast<Party&>(*one) : *other;
    Party& loser = there.ok() ? *other : static_cast<Party&>(*one);
    EXPECT_THAT(there.ok() ? back : there, HasCode(kRefused));
    ASSERT_THAT(winner.Send(there.ok() ? *there : *back, Numbered(5)), IsOk());
    ExpectDelivered(loser.Receive(Party::kInbox, 5).messages, Numbered(5));
    EXPECT_THAT(loser.Connect(winner.id()), HasCode(kRefused));
  }
}

TEST_P(OneWayTest, AskedAtOnceALinkIsOneWayOrTwoWay) {
  for (int round = 0; round < 15; ++round) {
    const std::unique_ptr<LocalParty> one = NewSelf();
    const std::unique_ptr<Party> other = NewPeer();
    auto asking = std::async(std::launch::async, [&] { return other->Connect(one->id()); });
    const absl::StatusOr<Handle> there = one->ConnectOneWay(other->id());
    const absl::StatusOr<Handle> back = asking.get();
    ASSERT_NE(there.ok(), back.ok()) << there.status() << " and " << back.status();
    if (there.ok()) {
      EXPECT_THAT(back, HasCode(kRefused));
      ASSERT_THAT(one->Send(*there, Numbered(5)), IsOk());
      ExpectDelivered(other->Receive(Party::kInbox, 5).messages, Numbered(5));
      EXPECT_THAT(other->Connect(one->id()), HasCode(kRefused));
      // In whichever order they met.
      ASSERT_THAT(one->Connect(other->id()), IsOk());
      ASSERT_OK_AND_ASSIGN(opened, other->Connect(one->id()));
      ASSERT_THAT(other->Send(opened, Numbered(5)), IsOk());
    } else {
      EXPECT_THAT(there, HasCode(StatusCode::kFailedPrecondition));
      ASSERT_THAT(other->Send(*back, Numbered(5)), IsOk());
    }
    ExpectDelivered(one->Receive(Party::kInbox, 5).messages, Numbered(5));
  }
}

TEST_P(OneWayTest, AWatchOfEitherByTheOtherLeavesItOneWay) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(there, self().ConnectOneWay(other->id()));
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  ASSERT_THAT(other->Watch(self().id()), IsOk());
  EXPECT_THAT(other->Connect(self().id()), HasCode(kRefused));
  ASSERT_THAT(self().Send(there, Numbered(1)), IsOk());
  EXPECT_THAT(other->Receive(Party::kInbox, 1), IsOk());
  other->End();
  const ReceiveResult told = self().Receive(Party::kInbox, 1);
  ASSERT_THAT(told, IsOk());
  EXPECT_EQ(told.messages[0].sender, other->id());
  EXPECT_EQ(told.messages[0].end,
            peer_has_own_process() ? EndReason::kKilled : EndReason::kDetached);
}

TEST_P(OneWayTest, TheEndOfWhoSendsIsToldAfterItsLastMessage) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(there, other->ConnectOneWay(self().id()));
  ASSERT_THAT(self().Watch(other->id()), IsOk());
  ASSERT_THAT(self().Connect(other->id()), HasCode(kRefused));
  const std::vector<Outgoing> messages = Numbered(300);
  ASSERT_THAT(other->Send(there, messages), IsOk());
  other->End();
  std::vector<Received> received = self().Receive(Party::kInbox, messages.size() + 1).messages;
  ASSERT_EQ(received.size(), messages.size() + 1);
  EXPECT_EQ(received.back().end,
            peer_has_own_process() ? EndReason::kKilled : EndReason::kDetached);
  received.pop_back();
  ExpectDelivered(received, messages);
}

TEST_P(OneWayTest, ItEndsWithEitherProcess) {
  const std::unique_ptr<Party> sender = NewPeer();
  ASSERT_THAT(sender->ConnectOneWay(self().id()), IsOk());
  ASSERT_THAT(self().Connect(sender->id()), HasCode(kRefused));
  sender->End();
  EXPECT_TRUE(Eventually([&] {
    const StatusCode code = self().Connect(sender->id()).status().code();
    EXPECT_TRUE(code == kRefused || code == StatusCode::kNotFound ||
                code == StatusCode::kUnavailable)
        << code;
    return code == StatusCode::kNotFound;
  }));
  const std::unique_ptr<Party> receiver = NewPeer();
  ASSERT_OK_AND_ASSIGN(there, self().ConnectOneWay(receiver->id()));
  receiver->End();
  EXPECT_TRUE(Eventually(
      [&] { return self().Send(there, {{}}).status.code() == StatusCode::kUnavailable; }));
}

TEST_P(OneWayTest, RequestsAreAnsweredByTheCallersMailbox) {
  ASSERT_OK_AND_ASSIGN(there, self().ConnectOneWay(peer().id()));
  auto answering = std::async(std::launch::async, [&] { return peer().Answer(Party::kInbox, 3); });
  for (uint64_t i = 1; i <= 3; ++i) {
    ASSERT_OK_AND_ASSIGN(answer, self().Call(there, {.number = i}));
    EXPECT_EQ(answer.number, i);
  }
  EXPECT_THAT(answering.get(), IsOk());
  EXPECT_THAT(peer().Connect(self().id()), HasCode(kRefused));
}

TEST_P(OneWayAfterRestartTest, ItIsOneWayUntilItsOwnerChangesThat) {
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(there, self().ConnectOneWay(other->id()));
  ASSERT_THAT(self().Send(there, Numbered(10)), IsOk());
  const auto restart = [&] {
    cluster().KillProper("alpha");
    if (other->id().node() != "alpha") cluster().KillProper(other->id().node());
    ASSERT_THAT(cluster().WaitUntilConnected(), IsOk());
  };
  restart();
  EXPECT_THAT(other->Connect(self().id()), HasCode(kRefused));
  EXPECT_THAT(other->ConnectOneWay(self().id()), HasCode(kRefused));
  EXPECT_THAT(self().ConnectOneWay(other->id()), IsOk());
  ASSERT_THAT(self().Send(there, Numbered(10, {}, 11)), IsOk());
  ExpectDelivered(other->Receive(Party::kInbox, 20).messages, Numbered(20));
  ASSERT_THAT(self().Connect(other->id()), IsOk());
  restart();
  ASSERT_OK_AND_ASSIGN(back, other->Connect(self().id()));
  ASSERT_THAT(other->Send(back, Numbered(10)), IsOk());
  ExpectDelivered(self().Receive(Party::kInbox, 10).messages, Numbered(10));
  EXPECT_THAT(self().ConnectOneWay(other->id()), HasCode(StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace mailrail
