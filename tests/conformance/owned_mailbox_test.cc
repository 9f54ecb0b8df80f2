// An owned mailbox goes with the process that has created it, and who waits at it is told.
#include <memory>
#include <thread>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/conformance/own_cluster.h"

namespace mailrail {
namespace {

const MailboxOptions kOwned = {.capacity_messages = 4, .owned = true};

using OwnedMailboxTest = ConformanceTest;
using OwnedMailboxAfterRestartTest = OwnClusterTest;

MAILRAIL_OVER_TRANSPORTS(OwnedMailboxTest);
MAILRAIL_OVER_TRANSPORTS(OwnedMailboxAfterRestartTest);

bool IsGone(Party& party, const std::string& name) {
  return party.OpenMailbox(name).status().code() == absl::StatusCode::kNotFound;
}

// A receiver and a sender of `party`, which wait at a mailbox each until they are told that it is
// gone.
class Waiting {
 public:
  Waiting(Party& party, const std::string& to_receive, const std::string& to_send) : party_(party) {
    const absl::StatusOr<Handle> receiver = party.OpenMailbox(to_receive);
    const absl::StatusOr<Handle> sender = party.ConnectMailbox(to_send);
    EXPECT_THAT(receiver, IsOk());
    EXPECT_THAT(sender, IsOk());
    if (!receiver.ok() || !sender.ok()) return;
    receiving_ = std::thread([this, from = *receiver] { received_ = party_.Receive(from, 1); });
    sending_ = std::thread([this, to = *sender] {
      const std::vector<Outgoing> some = Numbered(100, {.bytes = 4000});
      do {
        sent_ = party_.Send(to, some);
      } while (sent_.status.ok());
    });
    EXPECT_TRUE(Eventually([&] { return party_.Asleep() == 2; }));
  }
  // Waits until both have ended.
  void ExpectTold() {
    ASSERT_TRUE(receiving_.joinable());
    receiving_.join();
    sending_.join();
    EXPECT_THAT(received_, HasCode(absl::StatusCode::kUnavailable));
    EXPECT_THAT(sent_, HasCode(absl::StatusCode::kUnavailable));
    for (const absl::Status& status : {received_.status, sent_.status}) {
      EXPECT_THAT(std::string(status.message()), testing::HasSubstr("was destroyed"));
    }
  }

 private:
  Party& party_;
  std::thread receiving_, sending_;
  ReceiveResult received_;
  SendResult sent_;
};

TEST_P(OwnedMailboxTest, ItIsGoneWithItsOwnerAndSendersAndReceiversAreTold) {
  for (const bool dies : {true, false}) {
    const std::string name = NewName();
    const std::string full = NewName();
    const std::unique_ptr<Party> owner = NewPeer();
    ASSERT_THAT(owner->CreateMailbox(name, kOwned), IsOk());
    ASSERT_THAT(owner->CreateMailbox(full, kOwned), IsOk());
    Waiting here(self(), name, full);
    Waiting there(peer(), name, full);
    dies ? owner->End() : owner->Exit();
    here.ExpectTold();
    there.ExpectTold();
    EXPECT_TRUE(Eventually([&] { return IsGone(self(), name) && IsGone(peer(), full); }));
    // The name is free.
    EXPECT_THAT(self().CreateMailbox(name), IsOk());
  }
}

TEST_P(OwnedMailboxTest, ItStaysWhileItsOwnerLivesWhoeverElseGoes) {
  const std::string name = NewName();
  ASSERT_THAT(self().CreateMailbox(name, kOwned), IsOk());
  {
    const std::unique_ptr<Party> other = NewPeer();
    ASSERT_OK_AND_ASSIGN(sender, other->ConnectMailbox(name));
    ASSERT_THAT(other->OpenMailbox(name), IsOk());
    ASSERT_THAT(other->Send(sender, Numbered(3)), IsOk());
    other->End();
  }
  ASSERT_OK_AND_ASSIGN(receiver, self().OpenMailbox(name));
  ExpectDelivered(self().Receive(receiver, 3).messages, Numbered(3));
}

TEST_P(OwnedMailboxAfterRestartTest, ItIsGoneWithAnOwnerThatDiedWhileTheAgentDid) {
  const std::unique_ptr<Party> owner = NewPeer();
  const std::unique_ptr<Party> other = NewPeer();
  ASSERT_THAT(owner->CreateMailbox("mine", kOwned), IsOk());
  ASSERT_THAT(owner->CreateMailbox("mine-too", kOwned), IsOk());
  Waiting here(self(), "mine", "mine-too");
  Waiting there(*other, "mine", "mine-too");
  // An agent that is started again knows whose they are.
  cluster().KillProper(owner->id().node());
  EndWithoutAgent(owner.get());
  here.ExpectTold();
  there.ExpectTold();
  EXPECT_TRUE(Eventually([&] { return IsGone(self(), "mine") && IsGone(*other, "mine-too"); }));
}

}  // namespace
}  // namespace mailrail
