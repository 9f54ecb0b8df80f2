// What a sender is told of the ends of its messages.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "core/lane/cell_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;
constexpr uint32_t kOwner = 7;
constexpr uint32_t kSender = 99;

// The body of a message with a receipt is its number, as often as it takes.
uint64_t ReceiptOf(absl::string_view payload) {
  uint64_t receipt = 0;
  return absl::SimpleAtoi(payload.substr(0, payload.find(' ')), &receipt) ? receipt : 0;
}

class CellEndTest : public ::testing::Test {
 protected:
  bool Ask(uint64_t receipt, size_t bytes = 8) {
    std::string body = std::to_string(receipt);
    body.resize(bytes, ' ');
    return Send(&writer_, kPriority, {{}, body}, 0, Slot::kInlineBytes, {.receipt = receipt});
  }
  bool SendOne() { return Send(&writer_, kPriority, {{}, "none"}, 0); }
  bool ReceiveOne(uint32_t owner = kOwner) {
    return Receive(&reader_, kPriority, owner).has_value();
  }
  // As "receipt:owner", in the order of the receipts.
  static std::vector<std::string> Ends(CellWriter* writer) {
    std::vector<CellEnd> ends;
    writer->TakeEnds(&ends);
    std::sort(ends.begin(), ends.end(),
              [](const CellEnd& a, const CellEnd& b) { return a.receipt < b.receipt; });
    std::vector<std::string> texts;
    for (const CellEnd& end : ends) {
      texts.push_back(std::to_string(end.receipt) + ":" + NameOf(end.owner));
    }
    return texts;
  }
  std::vector<std::string> Ends() { return Ends(&writer_); }
  using Texts = std::vector<std::string>;

  CellLane lane_{kSmallCells, 4};
  CellWriter writer_ = lane_.NewWriter();
  CellReader reader_ = lane_.NewReader();

 private:
  static std::string NameOf(uint32_t owner) {
    if (owner <= kMaxNumber) return std::to_string(owner);
    switch (static_cast<Condemned>(owner)) {
      case Condemned::kAttempts:
        return "attempts";
      case Condemned::kExpired:
        return "expired";
      case Condemned::kDropped:
        return "dropped";
      case Condemned::kPurged:
        return "purged";
    }
    return "?";
  }
};

TEST_F(CellEndTest, EachIsToldOnceAndByWhomItWasReceived) {
  ASSERT_TRUE(Ask(1) && Ask(2) && SendOne() && Ask(3));
  EXPECT_EQ(Ends(), Texts());
  EXPECT_TRUE(writer_.awaits_ends());
  ASSERT_TRUE(ReceiveOne(5) && ReceiveOne(6));
  EXPECT_EQ(Ends(), Texts({"1:5", "2:6"}));
  EXPECT_EQ(Ends(), Texts());
  ASSERT_TRUE(ReceiveOne() && ReceiveOne());
  EXPECT_EQ(Ends(), Texts({"3:7"}));
  EXPECT_FALSE(writer_.awaits_ends());
}

TEST_F(CellEndTest, ItIsToldAlsoWhenItsRoomIsUsedAgainBefore) {
  for (uint64_t receipt = 1; receipt <= 40; ++receipt) {
    ASSERT_TRUE(Ask(receipt, receipt % 2 == 0 ? 8 : 500));
    ASSERT_TRUE(ReceiveOne());
  }
  EXPECT_EQ(Ends().size(), 40u);
}

TEST_F(CellEndTest, AViewHasReceivedItsMessageAndALeaseHasNot) {
  ASSERT_TRUE(Ask(1, 500));
  const absl::optional<Leased> leased = Lease(&reader_, kPriority, kOwner);
  ASSERT_TRUE(leased.has_value());
  EXPECT_EQ(Ends(), Texts());
  ASSERT_TRUE(reader_.Take(kPriority, leased->head.slot, leased->head.position, kOwner, true));
  EXPECT_EQ(Ends(), Texts({"1:7"}));
  reader_.Done(kPriority, leased->head.slot, leased->head.position);
  EXPECT_TRUE(writer_.Drained());
  EXPECT_EQ(Ends(), Texts());
}

