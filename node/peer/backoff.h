#ifndef MAILRAIL_NODE_PEER_BACKOFF_H_
#define MAILRAIL_NODE_PEER_BACKOFF_H_

#include <algorithm>

#include "absl/random/bit_gen_ref.h"
#include "absl/random/random.h"
#include "absl/time/time.h"

namespace mailrail {

// How long to wait before each next try: doubled from `min` to `max`, of which a random part,
// between half and all, is waited, so that many nodes do not try in step. Thread-compatible.
class Backoff {
 public:
  Backoff(absl::Duration min, absl::Duration max) : min_(min), max_(max), next_(min) {}

  absl::Duration Next(absl::BitGenRef random) {
    const absl::Duration wait = next_;
    next_ = std::min(next_ * 2, max_);
    return wait * absl::Uniform(absl::IntervalClosed, random, 0.5, 1.0);
  }

  // Makes the next wait the longest.
  void Exhaust() { next_ = max_; }

  // Makes the next wait the shortest.
  void Reset() { next_ = min_; }

 private:
  const absl::Duration min_;
  const absl::Duration max_;
  absl::Duration next_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_BACKOFF_H_
