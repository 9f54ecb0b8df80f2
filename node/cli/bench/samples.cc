#include "node/cli/bench/samples.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "node/cli/bench/exchange.h"

namespace mailrail::bench {

void Samples::Prepare() {
  Forget();
  memset(values_, 0xff, sizeof(values_));
}

void Samples::Thin() {
  for (size_t i = 0; i < count_ / 2; ++i) values_[i] = values_[2 * i];
  count_ /= 2;
  stride_ *= 2;
}

std::vector<uint32_t> Samples::Sorted() const {
  std::vector<uint32_t> sorted(values_, values_ + count_);
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

uint32_t Percentile(const std::vector<uint32_t>& sorted, double share) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(std::max(rank, 1.0)) - 1)];
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

SliceTimes SliceTimes::Of(double seconds) {
  SliceTimes times;
  const double slices = std::clamp(std::round(seconds / 0.3), 1.0, double{kMaxSlices});
  times.slices = static_cast<size_t>(slices);
  times.slice_ns = std::max<int64_t>(1, static_cast<int64_t>(seconds / slices * 1e9));
  times.warm_up_ns = static_cast<int64_t>(std::min(seconds / 4, 0.1) * 1e9);
  return times;
}

void SliceMeter::Start(const SliceTimes& times, int64_t begin_ns, uint32_t step) {
  times_ = times;
  begin_ns_ = begin_ns;
  step_ = step;
  pending_ = 0;
  memset(counts_, 0, sizeof(counts_));
}

void SliceMeter::Store() {
  const int64_t since = NowNs() - begin_ns_ - times_.warm_up_ns;
  if (since >= 0) {
    const size_t slice = static_cast<size_t>(since / times_.slice_ns);
    if (slice < times_.slices) counts_[slice] += pending_;
  }
  pending_ = 0;
}

double SliceMeter::Rate(size_t index) const {
  return static_cast<double>(counts_[index]) * 1e9 / static_cast<double>(times_.slice_ns);
}

uint32_t ClockStep(size_t size) {
  return static_cast<uint32_t>(std::clamp<size_t>(65536 / std::max<size_t>(size, 1), 1, 64));
}

}  // namespace mailrail::bench
