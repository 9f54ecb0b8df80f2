// What becomes of claimed messages in a mailbox lane: given back, now or for later, and handed out
// often enough.
#include <gtest/gtest.h>

#include <vector>

#include "core/lane/cell_testing.h"

namespace mailrail {
namespace {

constexpr int kPriority = 9;
constexpr uint32_t kOwner = 7;
constexpr uint32_t kOther = 8;
constexpr uint32_t kSender = 99;
constexpr int64_t kSecond = 1000000000;

class CellLeaseTest : public ::testing::Test {
 protected:
  bool SendOne(absl::string_view body) { return Send(&writer_, kPriority, {{}, body}, 0); }
  Leased LeaseOne(CellReader* reader, uint32_t owner) {
    const absl::optional<Leased> leased = Lease(reader, kPriority, owner);
    Require(leased.has_value(), "a message to lease");
    return *leased;
  }
  bool GiveBack(const Leased& leased, uint32_t owner) {
    return reader_.Return(kPriority, leased.head.slot, leased.head.position, owner);
  }
  std::vector<CellReader::Kept> Kept() const {
    std::vector<CellReader::Kept> all;
    reader_.ForEachKept([&](const CellReader::Kept& kept) { all.push_back(kept); });
    return all;
  }

  CellLane lane_{kSmallCells};
  CellWriter writer_ = lane_.NewWriter();
  CellReader reader_ = lane_.NewReader();
  CellReader other_ = lane_.NewReader();
};

TEST(DueTickTest, IsDueFromItsTimeOnAndLeftBeforeIsHowLong) {
  for (const int64_t start : {int64_t{0}, 5 * kSecond, (int64_t{1} << 24) * 64000000 - kSecond}) {
    for (const int64_t delay : {int64_t{1}, kSecond / 100, kSecond, 5 * 24 * 3600 * kSecond}) {
      const uint32_t tick = DueTick::After(start, delay);
      const int64_t left = DueTick::Left(tick, start);
      EXPECT_GE(left, delay);
      EXPECT_LE(left, delay + DueTick::kNanoseconds);
      EXPECT_LE(DueTick::Left(tick, start + left), 0);
      EXPECT_GT(DueTick::Left(tick, start + left - 1), 0);
      EXPECT_LE(DueTick::Left(tick, start + left + 24 * 3600 * kSecond), 0);
    }
    EXPECT_LE(DueTick::Left(DueTick::After(start, 0), start), 0);
  }
}

TEST_F(CellLeaseTest, WhatIsGivenBackForLaterIsNobodysUntilItIsDueAndThenGoesFirst) {
  ASSERT_TRUE(SendOne("first"));
  ASSERT_TRUE(SendOne("second"));
  const Leased leased = LeaseOne(&reader_, kOwner);
  EXPECT_TRUE(reader_.ReturnLater(kPriority, leased.head.slot, leased.head.position, kOwner, 5));
  EXPECT_FALSE(GiveBack(leased, kOwner));
  EXPECT_EQ(reader_.Count().delayed, 1u);
  const std::vector<CellReader::Kept> kept = Kept();
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].state.owner, 5u);
  EXPECT_EQ(kept[0].position, 1u);
  const Leased second = LeaseOne(&other_, kOther);
  EXPECT_EQ(second.body(), "second");
  EXPECT_FALSE(Lease(&other_, kPriority, kOther).has_value());
  EXPECT_TRUE(reader_.MakeDue(kept[0]));
  EXPECT_FALSE(reader_.MakeDue(kept[0]));
  ASSERT_TRUE(GiveBack(second, kOther));
  const Leased again = LeaseOne(&other_, kOther);
  EXPECT_EQ(again.body(), "first");
  EXPECT_EQ(again.head.attempts, 1u);
}

TEST_F(CellLeaseTest, AMessageIsCondemnedWhenItComesBackForTheLastTime) {
  reader_.set_max_attempts(2);
  ASSERT_TRUE(SendOne("first"));
  ASSERT_TRUE(GiveBack(LeaseOne(&reader_, kOwner), kOwner));
  ASSERT_TRUE(GiveBack(LeaseOne(&reader_, kOwner), kOwner));
  EXPECT_FALSE(Lease(&other_, kPriority, kOther).has_value());
  EXPECT_EQ(reader_.Count().condemned, 1u);
  EXPECT_FALSE(writer_.Drained());
  const std::vector<CellReader::Kept> kept = Kept();
  ASSERT_EQ(kept.size(), 1u);
  Record record;
  ASSERT_EQ(reader_.ReadKept(kept[0], &record), Look::kReady);
  EXPECT_EQ(absl::string_view(record.data, record.length), "first");
  EXPECT_TRUE(reader_.Discard(kept[0]));
  EXPECT_FALSE(reader_.Discard(kept[0]));
  EXPECT_TRUE(writer_.Drained());
  EXPECT_EQ(reader_.Count().left(), 0u);
}

