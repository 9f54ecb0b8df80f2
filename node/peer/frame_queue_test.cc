#include "node/peer/frame_queue.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace mailrail {
namespace {

proto::Frame FrameOf(uint64_t number, size_t bytes) {
  proto::Frame frame;
  frame.mutable_data()->set_first_sequence(number);
  frame.mutable_data()->set_records(std::string(bytes, 'x'));
  return frame;
}

TEST(FrameQueue, FillsBatchesUpToTheLimitInOrder) {
  FrameQueue queue;
  constexpr uint64_t kFrames = 1000;
  for (uint64_t i = 1; i <= kFrames; ++i) queue.Add(FrameOf(i, 1000));
  uint64_t expected = 1;
  while (!queue.empty()) {
    proto::Batch batch;
    const size_t before = queue.bytes();
    const size_t taken = queue.TakeBatch(&batch);
    EXPECT_EQ(queue.bytes(), before - taken);
    EXPECT_LE(batch.ByteSizeLong(), FrameQueue::kMaxBatchBytes);
    if (!queue.empty()) {
      EXPECT_GT(batch.ByteSizeLong(), FrameQueue::kMaxBatchBytes - 2000);
    }
    for (const proto::Frame& frame : batch.frames()) {
      EXPECT_EQ(frame.data().first_sequence(), expected++);
    }
  }
  EXPECT_EQ(expected, kFrames + 1);
  EXPECT_EQ(queue.bytes(), 0u);
}

TEST(FrameQueue, AFrameAboveTheLimitGoesAlone) {
  FrameQueue queue;
  queue.Add(FrameOf(1, 10));
  queue.Add(FrameOf(2, FrameQueue::kMaxBatchBytes));
  queue.Add(FrameOf(3, 10));
  for (uint64_t number = 1; number <= 3; ++number) {
    proto::Batch batch;
    queue.TakeBatch(&batch);
    ASSERT_EQ(batch.frames_size(), 1);
    EXPECT_EQ(batch.frames(0).data().first_sequence(), number);
  }
}

TEST(FrameQueue, ClearForgetsAll) {
  FrameQueue queue;
  queue.Add(FrameOf(1, 10));
  queue.Clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0u);
}

}  // namespace
}  // namespace mailrail
