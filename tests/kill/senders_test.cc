// The victim is a sender.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "core/base/step.h"
#include "tests/kill/driver.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

// To the inbox of the witness, or to the mailbox "work".
enum class To { kInbox, kMailbox };

class Sends : public Scenario {
 public:
  Sends(World* world, To to, size_t size, std::vector<int> priorities = {0, 0})
      : Scenario(world), to_(to), size_(size), priorities_(std::move(priorities)) {}

  void Prepare() override {
    Attach();
    sender_ = Must(to_ == To::kInbox ? process_->Connect(world_.witness_id())
                                     : process_->ConnectMailbox("work"));
    SendNext(*sender_, size_);
  }
  void Act() override {
    for (const int priority : priorities_) SendNext(*sender_, size_, priority);
  }
  // One that was stopped goes on.
  void Finish() override { SendNext(*sender_, size_); }
  void Leave() override {
    sender_.reset();
    Scenario::Leave();
  }

  void During(bool killed) override {
    Scenario::During(killed);
    Take();
    if (to_ == To::kMailbox) {
      EXPECT_GE(received_.size(), page().told);
      SendFromPeer(world_.to_work(), size_);
      Take();
    }
    // What it was told OK for needs nothing more of it.
    EXPECT_TRUE(Soon([this] { return to_ == To::kMailbox || witnessed_ >= page().told; }));
  }
  void Meanwhile() override { Take(); }
  void After(bool killed) override {
    Take();
    ExpectAllOfTheVictims(to_ == To::kInbox ? to_witness_ : received_);
    ExpectAllOfThePeers(received_, /*killed=*/false);
    EXPECT_TRUE(killed || page().told == page().attempted);
  }

 protected:
  void Take() {
    if (to_ == To::kMailbox) Drain(world_.from_work(), &received_);
  }

  const To to_;
  const size_t size_;
  const std::vector<int> priorities_;
  std::unique_ptr<Sender> sender_;
  std::vector<Received> received_;
};

// Goes beyond what is reserved of a ring, in messages of 64 lines: reserves more, or, where a ring
// that is received goes round rather than grow, pads it.
class GoesBeyond : public Sends {
 public:
  // `before`: how many it has sent before. A ring has 256 lines after the first and 1024 after the
  // eighth, one of which is left; then it goes round.
  GoesBeyond(World* world, int before) : Sends(world, To::kInbox, kFull, {0, 0}), before_(before) {}

  void Prepare() override {
    Sends::Prepare();
    for (int i = 1; i < before_; ++i) SendNext(*sender_, kFull);
  }
  void Ready() override {
    EXPECT_TRUE(Soon([this] { return witnessed_ == page().told; }));
  }

 private:
  static constexpr size_t kFull = 4080;
  const int before_;
};

// Writes in place: one message that it lets go of, and one that it sends.
class Claims : public Sends {
 public:
  Claims(World* world, To to) : Sends(world, to, kLarge) {}

  void Act() override {
    {
      absl::StatusOr<ClaimedMessage> abandoned = sender_->Claim(kLarge, {}, GoOnDeadline());
      if (!abandoned.ok()) Victim::Fail(abandoned.status().ToString());
      Write(99, *abandoned);
    }
    absl::StatusOr<ClaimedMessage> claimed = sender_->Claim(kLarge, {}, GoOnDeadline());
    if (!claimed.ok()) Victim::Fail(claimed.status().ToString());
    const uint64_t number = page().told + 1;
    Write(number, *claimed);
    page().attempted = number;
    if (!claimed->Commit(GoOnDeadline()).ok()) Victim::Fail("Commit");
    page().told = number;
  }
  // The room of the abandoned one is back, and, once they are received, that of the others.
  void Finish() override {
    const absl::Status status = CheckRoomIsFree(*sender_);
    if (!status.ok()) Victim::Fail(status.ToString());
  }

 private:
  static void Write(uint64_t number, const ClaimedMessage& message) {
    const std::string body = MakeBody(number, kLarge);
    StepsOfCopy(message.body().data(), body.data(), body.size());
    memcpy(message.body().data(), body.data(), body.size());
    Step();
  }
};

MAILRAIL_KILL_SCENARIO(SendSmallToInbox, Sends, To::kInbox, kSmall);
MAILRAIL_KILL_SCENARIO(SendSmallToMailbox, Sends, To::kMailbox, kSmall);
MAILRAIL_KILL_SCENARIO(SendLargeToInbox, Sends, To::kInbox, kLarge);
MAILRAIL_KILL_SCENARIO(SendLargeToMailbox, Sends, To::kMailbox, kLarge);
MAILRAIL_KILL_SCENARIO(GrowLaneToInbox, Sends, To::kInbox, kSmall, std::vector<int>({3, 30, 3}));
MAILRAIL_KILL_SCENARIO(GrowLaneToMailbox, Sends, To::kMailbox, kSmall,
                       std::vector<int>({3, 30, 3}));
MAILRAIL_KILL_SCENARIO(ReserveMoreOfARing, GoesBeyond, 3);
MAILRAIL_KILL_SCENARIO(GoRoundTheRing, GoesBeyond, 15);
MAILRAIL_KILL_SCENARIO(ClaimAndAbandonToInbox, Claims, To::kInbox);
MAILRAIL_KILL_SCENARIO(ClaimAndAbandonToMailbox, Claims, To::kMailbox);

