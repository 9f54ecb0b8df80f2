// What a receiver's node says to the home of a mailbox about what was delivered.
#include "node/carrier/proxies.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/carrier/remote_receiver_testing.h"

namespace mailrail {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// What was said, in words: "want", "want with 7 8", "want nothing", "7 taken", "7 returned".
std::string InWords(const proto::Frame& frame) {
  if (frame.has_want()) {
    if (frame.want().count() == 0) return "want nothing";
    std::string words = frame.want().held().empty() ? "want" : "want with";
    for (const uint64_t delivery : frame.want().held()) absl::StrAppend(&words, " ", delivery);
    return words;
  }
  if (frame.has_outcome()) {
    const proto::Outcome& outcome = frame.outcome();
    return absl::StrCat(outcome.lease().delivery(), outcome.taken()      ? " taken"
                                                    : outcome.refused()  ? " refused"
                                                    : outcome.returned() ? " returned"
                                                                         : " not taken");
  }
  return frame.has_extend() ? absl::StrCat("extend ", frame.extend().lease().delivery()) : "?";
}

class ProxiesTest : public ::testing::Test {
 protected:
  ProxiesTest() : receiver(&inner.destination, kLocalNumber) {
    receiver.queue().Join(inner.NewIncoming(), 1);
    Connect();
    Start(/*recover=*/false);
  }

  void Start(bool recover, bool leases = true) {
    proxies = std::make_unique<Proxies>(&events);
    ReceiverProxy proxy;
    proxy.key = kKey;
    proxy.peer_node = "alpha";
    proxy.lane = inner.NewSender(kProxyNumber, recover);
    proxy.number = kProxyNumber;
    proxy.leases = leases;
    proxy.bell = inner.destination.bell_memory.Map();
    proxy.control = inner.destination.control_memory.Map();
    proxies->Add(std::move(proxy), &peer);
  }

  // New sessions.
  void Connect() {
    bulk = std::make_shared<FakeSession>(proto::BULK, true);
    urgent = std::make_shared<FakeSession>(proto::URGENT, true);
    peer.Opened(bulk);
    peer.Opened(urgent);
  }

  void Reconnect() {
    peer.Ended(urgent.get());
    Connect();
    proxies->PeerUp(&peer);
  }

  // What is said now.
  std::vector<std::string> Said(bool all = true) {
    while (proxies->Look(all)) {
    }
    peer.Flush();
    std::vector<std::string> said;
    for (const proto::Frame& frame : urgent->frames) said.push_back(InWords(frame));
    urgent->frames.clear();
    return said;
  }

  void Ask() { inner.destination.bell()->wanted = ++asked; }
  void AskNoMore() { inner.destination.bell()->wanted = 0; }

  // A delivery of the message that has this sequence number.
  proto::Delivery Of(uint64_t number, uint64_t sequence) {
    proto::Delivery delivery;
    delivery.set_receiver_key(kKey);
    delivery.mutable_lease()->set_lane(7);
    delivery.mutable_lease()->set_sequence(sequence);
    delivery.mutable_lease()->set_delivery(number);
    delivery.mutable_sender()->set_node("alpha");
    delivery.mutable_sender()->set_pid(42);
    delivery.mutable_sender()->set_incarnation(3);
    delivery.set_body(absl::StrCat(sequence));
    return delivery;
  }
  void Deliver(proto::Delivery delivery) { proxies->TakeDelivery(&peer, from_alpha, &delivery); }

