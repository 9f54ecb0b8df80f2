// Messages that a sender keeps for later, and drops to make room.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/lane/cell_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;
constexpr uint32_t kOwner = 7;
constexpr uint32_t kSender = 99;
constexpr uint32_t kTick = 5;

class CellLaterTest : public ::testing::Test {
 protected:
  bool SendOne(absl::string_view body, uint32_t due_tick = DueTick::kAtOnce) {
    return Send(&writer_, kPriority, {{}, body}, 0, Slot::kInlineBytes, {.due_tick = due_tick});
  }
  std::string ReceiveOne() { return Receive(&reader_, kPriority, kOwner).value_or("nothing"); }
  std::vector<CellReader::Kept> Kept() const {
    std::vector<CellReader::Kept> all;
    reader_.ForEachKept([&](const CellReader::Kept& kept) { all.push_back(kept); });
    return all;
  }
  CellWriter::Dropped Drop(bool bury = false) { return writer_.DropOldest(kPriority, bury); }

  CellLane lane_{kSmallCells, 4};
  CellWriter writer_ = lane_.NewWriter();
  CellReader reader_ = lane_.NewReader();
};

TEST_F(CellLaterTest, WhatIsSentForLaterIsNobodysUntilItIsDueAndWasHandedOutToNobody) {
  for (const size_t bytes : {20u, 500u}) {
    ASSERT_TRUE(SendOne(std::string(bytes, 'a'), kTick));
    ASSERT_TRUE(SendOne("second"));
    EXPECT_EQ(reader_.Count().delayed, 1u);
    EXPECT_EQ(reader_.Count().waiting, 1u);
    EXPECT_EQ(ReceiveOne(), "second");
    EXPECT_EQ(ReceiveOne(), "nothing");
    ASSERT_EQ(Kept().size(), 1u);
    EXPECT_EQ(Kept()[0].state.owner, kTick);
    ASSERT_TRUE(reader_.MakeDue(Kept()[0]));
    const absl::optional<Leased> leased = Lease(&reader_, kPriority, kOwner);
    ASSERT_TRUE(leased.has_value());
    EXPECT_EQ(leased->body(), std::string(bytes, 'a'));
    EXPECT_EQ(leased->head.attempts, 0u);
    // Though one that was sent after it went before.
    EXPECT_FALSE(reader_.Overtaken(kPriority, leased->head));
    EXPECT_TRUE(reader_.Take(kPriority, leased->head.slot, leased->head.position, kOwner, false));
    EXPECT_TRUE(writer_.Drained());
  }
}

TEST_F(CellLaterTest, WhatIsDueGoesBeforeWhatWasSentAfterIt) {
  ASSERT_TRUE(SendOne("first", kTick));
  ASSERT_TRUE(SendOne("second"));
  ASSERT_TRUE(reader_.MakeDue(Kept()[0]));
  EXPECT_EQ(ReceiveOne(), "first");
  EXPECT_EQ(ReceiveOne(), "second");
}

TEST_F(CellLaterTest, ItIsTakenBackAsAnyOther) {
  ASSERT_TRUE(SendOne("first", kTick));
  EXPECT_EQ(writer_.Retract(kPriority, kSender), 1u);
  EXPECT_TRUE(Kept().empty());
  EXPECT_TRUE(writer_.Drained());
}

TEST_F(CellLaterTest, TheOldestThatNobodyHoldsMakesRoom) {
  for (const char* body : {"1", "2", "3", "4"}) ASSERT_TRUE(SendOne(body));
  ASSERT_FALSE(SendOne("5"));
  const absl::optional<Leased> held = Lease(&reader_, kPriority, kOwner);
  ASSERT_TRUE(held.has_value());
  EXPECT_EQ(Drop(), CellWriter::Dropped::kOne);
  EXPECT_TRUE(SendOne("5"));
  EXPECT_EQ(reader_.Count().dropped, 1u);
  EXPECT_EQ(ReceiveOne(), "3");
  EXPECT_TRUE(reader_.Return(kPriority, held->head.slot, held->head.position, kOwner));
  // What was given back is the oldest; what is for later is dropped in its turn too.
  EXPECT_EQ(Drop(), CellWriter::Dropped::kOne);
  ASSERT_TRUE(SendOne("6", kTick));
  EXPECT_EQ(Drop(), CellWriter::Dropped::kOne);
  EXPECT_EQ(Drop(), CellWriter::Dropped::kOne);
  EXPECT_EQ(Kept().size(), 1u);
  EXPECT_EQ(Drop(), CellWriter::Dropped::kOne);
  EXPECT_EQ(Drop(), CellWriter::Dropped::kNone);
  EXPECT_EQ(reader_.Count().dropped, 5u);
  EXPECT_EQ(ReceiveOne(), "nothing");
  EXPECT_TRUE(writer_.Drained());
}

TEST_F(CellLaterTest, WhatIsToBeBuriedIsCondemnedOneAtATime) {
  for (const char* body : {"1", "2", "3", "4"}) ASSERT_TRUE(SendOne(body));
  EXPECT_EQ(Drop(/*bury=*/true), CellWriter::Dropped::kLater);
  EXPECT_EQ(Drop(/*bury=*/true), CellWriter::Dropped::kLater);
  EXPECT_FALSE(SendOne("5"));
  ASSERT_EQ(Kept().size(), 1u);
  EXPECT_EQ(Kept()[0].state.phase, Phase::kCondemned);
  EXPECT_EQ(Kept()[0].state.owner, static_cast<uint32_t>(Condemned::kDropped));
  EXPECT_EQ(Kept()[0].position, 1u);
  EXPECT_TRUE(reader_.Discard(Kept()[0]));
  EXPECT_TRUE(SendOne("5"));
  EXPECT_EQ(reader_.Count().dropped, 0u);
  EXPECT_EQ(ReceiveOne(), "2");
}

}  // namespace
}  // namespace mailrail
