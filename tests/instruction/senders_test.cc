// The victim is a sender.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/instruction/others.h"
#include "tests/instruction/region.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

enum class To { kInbox, kMailbox };

constexpr size_t kVictimsLane = 0, kOthersLane = 1;

// How a send begins.
struct Shape {
  int priority = kBulk;
  size_t size = 40;
  uint64_t before = 3;    // messages of one line that were sent and received
  uint64_t left = 0;      // more of them that were not received
  bool asleep = false;    // the receiver
  bool streams = false;   // the sender publishes by plain stores
  int batch = 0;          // so many at once
  bool in_place = false;  // claimed, written, committed
  size_t claimed = 0;     // so many bytes are claimed for it, if there are to be more
  bool full = false;      // there is no room, and the sender parks for some
  bool closed = false;    // the destination
  bool taken_up = false;  // the sender is an agent that takes its lane up

  std::string Text() const {
    return absl::StrCat(size, " bytes", priority == kUrgent ? ", urgent" : "", ", after ", before,
                        left > 0 ? absl::StrCat(" and ", left) : "", asleep ? ", wakes" : "",
                        streams ? ", streams" : "", batch > 0 ? ", batch" : "",
                        in_place ? ", in place" : "", full ? ", parks for room" : "",
                        closed ? ", closed" : "", taken_up ? ", taken up" : "");
  }
};

std::unique_ptr<Channel> MakeChannel(To to) {
  if (to == To::kInbox) return std::make_unique<InboxChannel>();
  return std::make_unique<MailboxChannel>();
}

class Sends : public Region {
 public:
  Sends(To to, const Shape& shape) : shape_(shape), channel_(MakeChannel(to)) {
    channel_->AddSender();
    channel_->AddSender();
    for (uint64_t i = 0; i < shape.before; ++i) {
      SendOne(kBulk, kLine);
      if (!shape.streams || i % 8 == 7) TakeAll(channel_->receiver(), *channel_, &before_);
    }
    TakeAll(channel_->receiver(), *channel_, &before_);
    for (uint64_t i = 0; i < shape.left; ++i) SendOne(kBulk, kLine);
    while (shape.full && channel_->lane(kVictimsLane)
                             .Send(kBulk, {{}, MakeBody(FirstOf(kVictimsLane) + sent_, kLine)},
                                   absl::InfinitePast())
                             .ok()) {
      ++sent_;
    }
    left_ = sent_ - shape.before;
    if (shape.closed) channel_->Close(CloseReason::kDestroyed);
    if (shape.asleep) word_ = channel_->NewParker().Park();
    for (int i = 0; i < std::max(1, shape.batch); ++i) {
      bodies_.push_back(
          MakeBody(FirstOf(kVictimsLane) + sent_ + static_cast<uint64_t>(i), shape.size));
      views_.push_back(bodies_.back());
    }
  }

  Channel& channel() override { return *channel_; }

  void Act() override {
    OutgoingLane& lane =
        shape_.taken_up ? channel_->spare_lane(kVictimsLane, 0) : channel_->lane(kVictimsLane);
    if (shape_.taken_up && !lane.Recover().ok()) _exit(1);
    if (shape_.full) lane.ParkForRoom();
    page().attempted = bodies_.size();
    if (shape_.in_place) {
      const auto room =
          lane.Claim(shape_.priority, std::max(shape_.claimed, shape_.size), absl::InfinitePast());
      if (!room.ok() || !room->has_value()) return;
      memcpy((*room)->data, views_[0].data(), shape_.size);
      page().told = lane.Commit(shape_.priority, **room, shape_.size, absl::InfinitePast()).ok();
    } else if (shape_.batch > 0) {
      page().told = lane.SendBatch(shape_.priority, views_, absl::InfinitePast()).value_or(0);
    } else {
      const bool ok = lane.Send(shape_.priority, {{}, views_[0]}, absl::InfinitePast()).ok();
      (ok ? page().told : page().refused) = 1;
    }
  }

