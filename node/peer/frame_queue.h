#ifndef MAILRAIL_NODE_PEER_FRAME_QUEUE_H_
#define MAILRAIL_NODE_PEER_FRAME_QUEUE_H_

#include <cstddef>
#include <deque>

#include "proto/peer.pb.h"

namespace mailrail {

// Frames that wait to be written, and how they are put together into batches. Thread-compatible.
class FrameQueue {
 public:
  // The largest batch of more than one frame.
  static constexpr size_t kMaxBatchBytes = size_t{64} << 10;

  bool empty() const { return frames_.empty(); }
  size_t bytes() const { return bytes_; }
  // Of those that carry no message: what is said about messages, and asked and answered.
  size_t control_bytes() const { return control_bytes_; }

  void Add(proto::Frame frame);

  // Moves as many frames as one batch may have from the front to `batch`; returns their bytes.
  size_t TakeBatch(proto::Batch* batch);

  void Clear();

 private:
  struct Entry {
    proto::Frame frame;
    size_t bytes;
    bool control;
  };

  std::deque<Entry> frames_;
  size_t bytes_ = 0;
  size_t control_bytes_ = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_FRAME_QUEUE_H_
