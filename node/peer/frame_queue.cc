#include "node/peer/frame_queue.h"

#include <utility>

namespace mailrail {
namespace {

// The tag and the length of a frame within its batch.
constexpr size_t kFrameOverheadBytes = 6;

}  // namespace

void FrameQueue::Add(proto::Frame frame) {
  const size_t bytes = frame.ByteSizeLong() + kFrameOverheadBytes;
  const bool control = !frame.has_data() && !frame.has_delivery();
  bytes_ += bytes;
  if (control) control_bytes_ += bytes;
  frames_.push_back({std::move(frame), bytes, control});
}

size_t FrameQueue::TakeBatch(proto::Batch* batch) {
  size_t taken = 0;
  while (!frames_.empty()) {
    Entry& next = frames_.front();
    if (taken > 0 && taken + next.bytes > kMaxBatchBytes) break;
    taken += next.bytes;
    if (next.control) control_bytes_ -= next.bytes;
    *batch->add_frames() = std::move(next.frame);
    frames_.pop_front();
  }
  bytes_ -= taken;
  return taken;
}

void FrameQueue::Clear() {
  frames_.clear();
  bytes_ = control_bytes_ = 0;
}

}  // namespace mailrail
