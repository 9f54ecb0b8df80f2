// Room in a mailbox lane: capacity, order of coming back, leases that last, senders that sleep, and
// positions beyond 32 bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/lane/cell_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;
constexpr uint32_t kMe = 7, kOther = 0xabcdef;

TEST(CellGeometryTest, WhatAnAgentGrantsIsValidAndHoldsTheCapacity) {
  for (const uint32_t capacity : {1u, 2u, 16u, 17u, 1000u, 16384u, kLargestCapacityMessages}) {
    for (const size_t max : {size_t{1}, size_t{4096}, kLargestMaxMessageBytes}) {
      const CellGeometry geometry = CellGeometry::For(capacity, max);
      EXPECT_TRUE(geometry.Valid()) << capacity;
      EXPECT_GE(geometry.slots, capacity);
      EXPECT_GE(geometry.slab_bytes, 2 * max);
    }
  }
}

TEST(CellGeometryTest, NumbersThatOverflowOrDoNotFitAreNotValid) {
  EXPECT_TRUE(kSmallCells.Valid());
  EXPECT_FALSE(CellGeometry{}.Valid());
  for (const uint32_t slots : {0u, 1u, 17u, 24u, 1u << 17, 1u << 31, ~0u}) {
    EXPECT_FALSE((CellGeometry{.slots = slots, .slab_bytes = 4096}).Valid()) << slots;
  }
  for (const uint64_t bytes : {uint64_t{1} << 62, ~uint64_t{0}}) {
    EXPECT_FALSE((CellGeometry{.slots = 16, .slab_bytes = bytes}).Valid());
  }
}

TEST(CellRoomTest, CapacityIsExactWhateverTheNumberOfSlots) {
  for (const uint32_t capacity : {1u, 2u, 10u, 16u}) {
    const CellLane lane(kSmallCells, capacity);
    CellWriter writer = lane.NewWriter();
    CellReader reader = lane.NewReader();
    for (uint32_t i = 0; i < capacity; ++i) ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    for (int round = 0; round < 200; ++round) {
      ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
      // A claim is no room, neither is a view that is held.
      const Leased leased = *Lease(&reader, kPriority, kMe);
      ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
      ASSERT_TRUE(reader.Take(kPriority, leased.head.slot, leased.head.position, kMe, true));
      ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
      reader.Done(kPriority, leased.head.slot, leased.head.position);
      ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    }
    // Another priority has its own.
    for (uint32_t i = 0; i < capacity; ++i) ASSERT_TRUE(writer.Append(30, {{}, "x"}, 0));
    ASSERT_FALSE(writer.Append(30, {{}, "x"}, 0));
  }
}

TEST(CellRoomTest, ARetractedMessageIsRoomAgain) {
  const CellLane lane(kSmallCells, 3);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    // A message that nobody claims keeps its entry of the order, so this ends after 32.
    for (int retracted = 0; retracted < 30; ++retracted) {
      ASSERT_TRUE(Send(&writer, kPriority, {{}, Pattern(1, 40000)}, 0)) << retracted;
      ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
      ASSERT_TRUE(writer.Retract(kPriority, kMe));
    }
    ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
    for (int i = 0; i < 2; ++i) ASSERT_EQ(Receive(&reader, kPriority, kMe), "x");
  }
  EXPECT_TRUE(writer.Drained());
}

TEST(CellRoomTest, RoomComesBackInAnyOrder) {
  TestRandom random;
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  std::vector<Leased> held;
  uint64_t number = 0;
  for (int i = 0; i < 30000; ++i) {
    if (random.OneIn(2)) {
      const std::string body = MakeBody(number + 1, 1, 24 + random.Below(300));
      const bool sent = Send(&writer, kPriority, {{}, body}, 0);
      // 16 of these bodies always fit the slab.
      ASSERT_EQ(sent, held.size() < 16);
      if (!sent) continue;
      ++number;
      const Leased leased = *Lease(&reader, kPriority, kMe);
      ASSERT_EQ(leased.head.position, number);
      ASSERT_TRUE(reader.Take(kPriority, leased.head.slot, number, kMe, true));
      held.push_back(leased);
      ASSERT_LE(held.size(), 16u);
    } else if (!held.empty()) {
      std::swap(held[random.Below(held.size())], held.back());
      const Leased leased = held.back();
      held.pop_back();
      const auto head = ReadBody(leased.body());
      ASSERT_TRUE(head.has_value()) << "overwritten";
      ASSERT_EQ(head->number, leased.head.position);
      reader.Done(kPriority, leased.head.slot, leased.head.position);
    }
  }
  for (const Leased& leased : held) {
    reader.Done(kPriority, leased.head.slot, leased.head.position);
  }
  EXPECT_TRUE(writer.Drained());
  EXPECT_TRUE(writer.Allocate(lane.geometry.slab_bytes, true).has_value());
}

