#include "core/shm/budget.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/shm/memory.h"
#include "core/shm/memory_limit.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrail {
namespace {

using testing::HasSubstr;

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

// A budget that is granted by a word, and remembers what was asked for.
struct GrantedBudget {
  explicit GrantedBudget(uint64_t granted, uint64_t most = kNoLimit)
      : word(std::make_shared<SharedAtomic<uint64_t>>(granted)),
        budget(std::make_shared<Budget>("the test", most)) {
    budget->set_granted(word, [this](uint64_t used, uint64_t wanted) {
      absl::MutexLock lock(&mutex);
      asks.emplace_back(used, wanted);
    });
  }
  std::shared_ptr<SharedAtomic<uint64_t>> word;
  std::shared_ptr<Budget> budget;
  absl::Mutex mutex;  // of asks, while there are threads
  std::vector<std::pair<uint64_t, uint64_t>> asks;
};

uint64_t BytesThere(const Fd& memory) {
  struct stat status;
  EXPECT_EQ(fstat(memory.get(), &status), 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

TEST(BudgetTest, NothingBeyondTheLimitIsTaken) {
  GrantedBudget granted(100);
  EXPECT_TRUE(granted.budget->Take(60));
  EXPECT_FALSE(granted.budget->Take(41));
  EXPECT_EQ(granted.budget->used_bytes(), 60u);
  EXPECT_TRUE(granted.budget->Take(40));
  EXPECT_FALSE(granted.budget->Take(1));
  EXPECT_FALSE(granted.budget->Take(kNoLimit));
  granted.budget->Return(30);
  EXPECT_TRUE(granted.budget->Take(30));
}

TEST(BudgetTest, ALargerGrantCountsAtOnceAndASmallerOneTakesNothingBack) {
  GrantedBudget granted(100);
  EXPECT_FALSE(granted.budget->Take(150));
  granted.word->store(200);
  EXPECT_TRUE(granted.budget->Take(150));
  granted.word->store(50);
  EXPECT_EQ(granted.budget->used_bytes(), 150u);
  EXPECT_FALSE(granted.budget->Take(1));
  granted.budget->Return(120);
  EXPECT_TRUE(granted.budget->Take(20));
}

TEST(BudgetTest, AWordThatIsZeroGrantsEverything) {
  GrantedBudget granted(0);
  EXPECT_TRUE(granted.budget->Take(kNoLimit / 2));
}

TEST(BudgetTest, WhoIsShortAsksForWhatItWants) {
  GrantedBudget granted(1000);
  EXPECT_TRUE(granted.budget->Take(100));
  EXPECT_TRUE(granted.asks.empty());
  EXPECT_FALSE(granted.budget->Take(5000));
  ASSERT_EQ(granted.asks.size(), 1u);
  EXPECT_EQ(granted.asks[0], std::make_pair(uint64_t{100}, uint64_t{5000}));
}

TEST(BudgetTest, ErrorsNameTheLimitAndHowToRaiseIt) {
  GrantedBudget by_agent(uint64_t{3} << 20);
  const absl::Status status = by_agent.budget->CheckRoom(uint64_t{4} << 20, "a lane to q");
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("a lane to q"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("of its 3.0 MiB"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--memory-bytes"));
  GrantedBudget by_cgroup(uint64_t{3} << 20, uint64_t{1} << 20);
  EXPECT_THAT(by_cgroup.budget->Describe(), HasSubstr("memory limit of its cgroup"));
  EXPECT_TRUE(by_agent.budget->CheckRoom(1, "a lane").ok());
}

TEST(BudgetTest, ThreadsTogetherTakeNoMoreThanTheLimit) {
  GrantedBudget granted(100000);
  std::vector<std::thread> threads;
  std::atomic<uint64_t> taken{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20000; ++n) {
        if (granted.budget->Take(3)) taken += 3;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken, 99999u);
  EXPECT_EQ(granted.budget->used_bytes(), 99999u);
}

TEST(BudgetReserveTest, WhatIsTakenIsThereAndWhatIsRefusedIsNot) {
  const Fd memory = CreateMemory("test", 1 << 20).value();
  const Mapping mapping = Mapping::Map(memory, 1 << 20, Access::kReadWrite).value();
  GrantedBudget granted(64 << 10);
  {
    BudgetReserve reserve(granted.budget);
    EXPECT_EQ(BytesThere(memory), 0u);
    EXPECT_TRUE(reserve.Take(mapping.data() + 100, 40000));
    EXPECT_EQ(BytesThere(memory), 40960u);
    EXPECT_EQ(granted.budget->used_bytes(), 40960u);
    EXPECT_FALSE(reserve.Take(mapping.data() + 81920, 40000));
    EXPECT_EQ(BytesThere(memory), 40960u);
    EXPECT_THAT(reserve.Why(), HasSubstr("--memory-bytes"));
    reserve.Force(mapping.data() + 81920, 40000);
    EXPECT_EQ(BytesThere(memory), 81920u);
    EXPECT_EQ(mapping.data()[100], 0);
  }
  EXPECT_EQ(granted.budget->used_bytes(), 0u);
}

TEST(BudgetReserveTest, SealedMemoryIsReservedAsWell) {
  const Fd memory = CreateMemory("test", 1 << 20, MoreSeals::kAllowed).value();
  const Mapping mapping = Mapping::Map(memory, 1 << 20, Access::kReadWrite).value();
  ASSERT_TRUE(SealAgainstWriting(memory).ok());
  BudgetReserve reserve(GrantedBudget(0).budget);
  EXPECT_TRUE(reserve.Take(mapping.data(), 1 << 20));
  EXPECT_EQ(BytesThere(memory), uint64_t{1} << 20);
}

class MemoryLimitTest : public testing::Test {
 protected:
  MemoryLimitTest() { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file(root_ + path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  const std::string root_ =
      testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(MemoryLimitTest, WithoutACgroupThereIsNone) {
  EXPECT_EQ(CgroupMemoryLimit(root_), kNoLimit);
}

TEST_F(MemoryLimitTest, TheSmallestOfAllCgroupsAboveCounts) {
  Write("/proc/self/cgroup", "0::/a/b/c\n");
  Write("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), kNoLimit);
  Write("/sys/fs/cgroup/a/b/memory.max", "3000000\n");
  Write("/sys/fs/cgroup/a/memory.max", "5000000\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 3000000u);
}

TEST_F(MemoryLimitTest, AContainerSeesItsOwnAtTheTop) {
  Write("/proc/self/cgroup", "0::/../..\n");
  Write("/sys/fs/cgroup/memory.max", "7000000\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 7000000u);
}

TEST_F(MemoryLimitTest, VersionOneIsReadToo) {
  Write("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x/y\n0::/\n");
  Write("/sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "8000000\n");
  EXPECT_EQ(CgroupMemoryLimit(root_), 8000000u);
}

TEST_F(MemoryLimitTest, AHostHasMemory) { EXPECT_GT(PhysicalMemory(), uint64_t{64} << 20); }

}  // namespace
}  // namespace mailrail
