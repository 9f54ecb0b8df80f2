// What a reader of a mailbox lane passes over (CellChoice).
#include "core/lane/cell_choice.h"

#include <gtest/gtest.h>

#include <string>

#include "core/lane/cell_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;
constexpr uint32_t kMe = 7, kOther = 8;

class CellChoiceTest : public testing::Test {
 protected:
  void Send(const std::string& body, uint32_t key = 0) {
    ASSERT_TRUE(writer_.Append(kPriority, {{}, body}, 0, Publication::kFenced, {}, key)) << body;
  }
  CellReader NewReader(const CellChoice& choice) {
    CellReader reader = lane_.NewReader();
    reader.set_choice(&choice, 1);
    return reader;
  }
  // Messages of this key come and go, until the order is some rounds further.
  void GoRound(CellReader* reader, uint32_t key = 0) {
    for (int i = 0; i < 100; ++i) {
      Send("round", key);
      ASSERT_EQ(Receive(reader, kPriority, kOther), "round") << i;
    }
  }

  CellLane lane_{kSmallCells};
  CellWriter writer_ = lane_.NewWriter();
};

TEST_F(CellChoiceTest, AReaderThatComesLateFindsWhatIsHeld) {
  const CellChoice choice{.hold_order = true, .receivers = {}};
  CellReader other = NewReader(choice);
  GoRound(&other);
  for (const char* body : {"a1", "a2"}) Send(body);
  const Leased held = *Lease(&other, kPriority, kOther);
  CellReader late = NewReader(choice);
  EXPECT_EQ(Receive(&late, kPriority, kMe), absl::nullopt);
  ASSERT_TRUE(other.Take(kPriority, held.head.slot, held.head.position, kOther, false));
  EXPECT_EQ(Receive(&late, kPriority, kMe), "a2");
}

TEST_F(CellChoiceTest, AMessageThatHasOutlivedItsEntryHoldsUpThoseOfItsKeyStill) {
  const CellChoice choice{
      .hold_order = true, .by = CellChoice::By::kKey, .self = kMe, .receivers = {kMe}};
  CellReader reader = NewReader(choice);
  Send("a1", 5);
  const Leased held = *Lease(&reader, kPriority, kMe);
  GoRound(&reader, 6);
  Send("a2", 5);
  Send("b1", 6);
  CellReader late = NewReader(choice);
  for (CellReader* each : {&reader, &late}) {
    CellHead head;
    ASSERT_EQ(each->Peek(kPriority, &head), Look::kReady);
    EXPECT_EQ(head.position, 103u) << "b1 alone";
  }
  EXPECT_EQ(Receive(&late, kPriority, kOther), "b1");
  ASSERT_TRUE(reader.Return(kPriority, held.head.slot, held.head.position, kMe));
  EXPECT_EQ(Receive(&late, kPriority, kOther), "a1");
  EXPECT_EQ(Receive(&reader, kPriority, kMe), "a2");
  EXPECT_EQ(Receive(&late, kPriority, kOther), absl::nullopt);
}

TEST_F(CellChoiceTest, AReaderGoesBackToWhatItHasPassedOverWhenTheReceiversChange) {
  CellChoice mine{.by = CellChoice::By::kPosition, .self = kMe, .receivers = {kMe, kOther}};
  CellReader reader = NewReader(mine);
  for (int i = 1; i <= 6; ++i) Send(std::to_string(i));
  // In this lane, 1, the odd ones are the first receiver's.
  for (const char* body : {"1", "3", "5"}) EXPECT_EQ(Receive(&reader, kPriority, kMe), body);
  EXPECT_EQ(Receive(&reader, kPriority, kMe), absl::nullopt);
  mine.receivers = {kMe};
  ++mine.version;
  for (const char* body : {"2", "4", "6"}) EXPECT_EQ(Receive(&reader, kPriority, kMe), body);
  EXPECT_EQ(Receive(&reader, kPriority, kMe), absl::nullopt);
  // Who is none of the receivers gets nothing.
  mine.receivers = {kOther};
  ++mine.version;
  Send("7");
  EXPECT_EQ(Receive(&reader, kPriority, kMe), absl::nullopt);
}

// The sender's room is full when its order cannot go on beside what nobody takes.
TEST_F(CellChoiceTest, WhatAReceiverDoesNotTakeHoldsUpItsSenderInTheEnd) {
  const CellChoice mine{.by = CellChoice::By::kKey, .self = kMe, .receivers = {kMe}};
  const CellChoice other{.by = CellChoice::By::kKey, .self = kOther, .receivers = {kMe}};
  CellReader takes = NewReader(mine);
  CellReader passes = NewReader(other);
  Send("slow", 5);
  EXPECT_EQ(Receive(&passes, kPriority, kOther), absl::nullopt);
  int sent = 0;
  while (sent < 1000 && writer_.Append(kPriority, {{}, "x"}, 0)) {
    ASSERT_EQ(Receive(&passes, kPriority, kOther), "x");
    ++sent;
  }
  EXPECT_GE(sent, 16);
  EXPECT_LE(sent, 32);
  EXPECT_EQ(Receive(&takes, kPriority, kMe), "slow");
  EXPECT_TRUE(writer_.Append(kPriority, {{}, "x"}, 0));
}

}  // namespace
}  // namespace mailrail
