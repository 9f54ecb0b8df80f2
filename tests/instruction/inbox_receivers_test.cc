// The victim receives from its inbox, or is an agent that receives what it carries on.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/lane/ring_reader.h"
#include "tests/instruction/others.h"
#include "tests/instruction/region.h"
#include "tests/support/body.h"

namespace mailrail {
namespace {

constexpr size_t kFirst = 0, kSecond = 1;

enum class How {
  kTake,     // and lets go of it, if it is a view
  kTakeTwo,  // at once
  kLetGo,    // of a view that it holds
  kFlush,    // tells the senders what it has taken before
  kPark,     // finds nothing, and parks
  kCarry,    // as an agent: what it tells its sender of it has carried on
  kCarryOn,  // the same after another agent
};

struct Shape {
  How how = How::kTake;
  size_t size = 40;
  uint64_t before = 3;   // messages of one line that were sent and received
  uint64_t left = 3;     // of the first sender, which are there
  uint64_t second = 0;   // of the second one
  int priority = kBulk;  // of the first one's
  bool joins = false;    // the second one has joined since the victim last looked
  bool full = false;     // the first sender sleeps for room

  std::string Text() const {
    static constexpr const char* kNames[] = {"take", "take two", "let go of a view", "flush",
                                             "park", "carry",    "carry on"};
    return absl::StrCat(kNames[static_cast<int>(how)], ", ", size, " bytes",
                        priority == kUrgent ? ", urgent" : "", ", after ", before, ", of ", left,
                        second > 0 ? absl::StrCat(" and ", second) : "", joins ? ", joins" : "",
                        full ? ", sender sleeps" : "");
  }
};

class Receives : public Region {
 public:
  explicit Receives(const Shape& shape) : shape_(shape) {
    channel_.AddSender();
    if (!shape.joins) channel_.AddSender();
    for (uint64_t i = 0; i < shape.before; ++i) {
      SendAs(channel_, kFirst, FirstOf(kFirst) + i, 40, shape.priority);
      std::vector<Received> received;
      TakeAll(channel_.queue(), channel_, &received);
    }
    if (shape.joins) channel_.AddSender();
    SendAll(kFirst, shape.left, shape.priority, shape.before);
    SendAll(kSecond, shape.second, kBulk, 0);
    if (shape.full) {
      OutgoingLane& lane = channel_.lane(kFirst);
      while (lane.Send(shape.priority, {{}, MakeBody(next(), shape.size)}, absl::InfinitePast())
                 .ok()) {
        ++sent_[kFirst];
      }
      word_ = lane.ParkForRoom();
    }
    if (shape.how == How::kLetGo || shape.how == How::kFlush) {
      held_ = std::make_unique<Message>();
      Take(held_.get());
    }
    const LinkMemory& end = channel_.receiver_end(kFirst);
    carrier_ = std::make_unique<RingReader>(end.geometry, end.own.data(), end.peer.data());
    if (shape.how == How::kCarry) carrier_->Recover();
  }

  Channel& channel() override { return channel_; }

  void Act() override {
    switch (shape_.how) {
      case How::kTakeTwo:
      case How::kTake: {
        Message* const message = new Message;
        Take(message);
        delete message;
        if (shape_.how == How::kTake) return;
        Message another;
        return Take(&another);
      }
      case How::kLetGo:
        held_.reset();
        return;
      case How::kFlush:
        channel_.queue().Flush();
        return;
      case How::kPark: {
        Parker parker = channel_.NewParker();
        channel_.queue().Flush();
        parker.Park();
        Message message;
        Take(&message);
        parker.Unpark(/*sole=*/true);
        return;
      }
      case How::kCarryOn:
        carrier_->Recover();
        return Carry();
      case How::kCarry:
        return Carry();
    }
  }

  void Check(bool) override {
    // Senders go on, as long as there is room, whatever the dead one has left of its part.
    SendOn(kFirst);
    SendOn(kSecond);
    const bool carries = shape_.how == How::kCarry || shape_.how == How::kCarryOn;
    // What was not taken is there for one who takes the receiver's place, if there is one.
    ExpectTheRest(kFirst, page().received, carries);
    if (shape_.how == How::kTake || carries) ExpectTheRest(kSecond, 0, true);
    if (shape_.full) {
      EXPECT_NE(word_.word->load(), word_.expected) << "nobody wakes the sender";
    }
    // An inbox ends with its process.
    channel_.Close(CloseReason::kProcessGone);
    for (const size_t sender : {kFirst, kSecond}) {
      const absl::Status status =
          channel_.lane(sender).Send(kBulk, {{}, "x"}, absl::InfinitePast());
      EXPECT_TRUE(absl::IsUnavailable(status)) << status;
      if (carries) {
        EXPECT_EQ(CountUnconsumed(channel_.sender_end(sender).own.data(),
                                  channel_.receiver_end(sender).own.data()),
                  1u);
      }
    }
  }