TEST_F(CellLeaseTest, WhatADeadOwnerHeldForTheLastTimeIsCondemned) {
  reader_.set_max_attempts(1);
  ASSERT_TRUE(SendOne("first"));
  LeaseOne(&other_, kOther);
  EXPECT_EQ(reader_.ReleaseClaimsOf(kOther), 1);
  EXPECT_EQ(reader_.Count().condemned, 1u);
}

TEST_F(CellLeaseTest, WhatIsReturnedUnseenCountsNoAttempt) {
  reader_.set_max_attempts(1);
  ASSERT_TRUE(SendOne("first"));
  const Leased leased = LeaseOne(&reader_, kOwner);
  ASSERT_TRUE(reader_.Return(kPriority, leased.head.slot, leased.head.position, kOwner,
                             /*attempted=*/false));
  EXPECT_EQ(LeaseOne(&other_, kOther).head.attempts, 0u);
}

TEST_F(CellLeaseTest, AnOldLeaseOfOneOwnerIsNotItsNewOne) {
  ASSERT_TRUE(SendOne("first"));
  const CellHead old = LeaseOne(&reader_, kOwner).head;
  // Taken away, and had again.
  ASSERT_TRUE(other_.Return(kPriority, old.slot, old.position, kOwner));
  const CellHead now = LeaseOne(&reader_, kOwner).head;
  EXPECT_FALSE(reader_.Take(kPriority, old.slot, old.position, kOwner, false, old.attempts));
  EXPECT_FALSE(
      reader_.Return(kPriority, old.slot, old.position, kOwner, /*attempted=*/true, old.attempts));
  EXPECT_FALSE(reader_.ReturnLater(kPriority, old.slot, old.position, kOwner, 1, old.attempts));
  EXPECT_TRUE(reader_.Take(kPriority, now.slot, now.position, kOwner, false, now.attempts));
}

TEST_F(CellLeaseTest, ItsSenderRecallsWhatWasGivenBackForLaterAndNothingElse) {
  ASSERT_TRUE(SendOne("first"));
  EXPECT_FALSE(writer_.Recall(kPriority, kSender, 1));
  const Leased leased = LeaseOne(&reader_, kOwner);
  EXPECT_FALSE(writer_.Recall(kPriority, kSender, 1));
  ASSERT_TRUE(reader_.ReturnLater(kPriority, leased.head.slot, leased.head.position, kOwner, 5));
  EXPECT_TRUE(writer_.Recall(kPriority, kSender, 1));
  EXPECT_FALSE(writer_.Recall(kPriority, kSender, 1));
  EXPECT_EQ(writer_.StateOf(kPriority, 1)->owner, kSender);
  EXPECT_TRUE(writer_.Drained());
  EXPECT_TRUE(Kept().empty());
}

TEST_F(CellLeaseTest, ASenderThatTakesTheLaneUpAgainKeepsWhatIsDelayedOrCondemned) {
  reader_.set_max_attempts(1);
  const std::string large(5000, 'x');
  ASSERT_TRUE(SendOne(large));
  ASSERT_TRUE(SendOne(large));
  ASSERT_TRUE(GiveBack(LeaseOne(&reader_, kOwner), kOwner));
  other_.set_max_attempts(0);
  const Leased second = LeaseOne(&other_, kOther);
  ASSERT_TRUE(other_.ReturnLater(kPriority, second.head.slot, second.head.position, kOther, 5));
  CellWriter next = lane_.NewWriter();
  ASSERT_TRUE(next.Recover().ok());
  for (int i = 0; i < 100; ++i) {
    const std::string body(5000, 'y');
    if (!Send(&next, kPriority, {{}, body}, 0)) break;
  }
  const std::vector<CellReader::Kept> kept = Kept();
  ASSERT_EQ(kept.size(), 2u);
  for (const CellReader::Kept& each : kept) {
    Record record;
    ASSERT_EQ(reader_.ReadKept(each, &record), Look::kReady);
    EXPECT_EQ(absl::string_view(record.data, record.length), large);
  }
}

}  // namespace
}  // namespace mailrail