TEST(CellRoomTest, OneLeaseForEverLeavesAllOtherRoomForManyRounds) {
  for (const bool taken : {false, true}) {
    const CellLane lane(kSmallCells, 10);
    CellWriter writer = lane.NewWriter();
    CellReader reader = lane.NewReader();
    ASSERT_TRUE(writer.Append(kPriority, {{}, "held"}, 0));
    const Leased held = *Lease(&reader, kPriority, kOther);
    ASSERT_TRUE(!taken || reader.Take(kPriority, held.head.slot, 1, kOther, true));
    uint64_t position = 1;
    for (int round = 0; round < 200; ++round) {
      for (int i = 0; i < 9; ++i) ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0)) << round;
      ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
      for (int i = 0; i < 9; ++i) {
        const absl::optional<Leased> leased = Lease(&reader, kPriority, kMe);
        ASSERT_TRUE(leased.has_value());
        ASSERT_EQ(leased->head.position, ++position);
        ASSERT_TRUE(reader.Take(kPriority, leased->head.slot, position, kMe, false));
      }
    }
    EXPECT_EQ(held.body(), "held");
    if (taken) {
      reader.Done(kPriority, held.head.slot, 1);
    } else {
      EXPECT_TRUE(reader.Return(kPriority, held.head.slot, 1, kOther));
      EXPECT_EQ(Receive(&reader, kPriority, kMe), "held");
    }
    EXPECT_TRUE(writer.Drained());
  }
}

TEST(CellRoomTest, AReturnedMessageThatNobodyTakesLeavesAllOtherRoom) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  ASSERT_TRUE(writer.Append(kPriority, {{}, "returned"}, 0));
  for (int round = 0; round < 200; ++round) {
    // Between its attempts the lane goes round.
    const Leased returned = *Lease(&reader, kPriority, kOther);
    ASSERT_EQ(returned.body(), "returned");
    for (int i = 0; i < 15; ++i) ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
    for (int i = 0; i < 15; ++i) ASSERT_EQ(Receive(&reader, kPriority, kMe), "x");
    ASSERT_TRUE(reader.Return(kPriority, returned.head.slot, 1, kOther));
  }
}

TEST(CellRoomTest, UrgentMessagesKeepAnEighthOfTheSlab) {
  const CellLane lane(kSmallCells);
  CellWriter writer = lane.NewWriter();
  int bulk = 0, urgent = 0;
  while (writer.Allocate(1024, false).has_value()) ++bulk;
  while (writer.Allocate(1024, true).has_value()) ++urgent;
  EXPECT_EQ(bulk, 56);
  EXPECT_EQ(urgent, 8);
}

TEST(CellRoomTest, RefusedSlabMessageLeavesItsRoomToTheCaller) {
  const CellLane lane(kSmallCells, 1);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  const absl::optional<SlabRoom> room = writer.Allocate(5000, false);
  ASSERT_TRUE(room.has_value());
  WriteBody(2, 1, 5000, room->data);
  ASSERT_FALSE(writer.AppendSlab(kPriority, *room, 5000, false, 0));
  ASSERT_EQ(Receive(&reader, kPriority, kMe), "x");
  ASSERT_TRUE(writer.AppendSlab(kPriority, *room, 5000, false, 0));
  const absl::optional<std::string> body = Receive(&reader, kPriority, kMe);
  ASSERT_TRUE(body.has_value());
  EXPECT_TRUE(ReadBody(*body).has_value());
  EXPECT_TRUE(writer.Drained());
}

