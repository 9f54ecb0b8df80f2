// The victim is a receiver.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/kill/competes.h"
#include "tests/kill/driver.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

// Receives from its own inbox, to which the peer alone sends.
class Receives : public Scenario {
 public:
  using Scenario::Scenario;

  void Act() override {
    for (int i = 0; i < 4; ++i) {
      if (!ReceiveNext(process_->inbox(), GoOnDeadline())) Victim::Fail("nothing to receive");
    }
  }
  void Finish() override {
    while (page().received < page().expected) {
      if (!ReceiveNext(process_->inbox(), GoOnDeadline())) Victim::Fail("a message is lost");
    }
    for (uint64_t i = 0; i < page().received; ++i) {
      if (page().numbers[i] != i + 1) Victim::Fail("out of order");
    }
  }

  void Ready() override {
    to_victim_ = std::make_unique<Sender>(*world_.peer().Connect(victim_));
    for (const size_t size : kSizes) SendFromPeer(*to_victim_, size);
  }
  void During(bool killed) override {
    Scenario::During(killed);
    if (!killed) {
      // Who sends to it does not wait for it.
      SendFromPeer(*to_victim_, kSmall);
      SendFromPeer(*to_victim_, kLarge);
    }
    page().expected = from_peer_;
  }
  void After(bool killed) override {
    EXPECT_TRUE(killed || page().received == page().expected);
    // Its senders find out.
    absl::Status status;
    EXPECT_TRUE(Soon([&] {
      status = to_victim_->Send("x", {}, absl::InfinitePast());
      return !status.ok() && !absl::IsDeadlineExceeded(status);
    }));
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    to_victim_.reset();
  }

 protected:
  std::unique_ptr<Sender> to_victim_;  // the peer's
};

MAILRAIL_KILL_SCENARIO(ReceiveFromInbox, Receives);

MAILRAIL_KILL_SCENARIO(ClaimInCompetingMailbox, Competes);
MAILRAIL_KILL_SCENARIO(AcknowledgeByHand, AcknowledgesByHand);

// Receives from the exclusive mailbox "turn", which it has opened first, and the other after it.
class Holds : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {
    Attach();
    receiver_ = Must(process_->OpenMailbox("turn"));
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
    next_ = std::make_unique<Receiver>(*world_.other().OpenMailbox("turn"));
    for (const size_t size : kSizes) SendFromPeer(world_.to_turn(), size);
  }
  void During(bool killed) override {
    Scenario::During(killed);
    SendFromPeer(world_.to_turn(), kSmall);
    Drain(*next_, &received_);
    EXPECT_TRUE(killed || received_.empty()) << "two have the right";
  }
  void After(bool killed) override {
    // The witness was told of the victim's end after the right had gone to the next.
    Drain(*next_, &received_);
    EXPECT_TRUE(killed || received_.empty());
    ExpectAllOfThePeers(received_, killed);
    const absl::Status room = CheckRoomIsFree(world_.to_turn());
    EXPECT_TRUE(room.ok()) << room;
    next_.reset();
  }

 private:
  std::unique_ptr<Receiver> receiver_;  // the victim's
  std::unique_ptr<Receiver> next_;
  std::vector<Received> received_;
};

MAILRAIL_KILL_SCENARIO(ReceiveFromExclusiveMailbox, Holds);

// Lets go of large bodies, which it has received as views, one after the other.
class AcknowledgesInbox : public Receives {
 public:
  using Receives::Receives;

  void BeforeAct() override {
    for (int i = 0; i < 4; ++i) {
      absl::StatusOr<Message> message = process_->inbox().Receive(GoOnDeadline());
      if (!message.ok()) Victim::Fail(message.status().ToString());
      Note(*message);
      held_.push_back(*std::move(message));
    }
  }
  void Act() override {
    while (!held_.empty()) {
      if (!IsIntact(held_.front().body())) Victim::Fail("a body was overwritten");
      held_.pop_front();
    }
  }
  void Ready() override {
    to_victim_ = std::make_unique<Sender>(*world_.peer().Connect(victim_));
    for (int i = 0; i < 4; ++i) SendFromPeer(*to_victim_, kLarge);
  }

 private:
  std::deque<Message> held_;
};

class AcknowledgesMailbox : public Competes {
 public:
  using Competes::Competes;

  void BeforeAct() override {
    for (int i = 0; i < 4; ++i) {
      absl::StatusOr<Message> message = receiver_->Receive(GoOnDeadline());
      if (!message.ok()) Victim::Fail(message.status().ToString());
      Note(*message);
      held_.push_back(*std::move(message));
    }
  }
  void Act() override {
    while (!held_.empty()) {
      if (!IsIntact(held_.front().body())) Victim::Fail("a body was overwritten");
      held_.pop_front();
    }
  }
  void Ready() override {
    for (int i = 0; i < 4; ++i) SendFromPeer(world_.to_work(), kLarge);
  }
  void After(bool) override {
    // What was taken stays taken.
    Drain(world_.from_work(), &received_);
    ExpectAllOfThePeers(received_, /*killed=*/false);
    const absl::Status room = CheckRoomIsFree(world_.to_work());
    EXPECT_TRUE(room.ok()) << room;
  }

