// The victim is a receiver of a mailbox that says which messages it gets.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/kill/driver.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

// Leases from the mailbox "strict", as the other does. Whoever has a message logs it before it
// acknowledges it. So, as nothing of the peer's is handed out while an earlier message is held, the
// log, of both together, has the order in which they were sent.
class HoldsUpOthers : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {
    Attach();
    receiver_ = Must(process_->OpenMailbox("strict", kByHand));
  }
  void Act() override {
    AcknowledgeNext();
    // One it gives back, and has again.
    if (absl::StatusOr<Message> message = receiver_->TryReceive(); message.ok()) {
      LogAsVictim(*message);
      if (!message->GiveBack().ok()) Victim::Fail("a lease was taken away");
    }
    for (int i = 0; i < 2; ++i) AcknowledgeNext();
  }
  void Finish() override {
    while (AcknowledgeNext()) {
    }
  }
  void Leave() override {
    receiver_.reset();
    Scenario::Leave();
  }

  void Ready() override {
    for (const size_t size : kSizes) SendFromPeer(world_.to_strict(), size);
  }
  void During(bool killed) override {
    Scenario::During(killed);
    if (killed) return TakeAll();
    const absl::StatusOr<MailboxState> state = world_.peer().StatMailbox("strict");
    ASSERT_TRUE(state.ok()) << state.status();
    const uint64_t logged = page().received;
    TakeAll();
    if (state->leased > 0) {
      EXPECT_EQ(page().received, logged) << "handed out beside what the victim holds";
    } else {
      EXPECT_EQ(LastLogged(), from_peer_) << "nothing is held, and something held up";
    }
  }
  void Meanwhile() override { TakeAll(); }
  void After(bool) override {
    TakeAll();
    EXPECT_EQ(LastLogged(), from_peer_);
    // What it had given back, or held when it was killed.
    EXPECT_LE(marked_, 1);
    const absl::Status room = CheckRoomIsFree(world_.to_strict());
    EXPECT_TRUE(room.ok()) << room;
  }

 private:
  static constexpr ReceiveOptions kByHand = {.acknowledgement = Acknowledgement::kManual};

  static uint64_t LastLogged() {
    return page().received == 0 ? 0 : page().numbers[page().received - 1];
  }
  // Logs a message that is leased; what is wrong with it, or nothing.
  static std::string Log(const Message& message) {
    const uint64_t number = NumberOf(message.body()), last = LastLogged();
    page().numbers[page().received] = number;
    ++page().received;
    if (!IsIntact(message.body())) return "a torn body";
    if (number == last + 1 || (number == last && message.redelivered())) return "";
    return absl::StrCat(number, message.redelivered() ? ", marked," : "", " comes after ", last);
  }
  static void LogAsVictim(const Message& message) {
    if (const std::string wrong = Log(message); !wrong.empty()) Victim::Fail(wrong);
  }

  // In the victim.
  bool AcknowledgeNext() {
    absl::StatusOr<Message> message = receiver_->TryReceive();
    if (!message.ok()) return false;
    LogAsVictim(*message);
    if (!message->Acknowledge().ok()) Victim::Fail("a lease was taken away");
    return true;
  }
  // The other takes all that it may.
  void TakeAll() {
    while (true) {
      absl::StatusOr<Message> message = world_.from_strict().TryReceive();
      if (!message.ok()) return;
      EXPECT_EQ(Log(*message), "");
      marked_ += message->redelivered();
      EXPECT_TRUE(message->Acknowledge().ok());
    }
  }

  std::unique_ptr<Receiver> receiver_;
  int marked_ = 0;
};

MAILRAIL_KILL_SCENARIO(HoldUpOthers, HoldsUpOthers);

// Receives its share of a mailbox that assigns its messages to its receivers; the other has the
// rest, and all when the victim is dead.
class TakesItsShare : public Scenario {
 public:
  TakesItsShare(World* world, Distribution distribution)
      : Scenario(world), in_turn_(distribution == Distribution::kRoundRobin) {}

  void Prepare() override {
    Attach();
    receiver_ = Must(process_->OpenMailbox(in_turn_ ? "rota" : "keyed"));
  }
  void Act() override {
    for (int i = 0; i < 3; ++i) ReceiveNext(*receiver_, absl::InfinitePast());
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
    // In turn each gets a small one, then a large one.
    for (int i = 0; i < 16; ++i) SendFromPeer(to(), in_turn_ && i % 4 > 1 ? kLarge : kSmall);
  }
  void During(bool killed) override {
    Scenario::During(killed);
    Take();
    for (int i = 0; i < 2; ++i) SendFromPeer(to(), kSmall);
    Take();
    if (killed) return;
    // The other has its share, and nothing else.
    others_ = received_.size();
    EXPECT_TRUE(!in_turn_ || others_ == from_peer_ / 2) << others_;
  }
  void After(bool killed) override {
    // The witness was told of the victim's end after its share had gone to the other.
    Take();
    ExpectAllOfThePeers(received_, killed);
    const absl::Status room = CheckRoomIsFree(to());
    EXPECT_TRUE(room.ok()) << room;
    if (killed) return;
    EXPECT_EQ(received_.size(), others_);
    std::set<uint64_t> groups;
    for (const Received& message : received_) groups.insert(GroupOf(message.number));
    for (uint64_t i = 0; i < page().received; ++i) {
      EXPECT_FALSE(groups.contains(GroupOf(page().numbers[i]))) << page().numbers[i];
    }
  }

 protected:
  SendOptions OptionsOf(uint64_t number) const override {
    SendOptions options;
    if (!in_turn_) options.key = absl::StrCat("key", GroupOf(number));
    return options;
  }
  uint64_t GroupOf(const Received& message) const override { return GroupOf(message.number); }

 private:
  // One receiver has all messages of a group.
  uint64_t GroupOf(uint64_t number) const { return number % (in_turn_ ? 2 : 8); }
  Sender& to() { return in_turn_ ? world_.to_rota() : world_.to_keyed(); }
  void Take() { Drain(in_turn_ ? world_.from_rota() : world_.from_keyed(), &received_); }

  const bool in_turn_;
  std::unique_ptr<Receiver> receiver_;
  std::vector<Received> received_;
  size_t others_ = 0;
};

MAILRAIL_KILL_SCENARIO(TakeTurns, TakesItsShare, Distribution::kRoundRobin);
MAILRAIL_KILL_SCENARIO(TakeKeys, TakesItsShare, Distribution::kStickyByKey);

}  // namespace
}  // namespace mailrail