  void Check(bool killed) override {
    if (shape_.closed) return CheckClosed(killed);
    ReceiveQueue& receiver = channel_->receiver();
    std::vector<Received> received;
    // An agent takes its lanes up before or after the others have looked.
    const bool first = instructions() % 2 == 0;
    if (!first) TakeAll(receiver, *channel_, &received);
    if (shape_.asleep && page().told > 0) {
      EXPECT_NE(word_.word->load(), word_.expected) << "sent, and not rung";
    }
    // The other sender goes on, and wakes whom the victim did not wake.
    SendAs(*channel_, kOthersLane, FirstOf(kOthersLane), 40);
    if (shape_.asleep) {
      EXPECT_NE(word_.word->load(), word_.expected) << "nobody rings any more";
    }
    OutgoingLane& taken_up = channel_->spare_lane(kVictimsLane, 0);
    if (first) {
      const absl::Status recovered = taken_up.Recover();
      EXPECT_TRUE(recovered.ok()) << recovered;
      // What was published is not among it.
      if (recovered.ok() && shape_.claimed < 50000) WriteToFreeRoom(taken_up);
    }
    TakeAll(receiver, *channel_, &received);
    EXPECT_EQ(ExpectInOrder(received, kOthersLane, FirstOf(kOthersLane)), 1u);
    const uint64_t count =
        ExpectInOrder(received, kVictimsLane, FirstOf(kVictimsLane) + shape_.before);
    EXPECT_GE(count, left_ + page().told) << "what was told OK is lost";
    EXPECT_LE(count, left_ + page().attempted);
    EXPECT_TRUE(killed || count == left_ + page().told);
    EXPECT_TRUE(killed || shape_.full || page().told == page().attempted);
    const uint64_t come = count - left_;
    if (first) {
      EXPECT_EQ(taken_up.sequence(shape_.priority), come + (shape_.priority == kBulk ? sent_ : 0));
    }
    const uint64_t urgent = shape_.priority == kUrgent ? come : 0;
    ExpectTakenUp(*channel_, kVictimsLane, sent_ + come - urgent, urgent);
    ExpectEnded(*channel_, kVictimsLane);
    // The other's lane has nothing to do with it.
    SendAs(*channel_, kOthersLane, FirstOf(kOthersLane), 6000);
    EXPECT_EQ(TakeAll(receiver, *channel_).size(), 1u);
    EXPECT_TRUE(channel_->lane(kOthersLane).Drained());
  }

 protected:
  // A body that stands in one line of a ring, or in a slot.
  static constexpr size_t kLine = 40;

  // What the victim is told an error for nobody receives.
  void CheckClosed(bool killed) {
    const std::vector<Received> received = TakeAll(channel_->receiver(), *channel_);
    const uint64_t count =
        ExpectInOrder(received, kVictimsLane, FirstOf(kVictimsLane) + shape_.before);
    EXPECT_TRUE(killed || page().told + page().refused == 1);
    EXPECT_GE(count, left_ + page().told);
    EXPECT_LE(count, left_ + 1);
    // Of an inbox nothing is received any more, and so nothing is taken back.
    if (page().refused == 1 && dynamic_cast<MailboxChannel*>(channel_.get()) != nullptr) {
      EXPECT_EQ(count, left_);
    }
    const absl::Status recovered = channel_->spare_lane(kVictimsLane, 0).Recover();
    EXPECT_TRUE(recovered.ok()) << recovered;
    EXPECT_TRUE(channel_->spare_lane(kVictimsLane, 0).Drained());
    ExpectEnded(*channel_, kVictimsLane);
  }
  void SendOne(int priority, size_t size) {
    SendAs(*channel_, kVictimsLane, FirstOf(kVictimsLane) + sent_, size, priority);
    ++sent_;
  }

  const Shape shape_;
  const std::unique_ptr<Channel> channel_;
  uint64_t sent_ = 0;
  uint64_t left_ = 0;
  std::vector<Received> before_;
  std::vector<std::string> bodies_;
  std::vector<absl::string_view> views_;
  FutexWord word_{};
};

void KillEach(To to, const std::vector<Shape>& some, const std::vector<Shape>& others) {
  const auto elsewhere = [to](Shape* shape) {
    std::mt19937_64& random = Random();
    if (shape->size == 40) shape->size = 8 + random() % (to == To::kInbox ? 120 : 89);
    if (!shape->streams) shape->before = random() % 600;
    if (shape->left > 0) shape->left = 1 + random() % 10;
  };
  const std::string name = to == To::kInbox ? "SendToInbox (" : "SendToMailbox (";
  ForEachShape<Shape>(some, others, elsewhere, [&](const Shape& shape) {
    KillAtEachInstruction(absl::StrCat(name, shape.Text(), ")"),
                          [&] { return std::make_unique<Sends>(to, shape); });
  });
}

