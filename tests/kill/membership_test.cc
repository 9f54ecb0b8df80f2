// The victim comes, makes its channels, and goes.
#include <gtest/gtest.h>

#include "tests/kill/driver.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

class Attaches : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {}
  void Act() override { Attach(); }

  void During(bool killed) override {
    Scenario::During(killed);
    world_.NewcomerGoesOn();
  }
  void After(bool) override { world_.NewcomerGoesOn(); }
};

MAILRAIL_KILL_SCENARIO(AttachToAgent, Attaches);

// Every kind of channel.
class Connects : public Scenario {
 public:
  using Scenario::Scenario;

  void Act() override {
    direct_ = Must(process_->Connect(world_.sleeper_id()));
    mailbox_ = Must(process_->ConnectMailbox("work"));
    receiver_ = Must(process_->OpenMailbox("common"));
  }
  void Finish() override {
    SendNext(*direct_, kSmall);
    SendNext(*mailbox_, kLarge);
  }
  void Leave() override {
    receiver_.reset();
    mailbox_.reset();
    direct_.reset();
    Scenario::Leave();
  }

  void During(bool killed) override {
    Scenario::During(killed);
    world_.NewcomerGoesOn();
  }
  void After(bool killed) override {
    std::vector<Received> received;
    Drain(world_.sleeper().inbox(), &received);
    Drain(world_.from_work(), &received);
    ExpectAllOfTheVictims(received);
    EXPECT_TRUE(killed || page().told == 2);
    world_.NewcomerGoesOn();
  }

 private:
  std::unique_ptr<Sender> direct_, mailbox_;
  std::unique_ptr<Receiver> receiver_;
};

MAILRAIL_KILL_SCENARIO(Connect, Connects);

// Goes, with messages that it has sent and with some that it has not received.
class Detaches : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {
    Attach();
    direct_ = Must(process_->Connect(world_.witness_id()));
    mailbox_ = Must(process_->ConnectMailbox("common"));
    receiver_ = Must(process_->OpenMailbox("work"));
  }
  void BeforeAct() override {
    SendNext(*direct_, kLarge);
    SendNext(*mailbox_, kLarge);
    ReceiveNext(*receiver_, GoOnDeadline());
    held_ = Must(receiver_->Receive(GoOnDeadline()));
    Note(*held_);
  }
  void Act() override {
    held_.reset();
    receiver_.reset();
    mailbox_.reset();
    direct_.reset();
    process_.reset();
  }

  void Ready() override {
    for (int i = 0; i < 4; ++i) SendFromPeer(world_.to_work(), kLarge);
  }
  void During(bool) override {
    // First what the victim has sent, of which one is in "common".
    EXPECT_TRUE(Soon([this] { return witnessed_ == 1; }));
    Drain(world_.from_common(), &received_);
    EXPECT_EQ(received_.size(), 1u);
    Drain(world_.from_work(), &received_);
    EXPECT_EQ(received_.size(), 3u);
    world_.OthersGoOn();
    world_.NewcomerGoesOn();
  }
  // It may have said goodbye before.
  bool MayEnd(EndReason reason) const override {
    return Scenario::MayEnd(reason) || reason == EndReason::kDetached;
  }
  void After(bool) override {
    Drain(world_.from_work(), &received_);
    ExpectAllOfThePeers(received_, /*killed=*/false);
    received_.insert(received_.begin(), to_witness_.begin(), to_witness_.end());
    ExpectAllOfTheVictims(received_);
    const absl::Status room = CheckRoomIsFree(world_.to_work());
    EXPECT_TRUE(room.ok()) << room;
  }

 private:
  std::unique_ptr<Sender> direct_, mailbox_;
  std::unique_ptr<Receiver> receiver_;
  std::unique_ptr<Message> held_;
  std::vector<Received> received_;
};

MAILRAIL_KILL_SCENARIO(Detach, Detaches);

}  // namespace
}  // namespace mailrail