TEST_F(CellEndTest, WhatIsReturnedHasNoEndYet) {
  ASSERT_TRUE(Ask(1));
  absl::optional<Leased> leased = Lease(&reader_, kPriority, 5);
  ASSERT_TRUE(reader_.Return(kPriority, leased->head.slot, leased->head.position, 5));
  EXPECT_EQ(Ends(), Texts());
  ASSERT_TRUE(ReceiveOne());
  EXPECT_EQ(Ends(), Texts({"1:7"}));
}

TEST_F(CellEndTest, WhatNobodyReceivesSaysWhyWhenItIsBuried) {
  ASSERT_TRUE(Ask(1));
  const absl::optional<Leased> leased = Lease(&reader_, kPriority, kOwner);
  ASSERT_TRUE(reader_.Condemn(kPriority, leased->head.slot, leased->head.position, kOwner,
                              Condemned::kExpired));
  EXPECT_EQ(Ends(), Texts());
  std::vector<CellReader::Kept> kept;
  reader_.ForEachKept([&](const CellReader::Kept& each) { kept.push_back(each); });
  ASSERT_EQ(kept.size(), 1u);
  ASSERT_TRUE(reader_.Discard(kept[0]));
  EXPECT_EQ(Ends(), Texts({"1:expired"}));
}

TEST_F(CellEndTest, WhatItsSenderDropsSaysSo) {
  ASSERT_TRUE(Ask(1) && Ask(2) && Ask(3) && Ask(4));
  EXPECT_EQ(writer_.DropOldest(kPriority, /*bury=*/false), CellWriter::Dropped::kOne);
  writer_.DropNew(kPriority, {.receipt = 5});
  EXPECT_EQ(writer_.sequence(kPriority), 4u);
  EXPECT_EQ(writer_.accepted(kPriority), 5u);
  EXPECT_EQ(Ends(), Texts({"1:dropped", "5:dropped"}));
}

TEST_F(CellEndTest, WhatIsPurgedSaysSoUnlessItIsHeld) {
  ASSERT_TRUE(Ask(1) && Ask(2) && Ask(3) && Ask(4));
  const absl::optional<Leased> returned = Lease(&reader_, kPriority, kOwner);
  const absl::optional<Leased> held = Lease(&reader_, kPriority, kOwner);
  ASSERT_TRUE(reader_.Return(kPriority, returned->head.slot, returned->head.position, kOwner));
  std::vector<CellHead> waiting;
  reader_.ForEachWaiting([&](int priority, const CellHead& head, const Record&) {
    EXPECT_EQ(priority, kPriority);
    waiting.push_back(head);
  });
  ASSERT_EQ(waiting.size(), 3u);
  for (const CellHead& head : waiting) {
    if (head.position == 4) continue;
    EXPECT_TRUE(reader_.PurgeWaiting(kPriority, head));
    EXPECT_FALSE(reader_.PurgeWaiting(kPriority, head));
  }
  EXPECT_FALSE(reader_.PurgeWaiting(kPriority, held->head));
  EXPECT_EQ(Ends(), Texts({"1:purged", "3:purged"}));
  // With the mailbox.
  writer_.PurgeAsked();
  EXPECT_EQ(Ends(), Texts({"4:purged"}));
  EXPECT_FALSE(ReceiveOne());
  ASSERT_TRUE(reader_.Take(kPriority, held->head.slot, held->head.position, kOwner, false));
  EXPECT_EQ(Ends(), Texts({"2:7"}));
}

TEST_F(CellEndTest, WhatIsTakenBackIsItsSendersAffair) {
  ASSERT_TRUE(Ask(1));
  ASSERT_EQ(writer_.Retract(kPriority, kSender), 1u);
  EXPECT_EQ(Ends(), Texts({"1:99"}));
}

