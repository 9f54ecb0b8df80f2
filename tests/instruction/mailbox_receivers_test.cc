// The victim receives from a mailbox, for which another competes.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/instruction/others.h"
#include "tests/instruction/region.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

using Outcome = MailboxQueue::Outcome;

enum class How {
  kTake,         // and lets go of it, if it is a view
  kHold,         // takes a view, and does not let go
  kLetGo,        // of a view that it holds
  kReceived,     // leases it, and settles it
  kWithdrawn,    // leases it, and gives it back unseen
  kReturned,     // leases it, and gives it back
  kReturnsHeld,  // the same with one that it has leased
  kPark,         // finds nothing, and parks
  kReleases,     // is the agent, and releases what another has claimed
  kHeldLeases,   // is an agent that is started again, and settles what it has leased
};

struct Shape {
  How how = How::kTake;
  size_t size = 40;
  uint64_t before = 3;      // messages that were sent and received
  uint64_t left = 3;        // of the first sender, which are there
  uint64_t second = 0;      // of the second one, sent after them
  int priority = kBulk;     // of the first one's
  bool joins = false;       // the second one has joined since the victim last looked
  bool returned = false;    // the first one was given back by another before
  bool other_sees = false;  // before that the victim has found nothing
  bool full = false;        // the first sender sleeps for room
  bool exclusive = false;   // the victim needs the right to receive, and has it

  std::string Text() const {
    static constexpr const char* kNames[] = {"take",
                                             "hold a view",
                                             "let go of a view",
                                             "settle a lease",
                                             "withdraw",
                                             "give back",
                                             "give back what is held",
                                             "park",
                                             "release the claims of the dead",
                                             "settle old leases"};
    return absl::StrCat(kNames[static_cast<int>(how)], ", ", size, " bytes",
                        priority == kUrgent ? ", urgent" : "", ", after ", before, ", of ", left,
                        second > 0 ? absl::StrCat(" and ", second) : "", joins ? ", joins" : "",
                        returned ? ", returned" : "", full ? ", sender sleeps" : "",
                        exclusive ? ", exclusive" : "");
  }
};

constexpr size_t kFirst = 0, kSecond = 1;

class Receives : public Region {
 public:
  explicit Receives(const Shape& shape) : shape_(shape) {
    channel_.AddSender();
    if (!shape.joins) channel_.AddSender();
    for (uint64_t i = 0; i < shape.before; ++i) {
      SendAs(channel_, kFirst, FirstOf(kFirst) + i, 40, shape.priority);
      TakeAll(channel_.others(), channel_, &before_);
    }
    TakeAll(channel_.victims(), channel_, &before_);
    EXPECT_EQ(before_.size(), shape.before);
    if (shape.exclusive) {
      channel_.victims().RequireHolder(kVictim);
      channel_.control().holder.store(kVictim);
    }
    if (shape.joins) channel_.AddSender();
    SendAll(kFirst, shape.left, shape.priority, shape.before);
    SendAll(kSecond, shape.second, kBulk, 0);
    if (shape.full) {
      OutgoingLane& lane = channel_.lane(kFirst);
      while (lane.Send(shape.priority,
                       {{}, MakeBody(FirstOf(kFirst) + shape.before + sent_[kFirst], shape.size)},
                       absl::InfinitePast())
                 .ok()) {
        ++sent_[kFirst];
      }
      word_ = lane.ParkForRoom();
    }
    if (shape.returned) {
      Lease lease;
      EXPECT_EQ(channel_.others().TakeLease(channel_.control(), &lease),
                ReceiveQueue::Taken::kMessage);
      EXPECT_TRUE(channel_.others().Finish(lease, Outcome::kReturned));
    }
    switch (shape.how) {
      case How::kLetGo:
        held_ = std::make_unique<Message>();
        EXPECT_EQ(channel_.victims().Take(channel_.control(), nullptr, held_.get()),
                  ReceiveQueue::Taken::kMessage);
        Note(*held_);
        break;
      case How::kReturnsHeld:
        EXPECT_EQ(TakeLease(&leases_[0]), ReceiveQueue::Taken::kMessage);
        break;
      case How::kReleases:
        held_ = std::make_unique<Message>();
        EXPECT_EQ(TakeLease(&leases_[0]), ReceiveQueue::Taken::kMessage);
        EXPECT_EQ(channel_.victims().Take(channel_.control(), nullptr, held_.get()),
                  ReceiveQueue::Taken::kMessage);
        Note(*held_);
        EXPECT_EQ(TakeLease(&leases_[1]), ReceiveQueue::Taken::kMessage);
        channel_.DeclareGone();
        break;
      case How::kHeldLeases:
        for (Lease& lease : leases_) EXPECT_EQ(TakeLease(&lease), ReceiveQueue::Taken::kMessage);
        for (size_t sender = 0; sender < channel_.senders(); ++sender) {
          again_.Join(channel_.Incoming(sender), channel_.control().members_version.load());
        }
        break;
      default:
        break;
    }
  }

