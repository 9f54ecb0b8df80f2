// One party is interrupted after each of its instructions, and another does all of its part there:
// whatever the order of the two, no message is lost, and nobody sleeps beside one, or beside room.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/instruction/others.h"
#include "tests/instruction/region.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

constexpr size_t kFirst = 0, kSecond = 1;

std::unique_ptr<Channel> MakeChannel(bool mailbox) {
  if (mailbox) return std::make_unique<MailboxChannel>();
  return std::make_unique<InboxChannel>();
}

void InterruptBoth(const std::string& name,
                   const std::function<std::unique_ptr<Region>(bool mailbox)>& make) {
  for (const bool mailbox : {false, true}) {
    InterruptAtEachInstruction(name + (mailbox ? " (mailbox)" : " (inbox)"),
                               [&] { return make(mailbox); });
  }
}

// A sender sends one message.
class SendInterrupted : public Region {
 public:
  explicit SendInterrupted(bool mailbox) : channel_(MakeChannel(mailbox)) {
    channel_->AddSender();
    channel_->AddSender();
    for (uint64_t i = 0; i < 3; ++i) SendAs(*channel_, kFirst, FirstOf(kFirst) + i, 40);
    TakeAll(channel_->receiver(), *channel_);
  }
  Channel& channel() override { return *channel_; }
  void Act() override {
    const bool ok = channel_->lane(kFirst).Send(kBulk, {{}, body_}, absl::InfinitePast()).ok();
    (ok ? page().told : page().refused) = 1;
  }

 protected:
  // How many messages of the victim there are now.
  size_t Look() { return TakeAll(channel_->receiver(), *channel_).size(); }

  const std::unique_ptr<Channel> channel_;
  const std::string body_ = MakeBody(FirstOf(kFirst) + 3, 40);
};

// Meanwhile the receiver parks, finds nothing, and wants to sleep.
class ReceiverParks : public SendInterrupted {
 public:
  using SendInterrupted::SendInterrupted;
  void Meanwhile() override {
    word_ = channel_->NewParker().Park();
    found_ = Look();
  }
  void Check(bool) override {
    EXPECT_EQ(page().told, 1u);
    EXPECT_TRUE(found_ == 1 || word_.word->load() != word_.expected) << "sleeps beside a message";
    EXPECT_EQ(found_ + Look(), 1u);
  }

 private:
  FutexWord word_{};
  size_t found_ = 0;
};

TEST(SendInterrupted, AReceiverThatParksMeanwhileSeesTheMessageOrIsRung) {
  InterruptBoth("SendWhileReceiverParks",
                [](bool mailbox) { return std::make_unique<ReceiverParks>(mailbox); });
}

// Meanwhile the agent closes the destination, and counts what is left in it.
class AgentCloses : public SendInterrupted {
 public:
  using SendInterrupted::SendInterrupted;
  void Meanwhile() override {
    channel_->Close(CloseReason::kDestroyed);
    swept_ = Look();
  }
  void Check(bool) override {
    EXPECT_EQ(page().told + page().refused, 1u);
    // What comes after that nobody counts, and nobody receives.
    EXPECT_TRUE(page().refused == 1 || swept_ == 1) << "told OK, and lost without a count";
  }

 private:
  size_t swept_ = 0;
};

TEST(SendInterrupted, ADestinationThatIsClosedMeanwhileLosesNothingThatWasToldOk) {
  InterruptBoth("SendWhileAgentCloses",
                [](bool mailbox) { return std::make_unique<AgentCloses>(mailbox); });
}