TEST(CellRoomTest, ASenderThatSleepsIsToldOfEveryRoomAtOnce) {
  const CellLane lane(kSmallCells, 4);
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  while (writer.Append(kPriority, {{}, "x"}, 0)) {
  }
  for (int round = 0; round < 300; ++round) {
    const FutexWord word = writer.ParkForRoom();
    ASSERT_FALSE(writer.Append(kPriority, {{}, "x"}, 0));
    const Leased leased = *Lease(&reader, kPriority, kMe);
    ASSERT_EQ(word.word->load(), word.expected);
    if (round % 3 == 0) {
      ASSERT_TRUE(reader.Take(kPriority, leased.head.slot, leased.head.position, kMe, false));
    } else {
      ASSERT_TRUE(reader.Take(kPriority, leased.head.slot, leased.head.position, kMe, true));
      ASSERT_EQ(word.word->load(), word.expected);
      if (round % 3 == 1) reader.Done(kPriority, leased.head.slot, leased.head.position);
      ASSERT_TRUE(round % 3 == 1 || reader.ReleaseClaimsOf(kMe) == 0);
    }
    ASSERT_NE(word.word->load(), word.expected) << round;
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  }
}

TEST(CellRoomTest, EachRoomIsToldOfWhoeverOfTheReceiversGivesIt) {
  const CellLane lane(kSmallCells, 4);
  CellWriter writer = lane.NewWriter();
  CellReader readers[] = {lane.NewReader(), lane.NewReader(), lane.NewReader()};
  while (writer.Append(kPriority, {{}, "x"}, 0)) {
  }
  for (int round = 0; round < 300; ++round) {
    const FutexWord word = writer.ParkForRoom();
    ASSERT_TRUE(Receive(&readers[round % 3], kPriority, kMe).has_value());
    ASSERT_NE(word.word->load(), word.expected) << round;
    ASSERT_TRUE(writer.Append(kPriority, {{}, "x"}, 0));
  }
}

// Makes an unused lane one whose last message, done, was at `position`; it never held two, so that
// all stood in one slot.
void Age(const CellLane& lane, uint64_t position) {
  char* const data = lane.data.writable();
  reinterpret_cast<CellHeader*>(data)->rings_in_use.fetch_or(1u << kPriority);
  const uint32_t slot = 0;
  auto* const order =
      reinterpret_cast<std::atomic<uint64_t>*>(data + lane.geometry.order_offset(kPriority));
  const uint64_t entries = lane.geometry.order_entries();
  for (uint64_t past = position; past > 0 && past + entries > position; --past) {
    order[past % entries].store(OrderEntry{past, slot}.Pack());
  }
  auto* const slots = reinterpret_cast<Slot*>(data + lane.geometry.slot_offset(kPriority));
  slots[slot].sequence.store(position);
  auto* const states = reinterpret_cast<std::atomic<uint64_t>*>(
      lane.state.writable() + lane.geometry.state_offset(kPriority));
  CellState state;
  state.sequence = static_cast<uint32_t>(position);
  states[slot].store(state.Pack());
}

class CellAgeTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(CellAgeTest, ALaneGoesOnAtEveryPosition) {
  const CellLane lane(kSmallCells);
  // Makes the header.
  lane.NewWriter();
  Age(lane, GetParam());
  CellWriter writer = lane.NewWriter();
  CellReader reader = lane.NewReader();
  const absl::Status recovered = writer.Recover();
  ASSERT_TRUE(recovered.ok()) << recovered;
  ASSERT_EQ(writer.sequence(kPriority), GetParam());
  ASSERT_EQ(Receive(&reader, kPriority, kMe), absl::nullopt);
  uint64_t position = GetParam();
  TestRandom random(position);
  for (int round = 0; round < 30; ++round) {
    // Now one slot is in use, now all: some were not used for a very long time.
    const uint64_t count = round % 8 == 7 ? 16 : 1 + random.Below(16);
    for (uint64_t i = 1; i <= count; ++i) {
      ASSERT_TRUE(writer.Append(kPriority, {{}, Pattern(position + i, 20)}, 0));
    }
    for (uint64_t i = 0; i < count; ++i) {
      const absl::optional<Leased> leased = Lease(&reader, kPriority, kMe);
      ASSERT_TRUE(leased.has_value()) << position + 1 << " is lost";
      ASSERT_EQ(leased->head.position, ++position);
      ASSERT_EQ(leased->body(), Pattern(position, 20));
      ASSERT_TRUE(reader.Take(kPriority, leased->head.slot, position, kMe, false));
    }
  }
  EXPECT_TRUE(writer.Drained());
}

INSTANTIATE_TEST_SUITE_P(Positions, CellAgeTest,
                         ::testing::Values(5, 0x7ffffff0, 0x80000010, 0xc0000000, 0xfffffff0,
                                           0xfffffffe, 0xffffffff, 0x100000000, 0x180000001));

}  // namespace
}  // namespace mailrail
