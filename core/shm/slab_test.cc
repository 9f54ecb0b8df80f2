#include "core/shm/slab.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace mailrail {
namespace {

constexpr uint64_t kBytes = 1 << 20;

TEST(SlabTest, BlocksNeverOverlapAndAllRoomComesBack) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  SlabAllocator slab(kBytes);
  struct Block {
    uint64_t offset, bytes;
  };
  std::vector<Block> held;
  std::vector<bool> used(kBytes / 64);
  for (int i = 0; i < 20000; ++i) {
    if (held.empty() || random() % 2 == 0) {
      const uint64_t bytes = random() % 20000;
      const auto offset = slab.Allocate(bytes, random() % 4 == 0);
      if (!offset.has_value()) continue;
      for (uint64_t line = *offset / 64; line < (*offset + SlabAllocator::RoomFor(bytes)) / 64;
           ++line) {
        ASSERT_FALSE(used[line]);
        used[line] = true;
      }
      held.push_back({*offset, bytes});
    } else {
      const size_t at = random() % held.size();
      const Block block = held[at];
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
      for (uint64_t line = block.offset / 64;
           line < (block.offset + SlabAllocator::RoomFor(block.bytes)) / 64; ++line) {
        used[line] = false;
      }
      slab.Free(block.offset, block.bytes);
    }
  }
  for (const Block& block : held) slab.Free(block.offset, block.bytes);
  EXPECT_EQ(slab.free_bytes(), kBytes);
  EXPECT_TRUE(slab.Allocate(kBytes, true).has_value());
}

TEST(SlabTest, BulkLeavesAnEighthToUrgent) {
  SlabAllocator slab(kBytes);
  while (slab.Allocate(4096, false).has_value()) {
  }
  EXPECT_EQ(slab.free_bytes(), kBytes / 8);
  EXPECT_TRUE(slab.Allocate(kBytes / 8, true).has_value());
}

TEST(SlabTest, ReserveTakesExactlyThatRoomOnce) {
  SlabAllocator slab(kBytes);
  EXPECT_TRUE(slab.Reserve(4096, 100));
  EXPECT_FALSE(slab.Reserve(4096, 100));
  EXPECT_FALSE(slab.Reserve(4096 + 64, 64));
  EXPECT_FALSE(slab.Reserve(kBytes - 64, 65));
  EXPECT_TRUE(slab.Reserve(4096 + 128, 64));
  slab.Free(4096, 100);
  slab.Free(4096 + 128, 64);
  EXPECT_TRUE(slab.Reserve(0, kBytes));
}

TEST(SlabTest, ReserveRefusesWhatOverflowsOrIsNotAligned) {
  SlabAllocator slab(kBytes);
  const uint64_t most = ~uint64_t{0};
  EXPECT_FALSE(slab.Reserve(0, most));
  EXPECT_FALSE(slab.Reserve(64, most - 63));
  EXPECT_FALSE(slab.Reserve(most, 1));
  EXPECT_FALSE(slab.Reserve(most - 63, 64));
  EXPECT_FALSE(slab.Reserve(uint64_t{1} << 63, uint64_t{1} << 63));
  EXPECT_FALSE(slab.Reserve(kBytes, 1));
  EXPECT_FALSE(slab.Reserve(1, 1));
  EXPECT_EQ(slab.free_bytes(), kBytes);
  EXPECT_TRUE(slab.Reserve(0, kBytes));
}

// Provides up to a limit, and remembers how far.
class LimitedReserve : public Reserve {
 public:
  LimitedReserve(const char* data, uint64_t limit) : data_(data), limit_(limit) {}
  bool Take(char* at, size_t bytes) override {
    EXPECT_EQ(at, data_ + reserved);  // without a gap, and nothing twice
    if (reserved + bytes > limit_) return false;
    reserved += bytes;
    return true;
  }
  bool Count(size_t) override { return true; }
  bool Provide(char*, size_t) override { return true; }
  void Force(char* at, size_t bytes) override {
    EXPECT_EQ(at, data_ + reserved);
    reserved += bytes;
  }
  std::string Why() const override { return "the test has none"; }

  uint64_t reserved = 0;

 private:
  const char* const data_;
  const uint64_t limit_;
};

constexpr uint64_t kMany = uint64_t{16} << 20;

TEST(SlabTest, ReservesWhatIsUsedInGrowingStepsOfWholePages) {
  std::vector<char> data(kMany);
  LimitedReserve reserve(data.data(), kMany);
  Slab slab(data.data(), kMany, &reserve);
  EXPECT_EQ(slab.Allocate(100, false, false), 0u);
  EXPECT_EQ(reserve.reserved, 4096u);
  EXPECT_EQ(slab.Allocate(5000, false, false), 128u);
  EXPECT_EQ(reserve.reserved, 8192u);
  EXPECT_TRUE(slab.Allocate(100000, false, false).has_value());
  EXPECT_EQ(reserve.reserved, 106496u);
}

TEST(SlabTest, ALargeOneGrowsOnlyWhenItIsAskedAgain) {
  std::vector<char> data(kMany);
  LimitedReserve reserve(data.data(), kMany);
  Slab slab(data.data(), kMany, &reserve);
  EXPECT_EQ(slab.Allocate(1 << 20, false, false), 0u);
  EXPECT_FALSE(slab.Allocate(1 << 20, false, false).has_value());
  EXPECT_FALSE(slab.short_of_memory());
  EXPECT_EQ(slab.Allocate(1 << 20, false, true), uint64_t{1} << 20);
  slab.Free(0, 1 << 20);
  EXPECT_EQ(slab.Allocate(1 << 20, false, false), 0u);
}

TEST(SlabTest, WhatCannotBeReservedIsNotThereAndSaysSo) {
  std::vector<char> data(kMany);
  LimitedReserve reserve(data.data(), 12288);
  Slab slab(data.data(), kMany, &reserve);
  EXPECT_EQ(slab.Allocate(8192, false, true), 0u);
  EXPECT_FALSE(slab.Allocate(4097, false, true).has_value());
  EXPECT_TRUE(slab.short_of_memory());
  // By less than it would, it still grows.
  EXPECT_EQ(slab.Allocate(4096, false, true), 8192u);
  EXPECT_FALSE(slab.short_of_memory());
}

TEST(SlabTest, WhatIsRecoveredCountsInAnyCaseAndOnce) {
  std::vector<char> data(kMany);
  LimitedReserve reserve(data.data(), 0);
  Slab slab(data.data(), kMany, &reserve);
  EXPECT_TRUE(slab.Recover(8192, 100));
  EXPECT_EQ(reserve.reserved, 12288u);
  EXPECT_TRUE(slab.Recover(0, 64));
  EXPECT_EQ(reserve.reserved, 12288u);
  EXPECT_FALSE(slab.Recover(0, 64));
  EXPECT_FALSE(slab.Recover(kMany, 64));
  EXPECT_EQ(reserve.reserved, 12288u);
  EXPECT_EQ(slab.Allocate(64, false, true), 64u);
}

}  // namespace
}  // namespace mailrail