// A sender without room waits for some, and meanwhile there is all of it.
class RoomComes : public Region {
 public:
  explicit RoomComes(bool mailbox) : channel_(MakeChannel(mailbox)) {
    channel_->AddSender();
    while (channel_->lane(kFirst)
               .Send(kBulk, {{}, MakeBody(FirstOf(kFirst) + sent_, 40)}, absl::InfinitePast())
               .ok()) {
      ++sent_;
    }
    body_ = MakeBody(FirstOf(kFirst) + sent_, 40);
  }
  Channel& channel() override { return *channel_; }
  bool MaySleep() const override { return true; }
  void Act() override {
    page().told = channel_->lane(kFirst).Send(kBulk, {{}, body_}, absl::InfiniteFuture()).ok();
  }
  void Meanwhile() override { received_ = TakeAll(channel_->receiver(), *channel_); }
  void Check(bool) override {
    // All of it was there before the victim went on.
    EXPECT_FALSE(slept()) << "sleeps beside room";
    if (slept()) return;
    EXPECT_EQ(page().told, 1u);
    TakeAll(channel_->receiver(), *channel_, &received_);
    EXPECT_EQ(ExpectInOrder(received_, kFirst, FirstOf(kFirst)), sent_ + 1);
  }

 private:
  const std::unique_ptr<Channel> channel_;
  uint64_t sent_ = 0;
  std::string body_;
  std::vector<Received> received_;
};

TEST(SendInterrupted, ASenderToWhomRoomComesMeanwhileDoesNotSleep) {
  for (const bool mailbox : {false, true}) {
    // Of a mailbox it takes so long that it is not done each time.
    if (mailbox && !AllRegions()) continue;
    InterruptAtEachInstruction("SendWhileRoomComes",
                               [&] { return std::make_unique<RoomComes>(mailbox); });
  }
}

// A receiver takes messages.
class TakeInterrupted : public Region {
 public:
  explicit TakeInterrupted(bool mailbox) : channel_(MakeChannel(mailbox)), mailbox_(mailbox) {
    channel_->AddSender();
    channel_->AddSender();
    // Both rings of each are in use.
    for (const size_t sender : {kFirst, kSecond}) {
      for (const int priority : {kBulk, kUrgent}) SendAs(*channel_, sender, 1, 40, priority);
    }
    TakeAll(queue(), *channel_);
    TakeAll(channel_->receiver(), *channel_);
  }
  Channel& channel() override { return *channel_; }
  void Act() override { Take(&messages_[0]); }
  void AfterAct() override {
    for (const Message& message : messages_) {
      if (!IsIntact(message.body())) page().broken = true;
    }
  }

 protected:
  ReceiveQueue& queue() {
    return mailbox_ ? static_cast<ReceiveQueue&>(mailbox().victims()) : channel_->receiver();
  }
  MailboxChannel& mailbox() { return static_cast<MailboxChannel&>(*channel_); }
  void Take(Message* message) {
    if (queue().Take(channel_->control(), nullptr, message) != ReceiveQueue::Taken::kMessage) {
      return;
    }
    page().numbers[page().received] = NumberOf(message->body());
    page().received = page().received + 1;
  }

  const std::unique_ptr<Channel> channel_;
  const bool mailbox_;
  Message messages_[2];
};

// Meanwhile a sender sends an urgent message, and then it or another one that is not.
class BetterOnesCome : public TakeInterrupted {
 public:
  BetterOnesCome(bool mailbox, size_t urgent, size_t bulk)
      : TakeInterrupted(mailbox), urgent_(urgent), bulk_(bulk) {}
  void Meanwhile() override {
    SendAs(*channel_, urgent_, 10, 40, kUrgent);
    SendAs(*channel_, bulk_, 20, 40, kBulk);
  }
  void Check(bool) override {
    EXPECT_TRUE(page().received == 0 || page().numbers[0] == 10)
        << "a receiver is given what was sent after a better one";
  }

 private:
  const size_t urgent_, bulk_;
};

TEST(TakeInterrupted, OfTwoMessagesThatComeMeanwhileTheUrgentOneIsTaken) {
  for (const size_t urgent : {kFirst, kSecond}) {
    for (const size_t bulk : {kFirst, kSecond}) {
      InterruptBoth("TakeWhileBetterOnesCome", [&](bool mailbox) {
        return std::make_unique<BetterOnesCome>(mailbox, urgent, bulk);
      });
    }
  }
}