  Channel& channel() override { return channel_; }

  void Act() override {
    switch (shape_.how) {
      case How::kTake:
      case How::kHold: {
        Message* const message = new Message;
        if (channel_.victims().Take(channel_.control(), nullptr, message) ==
            ReceiveQueue::Taken::kMessage) {
          Note(*message);
        }
        if (shape_.how == How::kTake) delete message;
        return;
      }
      case How::kLetGo:
        held_.reset();
        return;
      case How::kReceived:
        return LeaseAndFinish(Outcome::kReceived);
      case How::kWithdrawn:
        return LeaseAndFinish(Outcome::kWithdrawn);
      case How::kReturned:
        return LeaseAndFinish(Outcome::kReturned);
      case How::kReturnsHeld:
        channel_.victims().Finish(leases_[0], Outcome::kReturned);
        RingGate(&channel_.gate());
        return;
      case How::kPark: {
        Parker parker = channel_.NewParker();
        channel_.victims().Flush();
        parker.Park();
        Message message;
        if (channel_.victims().Take(channel_.control(), nullptr, &message) ==
            ReceiveQueue::Taken::kMessage) {
          Note(message);
        }
        parker.Unpark(/*sole=*/false);
        return;
      }
      case How::kReleases:
        channel_.ReleaseClaims();
        return;
      case How::kHeldLeases: {
        page().settling = true;
        for (const Lease& lease : again_.HeldLeases()) again_.Finish(lease, Outcome::kReceived);
        page().settled = true;
        return;
      }
    }
  }

  void Check(bool killed) override {
    const bool void_now = killed || shape_.how == How::kReleases;
    std::vector<Received> received;
    TakeAll(channel_.others(), channel_, &received);
    const size_t at_once = received.size();
    ExpectOthersWaitForNothing(at_once, killed);
    if (shape_.full && at_once > 0) {
      EXPECT_NE(word_.word->load(), word_.expected) << "nobody wakes the sender";
    }
    // Those who live on do so at once.
    SendAs(channel_, kSecond, FirstOf(kSecond) + sent_[kSecond], 40);
    std::vector<Received> more;
    TakeAll(channel_.others(), channel_, &more);
    EXPECT_EQ(more.size(), 1u);
    if (void_now) {
      channel_.DeclareGone();
      channel_.ReleaseClaims();
      TakeAll(channel_.others(), channel_, &received);
      for (size_t i = at_once; i < received.size(); ++i) EXPECT_TRUE(received[i].redelivered);
    }
    ExpectEachOnce(received, killed);
    if (!void_now && shape_.how == How::kHold) return;
    ExpectRoomIsFree(channel_, kFirst);
    ExpectRoomIsFree(channel_, kSecond);
  }

 private:
  void SendAll(size_t sender, uint64_t count, int priority, uint64_t from) {
    for (uint64_t i = 0; i < count; ++i) {
      SendAs(channel_, sender, FirstOf(sender) + from + i, shape_.size, priority);
    }
    sent_[sender] = count;
  }
  ReceiveQueue::Taken TakeLease(Lease* lease) {
    return channel_.victims().TakeLease(channel_.control(), lease);
  }
  static void Note(const Message& message) {
    const uint64_t count = page().received;
    page().numbers[count] = NumberOf(message.body());
    page().received = count + 1;
  }
  void LeaseAndFinish(Outcome outcome) {
    if (TakeLease(&leases_[0]) != ReceiveQueue::Taken::kMessage) return;
    page().settling = outcome == Outcome::kReceived;
    const bool finished = channel_.victims().Finish(leases_[0], outcome);
    if (outcome != Outcome::kReceived) RingGate(&channel_.gate());
    page().settled = finished && outcome == Outcome::kReceived;
  }

