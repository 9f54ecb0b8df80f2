#ifndef MAILRAIL_NODE_CLI_BENCH_SAMPLES_H_
#define MAILRAIL_NODE_CLI_BENCH_SAMPLES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mailrail::bench {

// Durations in ns. When it is full it forgets every other one, and from then on takes every other
// one. May lie in shared memory, written by one process and read by others once that one is done.
class Samples {
 public:
  static constexpr size_t kCapacity = size_t{1} << 21;

  // Touches the memory, so that no measurement pays for a page.
  void Prepare();

  void Forget() {
    count_ = 0;
    stride_ = 1;
    skipped_ = 0;
  }

  void Add(int64_t ns) {
    if (skipped_ + 1 < stride_) {
      ++skipped_;
      return;
    }
    skipped_ = 0;
    if (count_ == kCapacity) Thin();
    values_[count_++] = ns < 0                     ? 0
                        : ns > int64_t{UINT32_MAX} ? UINT32_MAX
                                                   : static_cast<uint32_t>(ns);
  }

  size_t count() const { return count_; }

  // Sorted.
  std::vector<uint32_t> Sorted() const;

 private:
  void Thin();

  size_t count_ = 0;
  uint32_t stride_ = 1;
  uint32_t skipped_ = 0;
  uint32_t values_[kCapacity];
};

// The value that a `share` of all values do not exceed; 0 when there are none.
uint32_t Percentile(const std::vector<uint32_t>& sorted, double share);

double Median(std::vector<double> values);

// How time is cut for rates: a warm-up that does not count, then slices.
struct SliceTimes {
  static constexpr size_t kMaxSlices = 256;

  // Slices of about 0.3 s.
  static SliceTimes Of(double seconds);

  int64_t warm_up_ns = 0;
  int64_t slice_ns = 0;
  size_t slices = 0;

  int64_t total_ns() const { return warm_up_ns + slice_ns * static_cast<int64_t>(slices); }
};

// Counts what one process receives in each slice. May lie in shared memory, likewise.
class SliceMeter {
 public:
  // The clock is read after every `step` messages.
  void Start(const SliceTimes& times, int64_t begin_ns, uint32_t step);

  void Add(uint32_t messages) {
    pending_ += messages;
    if (pending_ >= step_) Store();
  }

  // Messages per second in slice `index`.
  double Rate(size_t index) const;

 private:
  void Store();

  SliceTimes times_;
  int64_t begin_ns_ = 0;
  uint32_t step_ = 1;
  uint32_t pending_ = 0;
  uint64_t counts_[SliceTimes::kMaxSlices];
};

// How many messages of a size may pass between two readings of the clock.
uint32_t ClockStep(size_t size);

}  // namespace mailrail::bench

#endif  // MAILRAIL_NODE_CLI_BENCH_SAMPLES_H_
