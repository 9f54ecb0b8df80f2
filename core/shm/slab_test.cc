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

}  // namespace
}  // namespace mailrail
