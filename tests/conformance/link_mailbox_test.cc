// A link mailbox (ReceivePolicy::kLink): at most two processes are associated with it, wherever
// they are.
#include <memory>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/conformance/own_cluster.h"

namespace mailrail {
namespace {

const MailboxOptions kLink = {.policy = ReceivePolicy::kLink};
constexpr absl::StatusCode kRefused = absl::StatusCode::kResourceExhausted;

using LinkMailboxTest = ConformanceTest;
using LinkMailboxAfterRestartTest = OwnClusterTest;

MAILRAIL_OVER_TRANSPORTS(LinkMailboxTest);
MAILRAIL_OVER_TRANSPORTS(LinkMailboxAfterRestartTest);

// Whether the party is let in, in either way.
bool Opens(Party& party, const std::string& name) {
  const absl::StatusOr<Handle> receiver = party.OpenMailbox(name);
  EXPECT_TRUE(receiver.ok() || receiver.status().code() == kRefused) << receiver.status();
  return receiver.ok();
}
bool Connects(Party& party, const std::string& name) {
  const absl::StatusOr<Handle> sender = party.ConnectMailbox(name);
  EXPECT_TRUE(sender.ok() || sender.status().code() == kRefused) << sender.status();
  return sender.ok();
}

TEST_P(LinkMailboxTest, AThirdProcessIsRefused) {
  // At home on either side.
  for (Party* home : std::vector<Party*>{&self(), &peer()}) {
    const std::string name = NewName();
    ASSERT_THAT(home->CreateMailbox(name, kLink), IsOk());
    ASSERT_OK_AND_ASSIGN(sender, peer().ConnectMailbox(name));
    ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
    const std::unique_ptr<Party> near = NewSelf();
    const std::unique_ptr<Party> far = NewPeer();
    for (Party* third : {near.get(), far.get()}) {
      EXPECT_THAT(third->OpenMailbox(name), HasCode(kRefused));
      EXPECT_THAT(third->ConnectMailbox(name), HasCode(kRefused));
    }
    // The two may be both, sender and receiver.
    ASSERT_OK_AND_ASSIGN(back, self().ConnectMailbox(name));
    EXPECT_THAT(peer().OpenMailbox(name), IsOk());
    ASSERT_THAT(peer().Send(sender, Numbered(100)), IsOk());
    ExpectDelivered(self().Receive(receiver, 100).messages, Numbered(100));
    EXPECT_THAT(self().Send(back, Numbered(1)), IsOk());
  }
}

TEST_P(LinkMailboxTest, ARefusalSaysWhoIsAssociated) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kLink), IsOk());
  ASSERT_THAT(peer().OpenMailbox(name), IsOk());
  ASSERT_THAT(self().OpenMailbox(name), IsOk());
  for (const absl::Status& refused :
       {NewPeer()->OpenMailbox(name).status(), NewPeer()->ConnectMailbox(name).status()}) {
    EXPECT_THAT(std::string(refused.message()),
                testing::AllOf(testing::HasSubstr(peer().id().ToString()),
                               testing::HasSubstr(self().id().ToString())));
  }
}

TEST_P(LinkMailboxTest, WhoOnlyCreatesItIsNotAssociated) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kLink), IsOk());
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_OK_AND_ASSIGN(sender, other->ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(receiver, peer().OpenMailbox(name));
  ASSERT_THAT(other->Send(sender, Numbered(1)), IsOk());
  EXPECT_THAT(peer().Receive(receiver, 1), IsOk());
  EXPECT_FALSE(Opens(self(), name));
  EXPECT_FALSE(Connects(self(), name));
}

TEST_P(LinkMailboxTest, AfterOneOfTwoHasDiedAThirdIsLetIn) {
  for (const bool sends : {false, true}) {
    const std::string name = NewName();
    ASSERT_THAT(self().CreateMailbox(name, kLink), IsOk());
    ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
    const std::unique_ptr<Party> other = NewPeer();
    ASSERT_TRUE(sends ? Connects(*other, name) : Opens(*other, name));
    const std::unique_ptr<Party> third = NewPeer();
    EXPECT_FALSE(Connects(*third, name));
    EXPECT_FALSE(Opens(*third, name));
    other->End();
    EXPECT_TRUE(Eventually([&] { return Connects(*third, name); }));
    ASSERT_OK_AND_ASSIGN(sender, third->ConnectMailbox(name));
    ASSERT_THAT(third->Send(sender, Numbered(10)), IsOk());
    ExpectDelivered(self().Receive(receiver, 10).messages, Numbered(10));
    EXPECT_FALSE(Opens(*NewPeer(), name));
  }
}

TEST_P(LinkMailboxTest, WhoHasClosedItsLastReceiverMakesRoom) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kLink), IsOk());
  ASSERT_THAT(self().OpenMailbox(name), IsOk());
  ASSERT_OK_AND_ASSIGN(first, peer().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(second, peer().OpenMailbox(name));
  const std::unique_ptr<Party> third = NewPeer();
  peer().Close(first);
  EXPECT_FALSE(Opens(*third, name));
  peer().Close(second);
  EXPECT_TRUE(Eventually([&] { return Opens(*third, name); }));
  EXPECT_FALSE(Opens(peer(), name));
}

TEST_P(LinkMailboxTest, WhoHasLetGoOfItsLastSenderMakesRoomAndWhatItSentArrives) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kLink), IsOk());
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ASSERT_OK_AND_ASSIGN(first, peer().ConnectMailbox(name));
  ASSERT_OK_AND_ASSIGN(second, peer().ConnectMailbox(name));
  const std::unique_ptr<Party> third = NewPeer();
  peer().Close(first);
  EXPECT_FALSE(Connects(*third, name));
  ASSERT_THAT(peer().Send(second, Numbered(200)), IsOk());
  peer().Close(second);
  absl::StatusOr<Handle> thirds = absl::UnknownError("");
  EXPECT_TRUE(Eventually([&] { return (thirds = third->ConnectMailbox(name)).ok(); }));
  EXPECT_FALSE(Connects(peer(), name));
  third->End();
  // It is let in again, by a new lane.
  absl::StatusOr<Handle> again = absl::UnknownError("");
  EXPECT_TRUE(Eventually([&] { return (again = peer().ConnectMailbox(name)).ok(); }));
  ASSERT_THAT(again, IsOk());
  ASSERT_THAT(peer().Send(*again, Numbered(1, {}, 201)), IsOk());
  EXPECT_EQ(NumbersOf(self().Receive(receiver, 201).messages), NumbersOf(Numbered(201)));
}

TEST_P(LinkMailboxAfterRestartTest, AnAgentThatIsStartedAgainKnowsTheTwo) {
  ASSERT_THAT(self().CreateMailbox("pair", kLink), IsOk());
  const std::unique_ptr<Party> sender = NewPeer();
  const std::unique_ptr<Party> receiver = NewPeer();
  ASSERT_OK_AND_ASSIGN(to, sender->ConnectMailbox("pair"));
  ASSERT_OK_AND_ASSIGN(from, receiver->OpenMailbox("pair"));
  cluster().KillProper("alpha");
  EXPECT_FALSE(Opens(self(), "pair"));
  EXPECT_FALSE(Connects(self(), "pair"));
  ASSERT_THAT(sender->Send(to, Numbered(10)), IsOk());
  EXPECT_THAT(receiver->Receive(from, 10), IsOk());
  EndWithoutAgent(sender.get());
  EXPECT_TRUE(Eventually([&] { return Connects(self(), "pair"); }));
}

}  // namespace
}  // namespace mailrail
