// The sender asks for receipts, and is the victim; or the receiver is.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/kill/competes.h"
#include "tests/kill/driver.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

// Sends to the mailbox "work", and reads its receipts.
class Asks : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {
    Attach();
    sender_ = Must(process_->ConnectMailbox("work"));
    for (int i = 0; i < kBefore; ++i) Ask(i % 2 == 0 ? kSmall : kLarge);
  }
  void Act() override {
    // It takes the room back of those before, which are received by now, and whose ends it has not
    // read.
    Ask(kSmall);
    for (int i = 0; i < 2; ++i) {
      if (!ReadReceipt(GoOnDeadline())) Victim::Fail("no receipt");
    }
    Ask(kLarge);
    for (int i = 2; i < kBefore; ++i) ReadReceipt(GoOnDeadline());
    // In vain, but for one that was stopped: others go on meanwhile.
    ReadReceipt(absl::Now() + absl::Milliseconds(3));
  }
  void Finish() override {
    while (page().received < page().told) {
      if (!ReadReceipt(GoOnDeadline())) Victim::Fail("a receipt is lost");
    }
    if (!absl::IsNotFound(sender_->NextReceipt().status())) Victim::Fail("one more");
  }
  void Leave() override {
    sender_.reset();
    Scenario::Leave();
  }

  void Ready() override { Take(); }
  void During(bool killed) override {
    Scenario::During(killed);
    // Until now nobody has received what it has sent in the window.
    Take();
    EXPECT_GE(received_.size(), page().told);
    SendFromPeer(world_.to_work(), kSmall);
    Take();
  }
  void Meanwhile() override { Take(); }
  void After(bool killed) override {
    Take();
    ExpectAllOfTheVictims(received_);
    std::set<uint64_t> received;
    for (const Received& message : received_) {
      if (message.sender == victim_) received.insert(message.number);
    }
    EXPECT_EQ(received_.size(), received.size() + from_peer_);
    // What it was told is true.
    for (uint64_t i = 0; i < page().received; ++i) {
      EXPECT_TRUE(received.contains(page().numbers[i])) << page().numbers[i];
    }
    EXPECT_TRUE(killed || page().received == page().told);
  }

 private:
  // As many as a sender sends before it looks which are done.
  static constexpr int kBefore = 16;

  void Take() { Drain(world_.from_work(), &received_); }

  // The receipt of a message is its number.
  void Ask(size_t size) {
    const uint64_t number = page().told + 1;
    page().attempted = number;
    const absl::Status status =
        sender_->Send(MakeBody(number, size), {.receipt = number}, GoOnDeadline());
    if (!status.ok()) Victim::Fail(status.ToString());
    page().told = number;
  }

  // Reads and notes one; false when there is none.
  bool ReadReceipt(absl::Time deadline) {
    const absl::StatusOr<Receipt> receipt = sender_->NextReceipt(deadline);
    if (absl::IsDeadlineExceeded(receipt.status())) return false;
    if (!receipt.ok()) Victim::Fail(receipt.status().ToString());
    if (receipt->outcome != Receipt::Outcome::kReceived ||
        receipt->receiver.ToString() != world_.other_id()) {
      Victim::Fail(absl::StrCat(receipt->receipt, " was received by the other, not by ",
                                receipt->receiver.ToString()));
    }
    for (uint64_t i = 0; i < page().received; ++i) {
      if (page().numbers[i] == receipt->receipt) Victim::Fail("a receipt comes twice");
    }
    page().numbers[page().received] = receipt->receipt;
    ++page().received;
    return true;
  }

  std::unique_ptr<Sender> sender_;
  std::vector<Received> received_;
};

MAILRAIL_KILL_SCENARIO(AskForReceipts, Asks);

// A victim that competes for the messages of the peer, which wants a receipt for each.
template <typename Competing>
class ForReceipts : public Competing {
 public:
  using Competing::Competing;

  void During(bool killed) override {
    Competing::During(killed);
    // What others have received has its end, wherever the victim stands.
    ReadReceipts().IgnoreError();
    for (const Received& message : this->received_) {
      EXPECT_TRUE(receivers_.contains(message.number)) << message.number << " has no end";
    }
  }
  void After(bool killed) override {
    Competing::After(killed);
    // Of what was received for the victim, and not noted, it is told so too: nobody else has it.
    std::set<uint64_t> others;
    for (const Received& message : this->received_) others.insert(message.number);
    EXPECT_TRUE(absl::IsNotFound(ReadReceipts()));
    EXPECT_EQ(receivers_.size(), this->from_peer_) << "a message without an end";
    for (const auto& [number, receiver] : receivers_) {
      EXPECT_EQ(receiver, others.contains(number) ? this->world_.other().id() : this->victim_)
          << number;
    }
  }

 protected:
  SendOptions OptionsOf(uint64_t number) const override {
    SendOptions options;
    options.receipt = number;
    return options;
  }

 private:
  // All that there are; why there is not one more.
  absl::Status ReadReceipts() {
    while (true) {
      const absl::StatusOr<Receipt> receipt =
          this->world_.to_work().NextReceipt(absl::InfinitePast());
      if (!receipt.ok()) return receipt.status();
      EXPECT_EQ(receipt->outcome, Receipt::Outcome::kReceived) << receipt->receipt;
      EXPECT_TRUE(receivers_.emplace(receipt->receipt, receipt->receiver).second)
          << receipt->receipt << " ends twice";
    }
  }

  std::map<uint64_t, ProcessId> receivers_;  // by what the receipts say
};

MAILRAIL_KILL_SCENARIO(ClaimForReceipts, ForReceipts<Competes>);
MAILRAIL_KILL_SCENARIO(AcknowledgeForReceipts, ForReceipts<AcknowledgesByHand>);

}  // namespace
}  // namespace mailrail
