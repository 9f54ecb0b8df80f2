#include "node/carrier/task_queue.h"

#include <memory>
#include <string>
#include <vector>

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
  const std::shared_ptr<FakeSession> session = std::make_shared<FakeSession>(proto::BULK, false);
  const std::shared_ptr<FakeSession> other = std::make_shared<FakeSession>(proto::BULK, false);
  const std::shared_ptr<FakeSession> urgent = std::make_shared<FakeSession>(proto::URGENT, false);
};

TEST_F(TaskQueueTest, RunsCommandsAndWhatIsUrgentFirstAndEachInOrder) {
  queue.AddFrom(session, 10, Note("bulk 1"));
  queue.Add(Note("command 1"));
  queue.AddFrom(urgent, 10, Note("urgent"));
  queue.AddFrom(session, 0, Note("bulk 2"));
  queue.Add(Note("command 2"));
  RunAll();
  EXPECT_EQ(ran,
            (std::vector<std::string>{"command 1", "urgent", "command 2", "bulk 1", "bulk 2"}));
}

TEST_F(TaskQueueTest, WhatIsUrgentDoesNotWaitForAllThatIsBulk) {
  for (int i = 0; i < 1000; ++i) queue.AddFrom(session, 10, Note("bulk"));
  queue.Run();
  queue.AddFrom(urgent, 10, Note("urgent"));
  const size_t before = ran.size();
  queue.Run();
  EXPECT_EQ(ran.size(), before + 1);
  EXPECT_EQ(ran.back(), "urgent");
  RunAll();
  EXPECT_EQ(ran.size(), 1001u);
}

TEST_F(TaskQueueTest, ASessionWithTooMuchInTheQueueReadsOnWhenThereIsRoom) {
  EXPECT_TRUE(queue.AddFrom(session, TaskQueue::kSessionBytes - 1, Note("first")));
  EXPECT_FALSE(queue.AddFrom(session, 1, Note("second")));
  EXPECT_TRUE(queue.AddFrom(other, 1, Note("another session")));
  EXPECT_TRUE(queue.AddFrom(session, 0, Note("its end")));
  EXPECT_EQ(session->reads, 0);
  RunAll();
  EXPECT_EQ(ran.size(), 4u);
  EXPECT_EQ(session->reads, 1);
  EXPECT_EQ(other->reads, 0);
  EXPECT_TRUE(queue.AddFrom(session, 1, Note("more")));
}

TEST_F(TaskQueueTest, ClosingDropsWhatIsThere) {
  EXPECT_FALSE(queue.AddFrom(session, TaskQueue::kSessionBytes, Note("first")));
  queue.Close();
  EXPECT_TRUE(queue.AddFrom(session, TaskQueue::kSessionBytes, Note("second")));
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

TEST_F(TaskQueueTest, RingsWhenAskedForWhatSessionsBring) {
  const auto gate = [&] { return bell.gate()->gate.load(); };
  const uint32_t before = gate();
  Parker parker(bell.bell(), bell.gate());
  parker.Park();
  queue.AddFrom(session, 1, Note("brought"));
  EXPECT_EQ(gate(), before);
  queue.Ring();
  queue.Ring();
  EXPECT_EQ(gate(), before + 1);
}

}  // namespace
}  // namespace mailrail