// Meanwhile two senders to a mailbox send, one after the other.
class TwoSend : public TakeInterrupted {
 public:
  explicit TwoSend(size_t first) : TakeInterrupted(/*mailbox=*/true), first_(first) {}
  void Meanwhile() override {
    SendAs(*channel_, first_, 10, 40);
    SendAs(*channel_, 1 - first_, 20, 40);
  }
  void Check(bool) override {
    EXPECT_TRUE(page().received == 0 || page().numbers[0] == 10) << "not in the queue's order";
  }

 private:
  const size_t first_;
};

TEST(TakeInterrupted, OfTwoMessagesThatComeMeanwhileToAMailboxTheFirstOneIsTaken) {
  for (const size_t first : {kFirst, kSecond}) {
    InterruptAtEachInstruction("TakeWhileTwoSend",
                               [&] { return std::make_unique<TwoSend>(first); });
  }
}

// Meanwhile a new sender joins, and sends before another does.
class OneJoins : public TakeInterrupted {
 public:
  explicit OneJoins(bool mailbox) : TakeInterrupted(mailbox) { third_ = channel_->NewSender(); }
  void Meanwhile() override {
    channel_->Join(third_);
    SendAs(*channel_, third_, 10, 40, kUrgent);
    SendAs(*channel_, kFirst, 20, 40);
  }
  // The victim cannot be told of the one that has joined here, but sees that it knows too little.
  void Check(bool) override {
    EXPECT_EQ(page().received, 0u) << "a message of one who had joined is passed over";
  }

 private:
  size_t third_ = 0;
};

TEST(TakeInterrupted, AReceiverDoesNotPassOverOneThatJoinsMeanwhile) {
  InterruptBoth("TakeWhileOneJoins",
                [](bool mailbox) { return std::make_unique<OneJoins>(mailbox); });
}

// Meanwhile the senders write to whatever room they have.
class RoomIsUsedAgain : public TakeInterrupted {
 public:
  RoomIsUsedAgain(bool mailbox, size_t size) : TakeInterrupted(mailbox), size_(size) {
    OutgoingLane& lane = channel_->lane(kFirst);
    while (Fill(100 + sent_)) ++sent_;
    lane.ParkForRoom();
  }
  void Act() override {
    for (Message& message : messages_) Take(&message);
  }
  void Meanwhile() override {
    for (uint64_t number = 500; Fill(number); ++number) {
    }
  }
  void Check(bool) override {
    EXPECT_FALSE(page().broken) << "overwritten while it was read";
    EXPECT_EQ(page().received, 2u);
    for (uint64_t i = 0; i < 2; ++i) EXPECT_EQ(page().numbers[i], 100 + i);
    // Of an inbox the victim is the only receiver.
    if (!mailbox_) return;
    for (const Received& each : TakeAll(channel_->receiver(), *channel_)) {
      EXPECT_TRUE(each.intact);
    }
  }

 private:
  // What comes later has another size, so that it does not stand where its like has stood.
  bool Fill(uint64_t number) {
    return channel_->lane(kFirst)
        .Send(kBulk, {{}, MakeBody(number, number < 500 ? size_ : size_ / 3)}, absl::InfinitePast())
        .ok();
  }

  const size_t size_;
  uint64_t sent_ = 0;
};

TEST(TakeInterrupted, WhatIsTakenIsNotOverwrittenMeanwhile) {
  for (const size_t size : {90, 200}) {
    if (size > 90 && !AllRegions()) continue;
    InterruptBoth("TakeWhileRoomIsUsedAgain",
                  [&](bool mailbox) { return std::make_unique<RoomIsUsedAgain>(mailbox, size); });
  }
}

