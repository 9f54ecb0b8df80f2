#include "core/shm/handle_lock.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mailrail {
namespace {

// What a lock guards, used so that two users at a time lose counts.
class Guarded {
 public:
  void Use() {
    const HandleLockHolder lock(&lock_);
    const int seen = count_;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    count_ = seen + 1;
  }
  HandleLock& lock() { return lock_; }
  int count() {
    const HandleLockHolder lock(&lock_);
    return count_;
  }

 private:
  HandleLock lock_;
  int count_ ABSL_GUARDED_BY(lock_) = 0;
};

TEST(HandleLockTest, SeveralHandlesTakeTurns) {
  Guarded guarded;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      guarded.lock().AddHandle();
      for (int use = 0; use < 20000; ++use) guarded.Use();
      guarded.lock().RemoveHandle();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(guarded.count(), 80000);
}

TEST(HandleLockTest, ASecondHandleMayComeAtAnyMomentOfTheFirstOnesUse) {
  Guarded guarded;
  std::atomic<bool> stop{false};
  int first_used = 0;
  guarded.lock().AddHandle();
  std::thread first([&] {
    while (!stop) {
      for (int use = 0; use < 100; ++use) guarded.Use();
      first_used += 100;
      // Gone and back: it is the sole one again whenever the other is not there.
      guarded.lock().RemoveHandle();
      guarded.lock().AddHandle();
    }
  });
  int second_used = 0;
  for (int round = 0; round < 2000; ++round) {
    guarded.lock().AddHandle();
    for (int use = 0; use < 10; ++use) guarded.Use();
    second_used += 10;
    guarded.lock().RemoveHandle();
  }
  stop = true;
  first.join();
  guarded.lock().RemoveHandle();
  EXPECT_EQ(guarded.count(), first_used + second_used);
}

}  // namespace
}  // namespace mailrail
