#include "core/sync/any_sync.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "core/sync/barrier_memory.h"
#include "core/sync/condition_memory.h"
#include "core/sync/mutex_memory.h"
#include "core/sync/semaphore_memory.h"
#include "core/sync/shared_mutex_memory.h"
#include "core/sync/sync_testing.h"

namespace mailrail {
namespace {

constexpr uint64_t kFence = 1000;

// One of each kind.
const std::vector<SyncSpec>& Specs() {
  static const auto* const specs = new std::vector<SyncSpec>{{SyncKind::kMutex},
                                                             {SyncKind::kSharedMutex},
                                                             {SyncKind::kSemaphore, 5, 3},
                                                             {SyncKind::kCondition},
                                                             {SyncKind::kBarrier, 4}};
  return *specs;
}

class AnySyncTest : public ::testing::Test {
 protected:
  AnySync Make(const SyncSpec& spec) {
    memory_ = std::make_unique<TwiceMapped>(AnySync::BytesFor(spec));
    AnySync::Format(data(), spec, kFence);
    return AnySync(data(), size(), spec.kind);
  }
  char* data() { return memory_->writable(); }
  size_t size() const { return memory_->size(); }

 private:
  std::unique_ptr<TwiceMapped> memory_;
};

TEST_F(AnySyncTest, NewOnesAreOfTheirKindAndFree) {
  for (const SyncSpec& spec : Specs()) {
    const AnySync object = Make(spec);
    EXPECT_TRUE(AnySync::Check(data(), size(), spec).ok());
    EXPECT_TRUE(object.Holds(10).empty());
    EXPECT_EQ(object.Value(), spec.initial);
    for (const SyncSpec& other : Specs()) {
      if (other.kind == spec.kind) continue;
      EXPECT_FALSE(AnySync::Check(data(), size(), other).ok());
    }
  }
}

TEST_F(AnySyncTest, NumbersOutOfRangeAreRefused) {
  for (const SyncSpec& spec :
       {SyncSpec{SyncKind::kSemaphore, 0, 0}, SyncSpec{SyncKind::kSemaphore, 3, 4},
        SyncSpec{SyncKind::kSemaphore, 32769, 1}, SyncSpec{SyncKind::kBarrier, 0},
        SyncSpec{SyncKind::kBarrier, 4097}, SyncSpec{static_cast<SyncKind>(0)},
        SyncSpec{static_cast<SyncKind>(77)}}) {
    EXPECT_EQ(AnySync::CheckSpec(spec).code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(AnySyncTest, TokensBeginWhereTheyAreToldTo) {
  Make({SyncKind::kMutex});
  MutexMemory mutex(data(), size());
  EXPECT_EQ(mutex.TryLock({7, 1}, false), Acquired::kYes);
  EXPECT_EQ(mutex.Fence({7, 1}), kFence + 1);
}

TEST_F(AnySyncTest, WhoHoldsItIsSeen) {
  AnySync object = Make({SyncKind::kMutex});
  MutexMemory(data(), size()).TryLock({7, 2}, false);
  ASSERT_EQ(object.Holds(10).size(), 1u);
  EXPECT_EQ(object.Holds(10)[0].holder, (Holder{7, 2}));

  object = Make({SyncKind::kSharedMutex});
  SharedMutexMemory shared(data(), size());
  uint32_t cell = 0;
  EXPECT_EQ(shared.TryLockShared({7, 1}, &cell), Acquired::kYes);
  EXPECT_EQ(shared.TryLockShared({8, 1}, &cell), Acquired::kYes);
  EXPECT_EQ(shared.TryLock({9, 1}), Acquired::kYes) << "and waits for the two";
  const std::vector<Hold> holds = object.Holds(10);
  ASSERT_EQ(holds.size(), 3u);
  EXPECT_EQ(holds[0].holder, (Holder{9, 1}));
  EXPECT_FALSE(holds[0].shared);
  EXPECT_TRUE(holds[1].shared && holds[2].shared);
  EXPECT_EQ(object.Holds(2).size(), 2u);

  object = Make({SyncKind::kSemaphore, 5, 3});
  EXPECT_TRUE(SemaphoreMemory(data(), size()).TryAcquire({7, 3}, false, &(cell = 0)));
  ASSERT_EQ(object.Holds(10).size(), 1u);
  EXPECT_EQ(object.Value(), 2u);

  object = Make({SyncKind::kBarrier, 4});
  BarrierMemory::Place place;
  EXPECT_TRUE(BarrierMemory(data(), size()).Arrive({7, 4}, &place));
  ASSERT_EQ(object.Holds(10).size(), 1u);
  EXPECT_EQ(object.Value(), 1u);

  object = Make({SyncKind::kCondition});
  EXPECT_TRUE(ConditionMemory(data(), size()).Enlist({7, 5}, &cell));
  EXPECT_TRUE(object.Holds(10).empty()) << "who waits holds nothing";
  EXPECT_EQ(object.Value(), 1u);
}

TEST_F(AnySyncTest, WhatTheGoneHoldIsFreed) {
  AnySync object = Make({SyncKind::kSharedMutex});
  SharedMutexMemory shared(data(), size());
  uint32_t cell = 0;
  shared.TryLockShared({7, 1}, &cell);
  shared.TryLockShared({8, 1}, &cell);
  shared.TryLock({9, 1});
  object.RemoveHolders([](uint32_t number) { return number != 8; });
  ASSERT_EQ(object.Holds(10).size(), 1u);
  EXPECT_EQ(object.Holds(10)[0].holder.number, 8u);
  object.RemoveHolder(8);
  EXPECT_TRUE(object.Holds(10).empty());
}

TEST_F(AnySyncTest, AClosedOneSaysSo) {
  for (const SyncSpec& spec : Specs()) {
    AnySync object = Make(spec);
    EXPECT_FALSE(SyncMemory(data(), size()).closed());
    object.Close();
    EXPECT_TRUE(SyncMemory(data(), size()).closed());
  }
}

// What other processes may write into it.
TEST_F(AnySyncTest, WhateverItSaysNothingBeyondItsMemoryIsTouched) {
  TestRandom random(7);
  for (int round = 0; round < 2000; ++round) {
    const SyncSpec& spec = Specs()[random.Below(Specs().size())];
    AnySync object = Make(spec);
    for (int i = 0; i < 64; ++i) {
      data()[random.Below(AnySync::BytesFor(spec))] = static_cast<char>(random.Below(256));
    }
    // The mapping ends with it: what lies behind is not there.
    reinterpret_cast<SyncHeader*>(data())->cells = static_cast<uint32_t>(random.Below(1u << 31));
    EXPECT_LE(object.Holds(1024).size(), 1024u);
    EXPECT_LE(object.Value(), size());
    object.RemoveHolders([&](uint32_t) { return random.OneIn(2); });
    object.RemoveHolder(static_cast<uint32_t>(random.Below(1u << 24)));
    object.Close();
  }
}

}  // namespace
}  // namespace mailrail
