// Victims that receive from the mailbox "work", for which the other competes.
#ifndef MAILRAIL_TESTS_KILL_COMPETES_H_
#define MAILRAIL_TESTS_KILL_COMPETES_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "tests/kill/scenario.h"

namespace mailrail {

// Acknowledges automatically.
class Competes : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {
    Attach();
    receiver_ = Must(process_->OpenMailbox("work"));
  }
  void Act() override {
    for (int i = 0; i < 4; ++i) ReceiveNext(*receiver_, absl::InfinitePast());
  }
  void Finish() override {
    while (ReceiveNext(*receiver_, absl::InfinitePast())) {
    }
  }
  void Leave() override {
    receiver_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    for (const size_t size : kSizes) SendFromPeer(world_.to_work(), size);
  }
  void During(bool killed) override {
    Scenario::During(killed);
    // All but what the victim has, and what it holds or was taking, is the other's at once.
    Drain(world_.from_work(), &received_);
    EXPECT_GE(received_.size() + page().received + 1, from_peer_);
    SendFromPeer(world_.to_work(), kSmall);
    SendFromPeer(world_.to_work(), kLarge);
    const size_t before = received_.size();
    Drain(world_.from_work(), &received_);
    EXPECT_GE(received_.size(), before + 2);
  }
  void After(bool killed) override {
    // The witness was told of the victim's end after its claims had gone back.
    Drain(world_.from_work(), &received_);
    ExpectAllOfThePeers(received_, killed, given_back());
    const absl::Status room = CheckRoomIsFree(world_.to_work());
    EXPECT_TRUE(room.ok()) << room;
  }

 protected:
  virtual int given_back() const { return 0; }

  std::unique_ptr<Receiver> receiver_;
  std::vector<Received> received_;
};

// Acknowledges by hand: what it has not acknowledged is the others'.
class AcknowledgesByHand : public Competes {
 public:
  using Competes::Competes;

  void Prepare() override {
    Attach();
    receiver_ = Must(process_->OpenMailbox("work", {.acknowledgement = Acknowledgement::kManual}));
  }
  void Act() override {
    // One it gives back, and one goes back as nobody has acknowledged it.
    if (absl::StatusOr<Message> message = receiver_->TryReceive();
        message.ok() && !message->GiveBack().ok()) {
      Victim::Fail("a lease was taken away");
    }
    receiver_->TryReceive().status().IgnoreError();
    for (int i = 0; i < 3; ++i) AcknowledgeNext();
  }
  void Finish() override {
    while (AcknowledgeNext()) {
    }
  }

 private:
  // The first of all, once or twice.
  int given_back() const override { return 1; }

  bool AcknowledgeNext() {
    absl::StatusOr<Message> message = receiver_->TryReceive();
    if (!message.ok()) return false;
    if (!message->Acknowledge().ok()) Victim::Fail("a lease was taken away");
    // From now on nobody else has it.
    Note(*message, /*may_come_again=*/true);
    return true;
  }
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_KILL_COMPETES_H_