  // The receiver claims what is there.
  Lease Claim() {
    Lease lease;
    Message message;
    EXPECT_EQ(receiver.queue().TakeLease(*inner.destination.control(), &lease, &message),
              ReceiveQueue::Taken::kMessage);
    return lease;
  }
  // Asks for it and gets it, by this number.
  Lease Hold(uint64_t number, uint64_t sequence) {
    Ask();
    Said();
    Deliver(Of(number, sequence));
    Said();
    const Lease lease = Claim();
    AskNoMore();
    Said();
    return lease;
  }
  void Acknowledge(const Lease& lease) {
    EXPECT_TRUE(receiver.queue().Finish(lease, MailboxQueue::Outcome::kReceived));
  }
  void GiveBack(const Lease& lease) {
    EXPECT_TRUE(receiver.queue().FinishLater(lease, DueTick::After(MonotonicTime(), 0)));
  }

  TestMailbox inner{22};
  TestReceiver<MailboxQueue> receiver;
  TestEvents events;
  Peer peer{"alpha"};
  std::shared_ptr<FakeSession> bulk, urgent;
  FakeSession from_alpha{proto::URGENT, /*dialed=*/false};
  std::unique_ptr<Proxies> proxies;
  uint32_t asked = 0;
};

TEST_F(ProxiesTest, TheHomeIsToldWhatIsHeldWhenTheNextIsWanted) {
  Ask();
  EXPECT_THAT(Said(), ElementsAre("want"));
  Deliver(Of(100, 1));
  EXPECT_THAT(Said(), IsEmpty());
  const Lease first = Claim();
  // It has asked for one, and got one.
  EXPECT_THAT(Said(), IsEmpty());
  Ask();
  EXPECT_THAT(Said(), ElementsAre("want with 100"));
  EXPECT_THAT(Said(), IsEmpty());
  Deliver(Of(101, 2));
  const Lease second = Claim();
  AskNoMore();
  EXPECT_THAT(Said(), IsEmpty());
  Acknowledge(second);
  EXPECT_THAT(Said(), ElementsAre("101 taken"));
  GiveBack(first);
  EXPECT_THAT(Said(), ElementsAre("100 returned"));
}

TEST_F(ProxiesTest, WhatIsSettledBeforeTheReceiverAsksIsSaidBefore) {
  const Lease lease = Hold(100, 1);
  GiveBack(lease);
  Ask();
  // Nobody has rung yet.
  EXPECT_THAT(Said(/*all=*/false), ElementsAre("100 returned", "want"));
}

TEST_F(ProxiesTest, WhatIsNotClaimedIsTakenBackBesideWhatIsHeld) {
  const Lease lease = Hold(100, 1);
  Ask();
  EXPECT_THAT(Said(), ElementsAre("want with 100"));
  Deliver(Of(101, 2));
  AskNoMore();
  EXPECT_THAT(Said(), ElementsAre("101 not taken"));
  Ask();
  EXPECT_THAT(Said(), ElementsAre("want"));
  Acknowledge(lease);
  EXPECT_THAT(Said(), testing::Contains("100 taken"));
}

TEST_F(ProxiesTest, OutcomesAreSaidAgainOnNewSessionsAndWhatIsHeldIsToldAgain) {
  const Lease first = Hold(100, 1), second = Hold(101, 2), third = Hold(102, 3);
  Acknowledge(second);
  EXPECT_THAT(Said(), ElementsAre("101 taken"));
  peer.Ended(urgent.get());
  GiveBack(third);
  Ask();
  EXPECT_THAT(Said(), IsEmpty());
  Connect();
  proxies->PeerUp(&peer);
  EXPECT_THAT(Said(), ElementsAre("101 taken", "102 returned", "want with 100"));
  Acknowledge(first);
  EXPECT_THAT(Said(), testing::Contains("100 taken"));
}

TEST_F(ProxiesTest, WhatIsWantedIsSaidAgainWhenTheHomeAsks) {
  const Lease lease = Hold(100, 1);
  Ask();
  EXPECT_THAT(Said(), ElementsAre("want with 100"));
  EXPECT_THAT(Said(), IsEmpty());
  proxies->TakeCheck(&peer, from_alpha, kKey);
  EXPECT_THAT(Said(), ElementsAre("want with 100"));
  Acknowledge(lease);
  EXPECT_THAT(Said(), testing::Contains("100 taken"));
}

TEST_F(ProxiesTest, AsManyOutcomesAreSaidAgainAsTheHomeMayNotHaveHeard) {
  constexpr uint64_t kMany = 3 * kMostFarLeases;
  for (uint64_t i = 1; i <= kMany; ++i) Acknowledge(Hold(100 + i, i));
  Said();
  Reconnect();
  const std::vector<std::string> said = Said();
  ASSERT_EQ(said.size(), kMostFarLeases);
  EXPECT_EQ(said.front(), absl::StrCat(100 + kMany - kMostFarLeases + 1, " taken"));
  EXPECT_EQ(said.back(), absl::StrCat(100 + kMany, " taken"));
}

TEST_F(ProxiesTest, ADeliveryThatIsSentAgainIsKnownByItsNumberOrItsMessage) {
  const Lease first = Hold(100, 1), second = Hold(101, 2);
  Acknowledge(second);
  EXPECT_THAT(Said(), ElementsAre("101 taken"));
  for (const auto& [number, sequence] : {std::pair(200, 1), std::pair(201, 2)}) {
    proto::Delivery again = Of(static_cast<uint64_t>(number), static_cast<uint64_t>(sequence));
    again.set_again(true);
    Deliver(again);
  }
  EXPECT_THAT(Said(), ElementsAre("201 taken"));
  Ask();
  EXPECT_THAT(Said(), ElementsAre("want with 200"));
  Acknowledge(first);
  EXPECT_THAT(Said(), testing::Contains("200 taken"));
}

TEST_F(ProxiesTest, WhatWasSentAgainBeforeIsNotTakenForTheNextDeliveryOfTheSameMessage) {
  GiveBack(Hold(100, 1));
  EXPECT_THAT(Said(), ElementsAre("100 returned"));
  const Lease lease = Hold(101, 1);
  for (const bool held : {true, false}) {
    proto::Delivery late = Of(100, 1);
    late.set_again(true);
    late.set_held(held);
    Deliver(late);
  }
  EXPECT_THAT(Said(), IsEmpty());
  Acknowledge(lease);
  EXPECT_THAT(Said(), ElementsAre("101 taken"));
}

// For the home the outcome ends the want.
TEST_F(ProxiesTest, WhatIsWantedIsSaidAgainAfterTheOutcomeOfWhatIsSentAgain) {
  GiveBack(Hold(100, 1));
  Ask();
  EXPECT_THAT(Said(), ElementsAre("100 returned", "want"));
  proto::Delivery again = Of(200, 1);
  again.set_again(true);
  Deliver(again);
  EXPECT_THAT(Said(), ElementsAre("200 returned", "want"));
}

TEST_F(ProxiesTest, WhatIsNamedAndNotKnownIsReturned) {
  const Lease first = Hold(100, 1);
  for (const uint64_t number : {uint64_t{100}, uint64_t{150}}) {
    proto::Delivery named = Of(number, number);
    named.set_again(true);
    named.set_held(true);
    named.clear_body();
    Deliver(named);
  }
  EXPECT_THAT(Said(), ElementsAre("150 returned"));
  EXPECT_FALSE(receiver.TryReceive().has_value());
  Acknowledge(first);
  EXPECT_THAT(Said(), ElementsAre("100 taken"));
}

TEST_F(ProxiesTest, OfALeaseThatTheHomeHasEndedNothingMoreIsSaid) {
  const Lease before = Hold(100, 1);
  const Lease after = Hold(101, 1);
  proxies->Extend(kKey, before.priority, before.sequence, absl::Seconds(1));
  proxies->Extend(kKey, after.priority, after.sequence, absl::Seconds(1));
  EXPECT_THAT(Said(), ElementsAre("extend 101"));
  Acknowledge(before);
  EXPECT_THAT(Said(), IsEmpty());
  // An agent of the home that was started again means the other.
  proto::Delivery again = Of(200, 1);
  again.set_again(true);
  Deliver(again);
  GiveBack(after);
  EXPECT_THAT(Said(), ElementsAre("200 returned"));
}

TEST_F(ProxiesTest, ACarrierThatTakesOverKnowsWhatIsHeldAndWhatBecameOfTheRest) {
  const Lease first = Hold(100, 1), second = Hold(101, 2), third = Hold(102, 3);
  const Lease fourth = Hold(103, 4);
  GiveBack(fourth);
  EXPECT_THAT(Said(), ElementsAre("103 returned"));
  Ask();
  Said();
  Deliver(Of(104, 5));
  Acknowledge(second);
  Start(/*recover=*/true);
  EXPECT_THAT(Said(), ElementsAre("101 taken"));
  Reconnect();
  EXPECT_THAT(Said(), ElementsAre("103 returned", "101 taken"));
  AskNoMore();
  EXPECT_THAT(Said(), ElementsAre("104 not taken"));
  Ask();
  EXPECT_THAT(Said(), ElementsAre("want with 100 102"));
  GiveBack(third);
  EXPECT_THAT(Said(), testing::Contains("102 returned"));
  Acknowledge(first);
  EXPECT_THAT(Said(), testing::Contains("100 taken"));
}

TEST_F(ProxiesTest, WhatItHadDecidedToTakeHomeIsTakenByTheNextCarrier) {
  const Lease lease = Hold(100, 1);
  GiveBack(lease);
  // It has noted it, and then died.
  const Mapping control = inner.destination.control_memory.Map();
  auto* const note = reinterpret_cast<ProxyNote*>(control.data() + ProxyNote::kOffset);
  ASSERT_EQ(note->delivery, 100u);
  note->turn = 1;
  note->state = ProxyNote::kDecided + static_cast<uint64_t>(ProxyDelivery::Verdict::kReturned);
  Start(/*recover=*/true);
  Reconnect();
  EXPECT_THAT(Said(), ElementsAre("100 returned"));
  EXPECT_EQ(inner.Count().left(), 0u);
}

TEST_F(ProxiesTest, WhatAGoneReceiverHeldIsReturned) {
  Hold(100, 1);
  const Lease second = Hold(101, 2);
  Hold(102, 3);
  Acknowledge(second);
  proxies->Remove(&peer, kKey);
  peer.Flush();
  std::vector<std::string> said;
  for (const proto::Frame& frame : urgent->frames) said.push_back(InWords(frame));
  EXPECT_THAT(said, ElementsAre("100 returned", "101 taken", "102 returned", "?"));
}

TEST_F(ProxiesTest, WithAsManyHeldAsThereMayBeNothingIsWanted) {
  std::vector<Lease> held;
  for (uint64_t i = 1; i <= kMostFarLeases; ++i) held.push_back(Hold(100 + i, i));
  Ask();
  EXPECT_THAT(Said(), IsEmpty());
  Acknowledge(held[5]);
  const std::vector<std::string> said = Said();
  ASSERT_EQ(said.size(), 2u);
  EXPECT_EQ(said[0], "106 taken");
  EXPECT_EQ(said[1], "want with 164");
}

TEST_F(ProxiesTest, WhoAcknowledgesAutomaticallyHasOneAtATime) {
  Start(/*recover=*/true, /*leases=*/false);
  Ask();
  EXPECT_THAT(Said(), ElementsAre("want"));
  Deliver(Of(100, 1));
  const Lease taking = Claim();
  Ask();
  EXPECT_THAT(Said(), IsEmpty());
  Deliver(Of(101, 2));
  EXPECT_THAT(Said(), ElementsAre("101 not taken"));
  Acknowledge(taking);
  EXPECT_THAT(Said(), ElementsAre("100 taken", "want"));
}

}  // namespace
}  // namespace mailrail