// What the sleeper finds, who sleeps in a thread of its own until it has found `last`.
class Sleeper {
 public:
  Sleeper(Receiver* receiver, uint64_t last)
      : thread_([=, this] {
          receiver->set_wait_mode(WaitMode::kBlock);
          tid_ = gettid();
          while (true) {
            const absl::StatusOr<Message> message = receiver->Receive(GoOnDeadline());
            EXPECT_TRUE(message.ok()) << message.status();
            if (!message.ok()) return;
            received_.emplace_back(*message);
            ++found_;
            if (received_.back().number >= kFirstOfPeer) last_of_peer_ = received_.back().number;
            if (received_.back().number == last) return;
          }
        }) {
    WaitUntilAsleep(tid_);
  }
  ~Sleeper() {
    if (thread_.joinable()) thread_.join();
  }

  uint64_t found() const { return found_; }
  // The last of the peer's, which have numbers from kFirstOfPeer on.
  static constexpr uint64_t kFirstOfPeer = 1000;
  uint64_t last_of_peer() const { return last_of_peer_; }
  const std::vector<Received>& Join() {
    thread_.join();
    return received_;
  }

 private:
  std::atomic<pid_t> tid_ = 0;
  std::atomic<uint64_t> found_ = 0;
  std::atomic<uint64_t> last_of_peer_ = 0;
  std::vector<Received> received_;
  std::thread thread_;
};

// Wakes a receiver that sleeps. One that it does not come to wake wakes by itself.
class Wakes : public Scenario {
 public:
  Wakes(World* world, To to) : Scenario(world), to_(to) {}

  void Prepare() override {
    Attach();
    sender_ = Must(to_ == To::kInbox ? process_->Connect(world_.sleeper_id())
                                     : process_->ConnectMailbox("bed"));
  }
  void Act() override { SendNext(*sender_, kSmall); }
  void Leave() override {
    sender_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    sleeper_.emplace(to_ == To::kInbox ? &world_.sleeper().inbox() : &world_.from_bed(), kLast);
  }
  void During(bool killed) override {
    Scenario::During(killed);
    EXPECT_TRUE(Soon([this] { return sleeper_->found() >= page().told; }));
    // Not told OK: it may have been published all the same, and then the sleeper finds it without
    // any bell. If it does not find it in so long, it is not there when another message wakes it.
    for (int i = 0; i < 200 && sleeper_->found() == 0; ++i) usleep(1000);
    const uint64_t found = sleeper_->found();
    from_peer_ = Sleeper::kFirstOfPeer - 1;
    SendFromPeer(to_sleeper(), kSmall);
    EXPECT_TRUE(Soon([this] { return sleeper_->last_of_peer() == from_peer_; }));
    EXPECT_EQ(sleeper_->found(), found + 1) << "a message was there, and not noticed";
  }
  void After(bool killed) override {
    SendFromPeer(to_sleeper(), kSmall);
    ExpectAllOfTheVictims(sleeper_->Join());
    EXPECT_TRUE(killed || page().told == 1);
  }

 private:
  static constexpr uint64_t kLast = Sleeper::kFirstOfPeer + 1;

  // The peer's.
  Sender& to_sleeper() { return to_ == To::kInbox ? world_.to_sleeper() : world_.to_bed(); }

  const To to_;
  std::unique_ptr<Sender> sender_;
  std::optional<Sleeper> sleeper_;
};

MAILRAIL_KILL_SCENARIO(WakeAtInbox, Wakes, To::kInbox);
MAILRAIL_KILL_SCENARIO(WakeAtMailbox, Wakes, To::kMailbox);

// Sleeps for room that does not come in its time, and so does not send.
class SleepsForRoom : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {
    Attach();
    sender_ = Must(process_->ConnectMailbox("tight"));
    SendNext(*sender_, kSmall);
  }
  void Act() override { SendNext(*sender_, kSmall, 0, absl::Now() + absl::Milliseconds(5)); }
  // Now there is room.
  void Finish() override {
    if (!SendNext(*sender_, kSmall)) Victim::Fail("no room for one that was stopped");
  }
  void Leave() override {
    sender_.reset();
    Scenario::Leave();
  }

  void Ready() override { SendFromPeer(world_.to_tight(), kSmall); }
  void During(bool killed) override {
    Scenario::During(killed);
    Drain(world_.from_tight(), &received_);
    EXPECT_GE(received_.size(), 2u);
    // Nobody else sleeps for the victim's room.
    SendFromPeer(world_.to_tight(), kSmall);
    Drain(world_.from_tight(), &received_);
    EXPECT_GE(received_.size(), 3u);
  }
  void Meanwhile() override { Drain(world_.from_tight(), &received_); }
  void After(bool) override {
    Drain(world_.from_tight(), &received_);
    ExpectAllOfTheVictims(received_);
    ExpectAllOfThePeers(received_, /*killed=*/false);
  }

 private:
  std::unique_ptr<Sender> sender_;
  std::vector<Received> received_;
};

MAILRAIL_KILL_SCENARIO(ParkForRoom, SleepsForRoom);

}  // namespace
}  // namespace mailrail