TEST_F(CellEndTest, WhatIsKeptKeepsItsRoomUntilItIsForgottenOrThereIsNoOther) {
  writer_.KeepEnds();
  ASSERT_TRUE(Ask(1, 500) && Ask(2) && Ask(3));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(ReceiveOne());
  std::vector<CellEnd> ends;
  writer_.TakeEnds(&ends);
  ASSERT_EQ(ends.size(), 3u);
  EXPECT_FALSE(writer_.Drained());
  for (const CellEnd& end : ends) writer_.ForgetEnd(end.priority, end.position);
  EXPECT_TRUE(writer_.Drained());
  for (uint64_t receipt = 4; receipt <= 50; ++receipt) {
    ASSERT_TRUE(Ask(receipt, receipt % 2 == 0 ? 8 : 20000));
    ASSERT_TRUE(ReceiveOne());
  }
  EXPECT_EQ(Ends().size(), 47u);
  EXPECT_EQ(Ends(), Texts());
}

TEST_F(CellEndTest, WhatIsDroppedMakesRoomAlsoWhereItIsKept) {
  writer_.KeepEnds();
  ASSERT_TRUE(Ask(1) && Ask(2) && Ask(3) && Ask(4));
  EXPECT_FALSE(Ask(5));
  EXPECT_EQ(writer_.DropOldest(kPriority, /*bury=*/false), CellWriter::Dropped::kOne);
  EXPECT_TRUE(Ask(5));
  EXPECT_FALSE(Ask(6));
  EXPECT_EQ(Ends(), Texts({"1:dropped"}));
}

TEST_F(CellEndTest, WhoeverTakesTheLaneUpTellsWhatWasNotForgotten) {
  writer_.KeepEnds();
  ASSERT_TRUE(Ask(1, 500) && Ask(2, 500) && Ask(3) && Ask(4, 500));
  for (uint32_t owner = 1; owner <= 3; ++owner) ASSERT_TRUE(ReceiveOne(owner));
  std::vector<CellEnd> ends;
  writer_.TakeEnds(&ends);
  for (const CellEnd& end : ends) {
    if (end.receipt == 1) writer_.ForgetEnd(end.priority, end.position);
  }
  CellWriter next = lane_.NewWriter();
  next.KeepEnds();
  ASSERT_TRUE(next.Recover(ReceiptOf).ok());
  EXPECT_EQ(Ends(&next), Texts({"2:2", "3:3"}));
  ASSERT_TRUE(ReceiveOne());
  EXPECT_EQ(Ends(&next), Texts({"4:7"}));
  // The room of the forgotten one is free, and used first.
  EXPECT_TRUE(Send(&next, kPriority, {{}, std::string(500, 'x')}, 0));
  for (const uint64_t position : {2, 3, 4}) {
    EXPECT_TRUE(next.StateOf(kPriority, position).has_value()) << position;
  }
}

TEST_F(CellEndTest, OfManyLivesNoneIsLost) {
  uint64_t last = 0;
  std::vector<bool> told(200, false);
  for (int life = 0; life < 20; ++life) {
    CellWriter writer = lane_.NewWriter();
    writer.KeepEnds();
    ASSERT_TRUE(writer.Recover(ReceiptOf).ok());
    while (last + 1 < told.size()) {
      std::string body = std::to_string(last + 1);
      body.resize(last % 3 == 0 ? 700 : 20, ' ');
      if (!Send(&writer, kPriority, {{}, body}, 0, Slot::kInlineBytes, {.receipt = last + 1})) {
        break;
      }
      ++last;
    }
    for (int i = 0; i < 3; ++i) ReceiveOne();
    std::vector<CellEnd> ends;
    writer.TakeEnds(&ends);
    for (size_t i = 0; i < ends.size(); ++i) {
      if (i % 3 == 2) continue;  // this life ends before it tells it
      EXPECT_FALSE(told[ends[i].receipt]);
      told[ends[i].receipt] = true;
      writer.ForgetEnd(ends[i].priority, ends[i].position);
    }
  }
  CellWriter writer = lane_.NewWriter();
  writer.KeepEnds();
  ASSERT_TRUE(writer.Recover(ReceiptOf).ok());
  while (ReceiveOne()) {
  }
  std::vector<CellEnd> ends;
  writer.TakeEnds(&ends);
  for (const CellEnd& end : ends) told[end.receipt] = true;
  for (uint64_t receipt = 1; receipt <= last; ++receipt) EXPECT_TRUE(told[receipt]) << receipt;
}

}  // namespace
}  // namespace mailrail