 private:
  uint64_t next() const { return FirstOf(kFirst) + shape_.before + sent_[kFirst]; }
  void SendAll(size_t sender, uint64_t count, int priority, uint64_t from) {
    for (uint64_t i = 0; i < count; ++i) {
      SendAs(channel_, sender, FirstOf(sender) + from + i, shape_.size, priority);
    }
    sent_[sender] = count;
  }
  void Take(Message* message) {
    if (channel_.queue().Take(channel_.control(), nullptr, message) !=
        ReceiveQueue::Taken::kMessage) {
      return;
    }
    if (message->sender() != Channel::IdOf(kFirst)) return;
    page().numbers[page().received] = NumberOf(message->body());
    page().received = page().received + 1;
  }
  // As the carrier does: what it has carried on it tells, and then lets go of.
  void Carry() {
    Record record;
    if (carrier_->Peek(shape_.priority, &record) != Look::kReady) return;
    carrier_->Advance(shape_.priority, record);
    page().numbers[page().received] = NumberOf({record.data, record.length});
    page().received = page().received + 1;
    carrier_->Consume(shape_.priority, record);
    carrier_->Flush();
    page().told = page().told + 1;
    if (record.in_slab) carrier_->ReleaseCell(shape_.priority, record.cell, record.sequence);
  }
  void SendOn(size_t sender) {
    const int priority = sender == kFirst ? shape_.priority : kBulk;
    const uint64_t number =
        FirstOf(sender) + (sender == kFirst ? shape_.before : 0) + sent_[sender];
    const absl::Status status =
        channel_.lane(sender).Send(priority, {{}, MakeBody(number, 100)}, absl::InfinitePast());
    EXPECT_TRUE(status.ok() || (sender == kFirst && shape_.full)) << status;
    sent_[sender] += status.ok();
  }
  // Receives as one that takes the place of the dead one.
  void ExpectTheRest(size_t sender, uint64_t taken, bool all_room) {
    const LinkMemory& end = channel_.receiver_end(sender);
    RingReader reader(end.geometry, end.own.data(), end.peer.data());
    reader.Recover();
    const int priority = sender == kFirst ? shape_.priority : kBulk;
    const uint64_t before = sender == kFirst ? shape_.before : 0;
    // What it was told of does not come again; what it was not told of may.
    uint64_t next = reader.consumed(priority) + 1;
    EXPECT_LE(next, before + taken + 2) << "nobody has seen it";
    EXPECT_GT(next, before + (sender == kFirst ? page().told.load() : 0)) << "comes again";
    for (uint64_t i = 0; sender == kFirst && i < page().received; ++i) {
      EXPECT_EQ(page().numbers[i], FirstOf(kFirst) + shape_.before + i);
    }
    Record record;
    while (reader.Peek(priority, &record) == Look::kReady) {
      EXPECT_EQ(record.sequence, next);
      EXPECT_TRUE(IsIntact({record.data, record.length})) << "torn or overwritten";
      EXPECT_EQ(NumberOf({record.data, record.length}), FirstOf(sender) + next - 1);
      reader.Advance(priority, record);
      reader.Consume(priority, record);
      reader.Flush();
      if (record.in_slab) reader.ReleaseCell(priority, record.cell, record.sequence);
      ++next;
    }
    EXPECT_EQ(next, before + sent_[sender] + 1) << "lost";
    EXPECT_TRUE(!all_room || channel_.lane(sender).Drained()) << "room is lost";
  }

  const Shape shape_;
  InboxChannel channel_;
  uint64_t sent_[2] = {};
  std::unique_ptr<Message> held_;
  std::unique_ptr<RingReader> carrier_;
  FutexWord word_{};
};

void KillEach(const std::vector<Shape>& some, const std::vector<Shape>& others) {
  const auto elsewhere = [](Shape* shape) { shape->before = Random()() % 600; };
  ForEachShape<Shape>(some, others, elsewhere, [](const Shape& shape) {
    KillAtEachInstruction(absl::StrCat("ReceiveFromInbox (", shape.Text(), ")"),
                          [&] { return std::make_unique<Receives>(shape); });
  });
}

TEST(TakeFromInbox, KilledAfterEachInstruction) {
  KillEach(
      {
          {},
          {.size = 200, .before = 255},  // past the padding
          {.second = 2},
          {.full = true},
          {.how = How::kFlush},
          {.how = How::kPark, .left = 0},
      },
      {
          {.left = 0},
          {.before = 0},
          {.size = 96},
          {.size = 200},
          {.how = How::kTakeTwo, .size = 200, .before = 254},
          {.second = 2, .priority = kUrgent},
          {.second = 2, .joins = true},
          {.how = How::kFlush, .full = true},
      });
}

TEST(TakeLargeFromInbox, KilledAfterEachInstruction) {
  KillEach(
      {
          {.size = 5000},
          {.how = How::kLetGo, .size = 5000},
      },
      {
          {.how = How::kTakeTwo, .size = 5000},
          {.size = 5000, .priority = kUrgent},
      });
}

TEST(CarryFromLane, KilledAfterEachInstruction) {
  KillEach(
      {
          {.how = How::kCarry},
          {.how = How::kCarry, .size = 5000},
          {.how = How::kCarryOn, .size = 5000},
      },
      {
          {.how = How::kCarry, .before = 255},
          {.how = How::kCarry, .priority = kUrgent, .full = true},
          {.how = How::kCarryOn},
      });
}

}  // namespace
}  // namespace mailrail