 private:
  std::deque<Message> held_;
};

MAILRAIL_KILL_SCENARIO(AcknowledgeInInbox, AcknowledgesInbox);
MAILRAIL_KILL_SCENARIO(AcknowledgeInMailbox, AcknowledgesMailbox);

// Sleeps in vain: at its inbox, at a mailbox, and at both.
class Parks : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {
    Attach();
    receiver_ = Must(process_->OpenMailbox("work"));
    receiver_->set_wait_mode(WaitMode::kBlock);
    process_->inbox().set_wait_mode(WaitMode::kBlock);
  }
  void Act() override {
    ReceiveNext(*receiver_, absl::Now() + absl::Milliseconds(3));
    has_direct_ = ReceiveDirect(absl::Now() + absl::Milliseconds(3));
    (void)WaitAny({&process_->inbox(), receiver_.get()}, absl::Now() + absl::Milliseconds(3));
  }
  // The peer has sent to it.
  void Finish() override {
    while (ReceiveNext(*receiver_, absl::InfinitePast())) {
    }
    if (!has_direct_ && !ReceiveDirect(GoOnDeadline())) Victim::Fail("a message is lost");
  }
  void Leave() override {
    receiver_.reset();
    Scenario::Leave();
  }

  void Ready() override { to_victim_ = std::make_unique<Sender>(*world_.peer().Connect(victim_)); }
  void During(bool killed) override {
    Scenario::During(killed);
    // Who waits there with it is served, and who sends to it does not wait.
    SendFromPeer(world_.to_work(), kSmall);
    Drain(world_.from_work(), &received_);
    EXPECT_EQ(received_.size(), 1u);
    const absl::Status status =
        to_victim_->Send(MakeBody(kDirect, kSmall), {}, absl::InfinitePast());
    EXPECT_TRUE(status.ok() || killed) << status;
  }
  void After(bool killed) override {
    Drain(world_.from_work(), &received_);
    ExpectAllOfThePeers(received_, killed);
    to_victim_.reset();
  }

 private:
  static constexpr uint64_t kDirect = 77;

  bool ReceiveDirect(absl::Time deadline) {
    const absl::StatusOr<Message> message = process_->inbox().Receive(deadline);
    if (absl::IsDeadlineExceeded(message.status())) return false;
    if (!message.ok() || message->body() != MakeBody(kDirect, kSmall)) Victim::Fail("not whole");
    return true;
  }

  bool has_direct_ = false;
  std::unique_ptr<Receiver> receiver_;
  std::unique_ptr<Sender> to_victim_;
  std::vector<Received> received_;
};

MAILRAIL_KILL_SCENARIO(Park, Parks);

// Makes room in the full mailbox "tight", for which the peer sleeps.
class WakesSender : public Scenario {
 public:
  WakesSender(World* world, size_t size) : Scenario(world), size_(size) {}

  void Prepare() override {
    Attach();
    receiver_ = Must(process_->OpenMailbox("tight"));
  }
  void Act() override { ReceiveNext(*receiver_, absl::InfinitePast()); }
  void Finish() override {
    while (ReceiveNext(*receiver_, absl::InfinitePast())) {
    }
  }
  void Leave() override {
    receiver_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    SendFromPeer(world_.to_tight(), size_);
    from_peer_ = 2;
    peer_ = std::thread([this] {
      tid_ = gettid();
      const absl::Status status =
          world_.to_tight().Send(MakeBody(2, size_), {}, absl::Now() + absl::Seconds(20));
      EXPECT_TRUE(status.ok()) << status;
      sent_ = true;
    });
    WaitUntilAsleep(tid_);
  }
  void During(bool killed) override {
    Scenario::During(killed);
    // If the victim has let the first one go, the second one is sent, whether or not it has rung;
    // if it has not claimed it, the other takes it. Only a large one can it hold: then there is no
    // room until it goes on, or the other has what was the victim's.
    Drain(world_.from_tight(), &received_);
    if (killed && size_ == kLarge) {
      EXPECT_TRUE(Soon([this] {
        Drain(world_.from_tight(), &received_);
        return sent_.load();
      }));
    } else if (size_ == kSmall || !received_.empty()) {
      EXPECT_TRUE(Soon([this] { return sent_.load(); }));
    }
  }
  void Meanwhile() override { Drain(world_.from_tight(), &received_); }
  void After(bool killed) override {
    EXPECT_TRUE(Soon([this] {
      Drain(world_.from_tight(), &received_);
      return sent_.load();
    }));
    peer_.join();
    Drain(world_.from_tight(), &received_);
    ExpectAllOfThePeers(received_, killed);
  }

 private:
  const size_t size_;
  std::unique_ptr<Receiver> receiver_;
  std::vector<Received> received_;
  std::thread peer_;
  std::atomic<pid_t> tid_ = 0;  // of peer_
  std::atomic<bool> sent_ = false;
};

MAILRAIL_KILL_SCENARIO(WakeASenderSmall, WakesSender, kSmall);
MAILRAIL_KILL_SCENARIO(WakeASenderLarge, WakesSender, kLarge);

}  // namespace
}  // namespace mailrail
