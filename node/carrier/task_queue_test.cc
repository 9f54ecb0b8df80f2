#include "node/carrier/task_queue.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "node/carrier/carrier_testing.h"

namespace mailrail {
namespace {

class TaskQueueTest : public ::testing::Test {
 protected:
  // A task that notes its name.
  TaskQueue::Task Note(std::string name) {
    return [this, name = std::move(name)] { ran.push_back(name); };
  }

  void RunAll() {
    while (queue.Run()) {
    }
  }

  TestDestination bell;
  TaskQueue queue{bell.bell(), bell.gate()};
  std::vector<std::string> ran;
  const int session = 0, other = 0;
};

TEST_F(TaskQueueTest, RunsCommandsAndWhatIsUrgentFirstAndEachInOrder) {
  queue.AddFrom(&session, /*urgent=*/false, 10, Note("bulk 1"));
  queue.Add(Note("command 1"));
  queue.AddFrom(&other, /*urgent=*/true, 10, Note("urgent"));
  queue.AddFrom(&session, /*urgent=*/false, 0, Note("bulk 2"));
  queue.Add(Note("command 2"));
  RunAll();
  EXPECT_EQ(ran,
            (std::vector<std::string>{"command 1", "urgent", "command 2", "bulk 1", "bulk 2"}));
}

TEST_F(TaskQueueTest, WhatIsUrgentDoesNotWaitForAllThatIsBulk) {
  for (int i = 0; i < 1000; ++i) queue.AddFrom(&session, false, 10, Note("bulk"));
  queue.Run();
  queue.AddFrom(&other, true, 10, Note("urgent"));
  const size_t before = ran.size();
  queue.Run();
  EXPECT_EQ(ran.size(), before + 1);
  EXPECT_EQ(ran.back(), "urgent");
  RunAll();
  EXPECT_EQ(ran.size(), 1001u);
}

TEST_F(TaskQueueTest, ASessionWithTooMuchInTheQueueWaitsAlone) {
  queue.AddFrom(&session, false, TaskQueue::kSessionBytes, Note("first"));
  std::thread waiting([&] { queue.AddFrom(&session, false, 1, Note("second")); });
  queue.AddFrom(&other, false, 1, Note("another session"));
  queue.AddFrom(&session, false, 0, Note("its end"));
  while (ran.size() < 4) queue.Run();
  waiting.join();
  EXPECT_EQ(ran[0], "first");
}

TEST_F(TaskQueueTest, ClosingEndsTheWaitAndDropsWhatIsThere) {
  queue.AddFrom(&session, false, TaskQueue::kSessionBytes, Note("first"));
  std::thread waiting([&] { queue.AddFrom(&session, false, 1, Note("second")); });
  queue.Close();
  waiting.join();
  queue.Add(Note("third"));
  EXPECT_FALSE(queue.Run());
  EXPECT_TRUE(ran.empty());
}

TEST_F(TaskQueueTest, RingsOncePerPark) {
  const auto gate = [&] { return bell.gate()->gate.load(); };
  const uint32_t before = gate();
  queue.Add(Note("awake"));
  EXPECT_EQ(gate(), before);
  Parker parker(bell.bell(), bell.gate());
  parker.Park();
  queue.Add(Note("asleep"));
  queue.Add(Note("woken"));
  EXPECT_EQ(gate(), before + 1);
  parker.Unpark(/*sole=*/true);
  queue.Add(Note("awake again"));
  EXPECT_EQ(gate(), before + 1);
}

}  // namespace
}  // namespace mailrail