TEST(SendToInbox, KilledAfterEachInstruction) {
  KillEach(To::kInbox,
           {
               {.before = 0},
               {},
               {.size = 200},
               {.left = 3},
               {.priority = kUrgent},
               {.size = 200, .before = 254},  // goes round the ring, after padding
               {.before = 100, .left = 254},  // looks for room, and finds the last line
           },
           {
               {.size = 0},
               {.size = 7},
               {.size = 48},
               {.size = 64},
               {.before = 254},  // ends at the ring's end
               {.size = 200, .before = 254, .left = 100},
           });
}

TEST(SendToInboxWithBell, KilledAfterEachInstruction) {
  KillEach(To::kInbox,
           {
               {.before = 0, .asleep = true},
               {.asleep = true},
               {.before = 63},                  // the next one streams
               {.before = 63, .asleep = true},  // or would
               {.before = 130, .streams = true},
               {.before = 130, .asleep = true, .streams = true},
               {.asleep = true, .batch = 3},
           },
           {
               {.size = 200, .before = 254, .streams = true},
               {.priority = kUrgent, .before = 130, .streams = true},
               {.batch = 3},
               {.before = 130, .streams = true, .batch = 3},
               {.size = 200, .before = 254, .batch = 2},
           });
}

TEST(SendToInboxAtItsEnds, KilledAfterEachInstruction) {
  KillEach(To::kInbox,
           {
               {.closed = true},
               {.left = 5, .taken_up = true},
           },
           {
               {.full = true},
               {.size = 200, .before = 100, .full = true},
               {.left = 2, .asleep = true, .closed = true},
               {.before = 0, .taken_up = true},
           });
}

TEST(SendToInboxInPlace, KilledAfterEachInstruction) {
  KillEach(To::kInbox,
           {
               {.size = 500, .asleep = true, .in_place = true, .claimed = 5000},
               {.size = 64, .before = 255, .in_place = true, .claimed = 50000},
           },
           {
               {.in_place = true, .claimed = 5000},
               {.size = 64, .before = 0, .in_place = true, .claimed = 50000},
               {.priority = kUrgent, .size = 64, .in_place = true, .claimed = 50000},
           });
}

TEST(SendToMailbox, KilledAfterEachInstruction) {
  KillEach(To::kMailbox,
           {
               {.before = 0},
               {},
               {.left = 3},
               {.before = 16},              // the first slot that is used again
               {.before = 40, .left = 12},  // the last one that is free
           },
           {
               {.size = 0},
               {.size = 7},
               {.size = 96},
               {.priority = kUrgent},
               {.before = 14},  // the last slot that was never used
               {.before = 31},  // goes round the order
           });
}

TEST(SendToMailboxWithBell, KilledAfterEachInstruction) {
  KillEach(To::kMailbox,
           {
               {.asleep = true},
               {.before = 63},
               {.before = 63, .asleep = true},
               {.before = 130, .streams = true},
               {.before = 130, .asleep = true, .streams = true},
           },
           {
               {.before = 0, .asleep = true},
               {.priority = kUrgent, .before = 130, .streams = true},
               {.batch = 3},
               {.asleep = true, .batch = 3},
               {.before = 130, .streams = true, .batch = 3},
           });
}

TEST(SendToMailboxAtItsEnds, KilledAfterEachInstruction) {
  KillEach(To::kMailbox,
           {
               {.closed = true},
           },
           {
               {.full = true},
               {.size = 200, .before = 30, .full = true},
               {.left = 2, .asleep = true, .closed = true},
               {.left = 5, .taken_up = true},
               {.size = 200, .before = 0, .taken_up = true},
           });
}

TEST(SendToMailboxFromSlab, KilledAfterEachInstruction) {
  KillEach(To::kMailbox,
           {
               {.size = 200, .asleep = true},
           },
           {
               {.size = 97},
               {.size = 200, .before = 0},
               {.size = 200, .before = 16},
               {.priority = kUrgent, .size = 200},
               {.size = 200, .in_place = true},
               {.size = 200, .in_place = true, .claimed = 50000},
           });
}

}  // namespace
}  // namespace mailrail
