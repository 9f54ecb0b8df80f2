// What the home of a mailbox makes of what is said about deliveries to receivers of another node.
#include "node/carrier/remote_receivers.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "node/carrier/remote_receiver_testing.h"

namespace mailrail {
namespace {

using Say = std::function<void(proto::Outcome*)>;

void Taken(proto::Outcome* outcome) { outcome->set_taken(true); }
void Returned(proto::Outcome* outcome) { outcome->set_returned(true); }

class RemoteReceiversTest : public ::testing::Test {
 protected:
  RemoteReceiversTest()
      : local(&mailbox.destination, 8u),
        sender(mailbox.NewSender(1)),
        looks(mailbox.NewIncoming()) {
    local.queue().Join(mailbox.NewIncoming(), 1);
    Connect();
    Start(1000);
  }

  // A carrier's part, which takes up what the one before it has left.
  void Start(uint64_t first_delivery) {
    receivers = std::make_unique<RemoteReceivers>(
        RemoteReceivers::Options{.log = [](absl::string_view) {}, .first_delivery = first_delivery},
        &events);
    RemoteReceiver remote;
    remote.key = kKey;
    remote.peer_node = "beta";
    remote.queue = std::make_shared<MailboxQueue>(kHomeNumber);
    remote.queue->Join(mailbox.NewIncoming(), 1);
    remote.mailbox = kMailbox;
    remote.options = Taking(kLargest);
    remote.options.lease_time = absl::Hours(1);
    remote.leases = true;
    remote.control = mailbox.destination.control_memory.Map();
    remote.bell = mailbox.destination.bell_memory.Map();
    remote.gate = mailbox.destination.gate_memory.Map();
    receivers->Add(std::move(remote), &peer);
  }

  // New sessions.
  void Connect() {
    bulk = std::make_shared<FakeSession>(proto::BULK, true);
    urgent = std::make_shared<FakeSession>(proto::URGENT, true);
    peer.Opened(bulk);
    peer.Opened(urgent);
  }