  uint64_t total() const { return sent_[kFirst] + sent_[kSecond]; }
  // How many messages the victim may have for itself, without having noted them.
  uint64_t MayHave() const {
    switch (shape_.how) {
      case How::kTake:
      case How::kHold:
        return 1;
      case How::kReceived:
        return page().settling ? 1 : 0;
      case How::kHeldLeases:
        return page().settling ? 2 : 0;
      default:
        return 0;
    }
  }
  // But for what the victim has, or holds, everything is the other's at once.
  void ExpectOthersWaitForNothing(size_t at_once, bool killed) const {
    uint64_t held = page().received;
    switch (shape_.how) {
      case How::kReleases:
        held = 3;
        break;
      case How::kHeldLeases:
        held = 2;
        break;
      case How::kPark:
      case How::kLetGo:
        break;
      case How::kWithdrawn:
      case How::kReturned:
      case How::kReturnsHeld:
        held = killed ? 1 : 0;
        break;
      default:
        held = 1;
    }
    EXPECT_GE(at_once + held, total());
  }
  void ExpectEachOnce(const std::vector<Received>& received, bool killed) const {
    std::set<uint64_t> all;
    for (uint64_t i = 0; i < page().received; ++i) {
      EXPECT_TRUE(all.insert(page().numbers[i]).second);
    }
    uint64_t last[2] = {};
    for (const Received& each : received) {
      EXPECT_TRUE(each.intact) << "torn";
      EXPECT_TRUE(all.insert(each.number).second) << each.number << " comes twice";
      if (each.redelivered) continue;
      EXPECT_GT(each.number, last[each.sender]) << "out of order";
      last[each.sender] = each.number;
    }
    const uint64_t missing = total() - all.size();
    EXPECT_LE(all.size(), total());
    EXPECT_LE(missing, MayHave()) << "lost";
    if (page().settled) {
      EXPECT_EQ(missing, MayHave()) << "settled, and comes again";
    }
    if (!killed && !page().settled) {
      EXPECT_EQ(missing, 0u) << "lost";
    }
  }

  const Shape shape_;
  MailboxChannel channel_;
  uint64_t sent_[2] = {};
  std::vector<Received> before_;
  std::unique_ptr<Message> held_;
  Lease leases_[2];
  MailboxQueue again_{kVictim};  // of an agent that is started again
  FutexWord word_{};
};

void KillEach(const std::vector<Shape>& some, const std::vector<Shape>& others) {
  const auto elsewhere = [](Shape* shape) { shape->before = Random()() % 600; };
  ForEachShape<Shape>(some, others, elsewhere, [](const Shape& shape) {
    KillAtEachInstruction(absl::StrCat("ReceiveFromMailbox (", shape.Text(), ")"),
                          [&] { return std::make_unique<Receives>(shape); });
  });
}

TEST(TakeFromMailbox, KilledAfterEachInstruction) {
  KillEach(
      {
          {},
          {.second = 2},
          {.returned = true},
          {.full = true},
          {.exclusive = true},
      },
      {
          {.left = 0},
          {.before = 0},
          {.size = 8},
          {.size = 96},
          {.before = 31},
          {.left = 0, .second = 2},
          {.second = 2, .priority = kUrgent},
          {.second = 2, .joins = true},
          {.second = 2, .returned = true},
      });
}

TEST(TakeLargeFromMailbox, KilledAfterEachInstruction) {
  KillEach(
      {
          {.size = 2000},
          {.how = How::kLetGo, .size = 2000},
          {.how = How::kLetGo, .size = 2000, .full = true},
      },
      {
          {.size = 200},
          {.how = How::kHold, .size = 2000},
          {.size = 2000, .second = 1, .priority = kUrgent},
          {.size = 2000, .returned = true},
      });
}

TEST(LeaseFromMailbox, KilledAfterEachInstruction) {
  KillEach(
      {
          {.how = How::kReceived},
          {.how = How::kReturned},
          {.how = How::kReturnsHeld},
      },
      {
          {.how = How::kReceived, .size = 2000},
          {.how = How::kReceived, .full = true},
          {.how = How::kWithdrawn},
          {.how = How::kReturned, .size = 2000},
          {.how = How::kReturned, .second = 2},
          {.how = How::kReturned, .returned = true},
          {.how = How::kReturnsHeld, .full = true},
      });
}

TEST(ParkAtMailbox, KilledAfterEachInstruction) {
  KillEach({{.how = How::kPark, .left = 0}}, {{.how = How::kPark, .before = 0, .left = 0}});
}

// The victim is the agent, and another one takes its place.
TEST(RepairMailbox, KilledAfterEachInstruction) {
  KillEach(
      {
          {.how = How::kReleases, .size = 2000},
      },
      {
          {.how = How::kReleases},
          {.how = How::kReleases, .size = 2000, .priority = kUrgent, .full = true},
          {.how = How::kHeldLeases},
          {.how = How::kHeldLeases, .size = 2000},
      });
}

}  // namespace
}  // namespace mailrail