// Meanwhile the agent declares the receiver gone, and gives what it has claimed back.
class ReceiverIsGone : public TakeInterrupted {
 public:
  explicit ReceiverIsGone(size_t size) : TakeInterrupted(/*mailbox=*/true) {
    for (uint64_t i = 0; i < 2; ++i) SendAs(*channel_, kFirst, 10 + i, size);
  }
  void Meanwhile() override {
    mailbox().DeclareGone();
    mailbox().ReleaseClaims();
  }
  void Check(bool) override {
    const std::vector<Received> received = TakeAll(channel_->receiver(), *channel_);
    uint64_t sum = 0;
    for (const Received& each : received) sum += each.number;
    for (uint64_t i = 0; i < page().received; ++i) sum += page().numbers[i];
    EXPECT_EQ(received.size() + page().received, 2u)
        << "held for ever by one who is gone, or twice";
    EXPECT_EQ(sum, 21u);
    EXPECT_TRUE(channel_->lane(kFirst).Drained()) << "its room is lost";
  }
};

TEST(TakeInterrupted, OneThatIsDeclaredGoneMeanwhileKeepsNothing) {
  // The larger one is shown in place.
  for (const size_t size : {40, 2000}) {
    InterruptAtEachInstruction("TakeWhileDeclaredGone",
                               [&] { return std::make_unique<ReceiverIsGone>(size); });
  }
}

// Meanwhile the agent gives the exclusive right to another: first it takes it from the one that has
// it, then that one's claims.
class RightMoves : public TakeInterrupted {
 public:
  explicit RightMoves(size_t size) : TakeInterrupted(/*mailbox=*/true) {
    mailbox().victims().RequireHolder(kVictim);
    mailbox().others().RequireHolder(kOther);
    channel_->control().holder.store(kVictim);
    for (uint64_t i = 0; i < 2; ++i) SendAs(*channel_, kFirst, 10 + i, size);
  }
  void Meanwhile() override {
    channel_->control().holder.store(0);
    mailbox().ReleaseClaims();
    waiting_ = mailbox().agents_reader(kFirst).Count().waiting;
    channel_->control().holder.store(kOther);
  }
  void Check(bool) override {
    EXPECT_EQ(page().received + waiting_, 2u) << "two had the right at a time";
    EXPECT_EQ(TakeAll(channel_->receiver(), *channel_).size(), waiting_)
        << "the next one does not get what is left";
    EXPECT_TRUE(channel_->lane(kFirst).Drained()) << "its room is lost";
  }

 private:
  uint64_t waiting_ = 0;
};

TEST(TakeInterrupted, OneThatLosesTheExclusiveRightMeanwhileTakesNothingAfterThat) {
  for (const size_t size : {40, 2000}) {
    InterruptAtEachInstruction("TakeWhileRightMoves",
                               [&] { return std::make_unique<RightMoves>(size); });
  }
}

// A receiver parks, and meanwhile a sender begins to stream.
class SenderStreams : public TakeInterrupted {
 public:
  SenderStreams() : TakeInterrupted(/*mailbox=*/false) {
    ringer_ = Ringer(&channel_->bell(), &channel_->gate());
    for (int i = 0; i < 63; ++i) ringer_.Ring();
  }
  void Act() override {
    Parker parker = channel_->NewParker();
    parker.Park();
    Take(&messages_[0]);
  }
  void Meanwhile() override { ringer_.Ring(); }
  void Check(bool) override {
    // Whoever streams is one that the park has had a barrier for, or that the next one will have.
    const bool streams = ringer_.publication() == Publication::kPlain;
    EXPECT_FALSE(streams && channel_->gate().streams.load() != 0)
        << "streams, and there was no barrier for it in the park";
  }

 private:
  Ringer ringer_;
};

TEST(ParkInterrupted, ASenderThatBeginsToStreamMeanwhileHasABarrier) {
  InterruptAtEachInstruction("ParkWhileSenderStreams",
                             [] { return std::make_unique<SenderStreams>(); });
}

}  // namespace
}  // namespace mailrail