  void Send(int count) {
    for (int i = 0; i < count; ++i) {
      const absl::Status status =
          sender->Send(0, {{}, absl::StrCat(++sent)}, absl::InfiniteFuture());
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  // What is delivered now.
  std::vector<proto::Delivery> Deliveries() {
    while (receivers->Deliver(absl::Now(), /*look_again=*/false)) {
    }
    peer.Flush();
    std::vector<proto::Delivery> deliveries;
    for (const auto& session : {bulk, urgent}) {
      for (proto::Frame& frame : session->frames) {
        if (frame.has_delivery()) deliveries.push_back(std::move(*frame.mutable_delivery()));
      }
      session->frames.clear();
    }
    return deliveries;
  }

  // A message is wanted, beside those that are held.
  void Want(const std::vector<proto::Delivery>& held = {}) {
    proto::Want want;
    want.set_receiver_key(kKey);
    want.set_count(1);
    for (const proto::Delivery& delivery : held) want.add_held(delivery.lease().delivery());
    receivers->TakeWant(&peer, from_beta, want);
  }
  // The only delivery that there is then.
  proto::Delivery Wanted(const std::vector<proto::Delivery>& held = {}) {
    Want(held);
    const std::vector<proto::Delivery> deliveries = Deliveries();
    EXPECT_EQ(deliveries.size(), 1u);
    return deliveries.empty() ? proto::Delivery() : deliveries[0];
  }
  // So many, which are all held but for the last one.
  std::vector<proto::Delivery> Hold(size_t count) {
    std::vector<proto::Delivery> held;
    while (held.size() < count) held.push_back(Wanted(held));
    return held;
  }

  void Tell(const proto::LeaseName& lease, const Say& what) {
    proto::Outcome outcome;
    outcome.set_receiver_key(kKey);
    *outcome.mutable_lease() = lease;
    what(&outcome);
    receivers->TakeOutcome(&peer, from_beta, outcome);
  }

  uint64_t leased() const { return looks->reader().Count().leased; }
  uint64_t waiting() const { return looks->reader().Count().waiting; }

  TestMailbox mailbox{11};
  TestReceiver<MailboxQueue> local;
  std::shared_ptr<OutgoingLane> sender;
  std::shared_ptr<IncomingCells> looks;
  TestEvents events;
  Peer peer{"beta"};
  std::shared_ptr<FakeSession> bulk, urgent;
  FakeSession from_beta{proto::URGENT, /*dialed=*/false};
  std::unique_ptr<RemoteReceivers> receivers;
  int sent = 0;
};

TEST_F(RemoteReceiversTest, TheNextIsDeliveredWhenItIsKnownThatTheOneBeforeIsHeld) {
  Send(3);
  const proto::Delivery first = Wanted();
  EXPECT_EQ(first.body(), "1");
  // It may be on its way still.
  Want();
  EXPECT_TRUE(Deliveries().empty());
  const proto::Delivery second = Wanted({first});
  EXPECT_EQ(second.body(), "2");
  // What became of one that was held says nothing of the other.
  Tell(first.lease(), Taken);
  EXPECT_TRUE(Deliveries().empty());
  EXPECT_EQ(leased(), 1u);
  EXPECT_EQ(Wanted({second}).body(), "3");
}

TEST_F(RemoteReceiversTest, AnOutcomeEndsTheWantThatItsDeliveryHasAnswered) {
  Send(2);
  const proto::Delivery first = Wanted();
  Want();
  Tell(first.lease(), [](proto::Outcome*) {});  // not taken
  EXPECT_TRUE(Deliveries().empty());
  EXPECT_EQ(waiting(), 2u);
  const proto::Delivery again = Wanted();
  EXPECT_EQ(again.body(), "1");
  EXPECT_EQ(again.lease().attempts(), 0u);
  EXPECT_NE(again.lease().delivery(), first.lease().delivery());
}

TEST_F(RemoteReceiversTest, AnOutcomeThatIsSaidTwiceIsNotTakenForAnothers) {
  Send(2);
  const std::vector<proto::Delivery> held = Hold(2);
  Tell(held[0].lease(), Returned);
  EXPECT_EQ(waiting(), 1u);
  // The same message, by another number.
  const proto::Delivery again = Wanted({held[1]});
  EXPECT_EQ(again.body(), "1");
  EXPECT_EQ(again.lease().attempts(), 1u);
  for (const Say& say : {Say(Returned), Say(Taken)}) Tell(held[0].lease(), say);
  EXPECT_EQ(leased(), 2u);
  proto::LeaseName unknown = held[1].lease();
  unknown.set_delivery(unknown.delivery() + 100);
  Tell(unknown, Taken);
  EXPECT_EQ(leased(), 2u);
  Tell(held[1].lease(), Taken);
  Tell(held[1].lease(), Taken);
  EXPECT_EQ(leased(), 1u);
  Tell(again.lease(), Taken);
  EXPECT_EQ(leased() + waiting(), 0u);
}

TEST_F(RemoteReceiversTest, OfNumbersFromBeforeARestartOnlyTakenIsBelieved) {
  Send(3);
  const std::vector<proto::Delivery> held = Hold(3);
  Start(2000);
  const std::vector<proto::Delivery> again = Deliveries();
  ASSERT_EQ(again.size(), 3u);
  for (size_t i = 0; i < again.size(); ++i) {
    EXPECT_TRUE(again[i].again());
    EXPECT_FALSE(again[i].held());
    EXPECT_EQ(again[i].body(), held[i].body());
  }
  Tell(held[0].lease(), Returned);
  Tell(held[0].lease(), [](proto::Outcome*) {});
  EXPECT_EQ(leased(), 3u);
  Tell(held[1].lease(), Taken);
  EXPECT_EQ(leased(), 2u);
  Tell(again[0].lease(), Returned);
  EXPECT_EQ(leased(), 1u);
  // What was leased since is not meant by a number from before.
  const proto::Delivery anew = Wanted({again[2]});
  EXPECT_EQ(anew.body(), "1");
  Tell(held[0].lease(), Taken);
  EXPECT_EQ(leased(), 2u);
}

TEST_F(RemoteReceiversTest, OnNewSessionsWhatIsHeldIsNamedAndTheRestSentAgain) {
  Send(3);
  const std::vector<proto::Delivery> held = Hold(3);
  peer.Ended(bulk.get());
  receivers->PeerDown(&peer);
  receivers->SessionEnded(&peer);
  EXPECT_TRUE(Deliveries().empty());
  Connect();
  receivers->PeerUp(&peer);
  int named = 0, whole = 0;
  for (const proto::Delivery& again : Deliveries()) {
    EXPECT_TRUE(again.again());
    if (again.held()) {
      ++named;
      EXPECT_EQ(again.body(), "");
      EXPECT_NE(again.lease().delivery(), held[2].lease().delivery());
    } else {
      ++whole;
      EXPECT_EQ(again.body(), "3");
      EXPECT_EQ(again.lease().delivery(), held[2].lease().delivery());
    }
  }
  EXPECT_EQ(named, 2);
  EXPECT_EQ(whole, 1);
  EXPECT_EQ(leased(), 3u);
}

TEST_F(RemoteReceiversTest, NoMoreAreOutThanThereMayBe) {
  Send(static_cast<int>(kMostFarLeases) + 1);
  const std::vector<proto::Delivery> held = Hold(kMostFarLeases);
  Want(held);
  EXPECT_TRUE(Deliveries().empty());
  Tell(held[17].lease(), Taken);
  ASSERT_EQ(Deliveries().size(), 1u);
}

TEST_F(RemoteReceiversTest, WhoDoesNotWantAnyMoreGetsNothing) {
  Send(2);
  const proto::Delivery first = Wanted();
  Want({first});
  proto::Want want;
  want.set_receiver_key(kKey);
  receivers->TakeWant(&peer, from_beta, want);
  EXPECT_TRUE(Deliveries().empty());
  EXPECT_EQ(waiting(), 1u);
}

TEST_F(RemoteReceiversTest, OneLeaseIsExtendedByItself) {
  Send(2);
  const std::vector<proto::Delivery> held = Hold(2);
  proto::Extend extend;
  extend.set_receiver_key(kKey);
  *extend.mutable_lease() = held[0].lease();
  extend.set_time_ms(absl::ToInt64Milliseconds(absl::Hours(3)));
  receivers->TakeExtend(&peer, from_beta, extend);
  receivers->Deliver(absl::Now() + absl::Hours(2), /*look_again=*/false);
  EXPECT_EQ(leased(), 1u);
  const absl::optional<Message> message = local.TryReceive();
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->body(), "2");
  EXPECT_EQ(message->attempts(), 1);
}

}  // namespace
}  // namespace mailrail
