// The victim is a sender to the broadcast mailbox "news", which has three receivers.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

#include "tests/kill/driver.h"

namespace mailrail {
namespace {

class Broadcasts : public Scenario {
 public:
  using Scenario::Scenario;

  void Prepare() override {
    Attach();
    Connect();
    SendNext(*sender_, kSmall);
  }
  // Each of them to all receivers: cut off in between, the last one may have reached some.
  void Act() override {
    SendNext(*sender_, kSmall);
    SendNext(*sender_, kLarge);
  }
  // One that was stopped goes on where it was.
  void Finish() override { SendNext(*sender_, kSmall); }
  void Leave() override {
    sender_.reset();
    Scenario::Leave();
  }

  void During(bool killed) override {
    Scenario::During(killed);
    Take();
    for (const std::vector<Received>& received : received_) {
      EXPECT_GE(received.size(), page().told);
    }
    // All of them go on at once, wherever the victim stands.
    SendFromPeer(world_.to_news(), kSmall);
    SendFromPeer(world_.to_news(), kLarge);
    Take();
    for (const std::vector<Received>& received : received_) {
      EXPECT_GE(received.size(), page().told + from_peer_);
    }
  }
  void Meanwhile() override { Take(); }
  void After(bool killed) override {
    Take();
    for (const std::vector<Received>& received : received_) {
      ExpectAllOfTheVictims(received);
      ExpectAllOfThePeers(received, /*killed=*/false);
    }
    EXPECT_TRUE(killed || page().told == page().attempted);
  }

 protected:
  void Connect() { sender_ = Must(process_->ConnectMailbox("news")); }

  std::unique_ptr<Sender> sender_;

 private:
  void Take() {
    for (size_t i = 0; i < received_.size(); ++i) Drain(*world_.from_news()[i], &received_[i]);
  }

  std::array<std::vector<Received>, 3> received_;
};

// In the window it asks for its lanes, and sends the first message.
class BeginsToBroadcast : public Broadcasts {
 public:
  using Broadcasts::Broadcasts;

  void Prepare() override { Attach(); }
  void Act() override {
    Connect();
    SendNext(*sender_, kSmall);
  }
};

MAILRAIL_KILL_SCENARIO(SendToBroadcastMailbox, Broadcasts);
MAILRAIL_KILL_SCENARIO(BeginToBroadcast, BeginsToBroadcast);

}  // namespace
}  // namespace mailrail
