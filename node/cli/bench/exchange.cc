#include "node/cli/bench/exchange.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace mailrail::bench {
namespace {

constexpr uint32_t kStop = ~uint32_t{0};
constexpr size_t kMaxSamples = size_t{1} << 16;
// Where both processes have one processor, spinning alone would use up a time slice each way.
constexpr int kSpinsBeforeYield = 20'000;

void Put(std::atomic<uint32_t>& word, uint32_t value, ExchangeWait wait) {
  word.store(value, std::memory_order_release);
  if (wait == ExchangeWait::kFutex) syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

uint32_t AwaitChange(std::atomic<uint32_t>& word, uint32_t last, ExchangeWait wait) {
  for (int spins = 0;; ++spins) {
    const uint32_t value = word.load(std::memory_order_acquire);
    if (value != last) return value;
    if (wait == ExchangeWait::kFutex) {
      syscall(SYS_futex, &word, FUTEX_WAIT, last, nullptr, nullptr, 0);
    } else if (spins == kSpinsBeforeYield) {
      sched_yield();
      spins = 0;
    }
  }
}

void Answer(ExchangeWords& words, ExchangeWait wait) {
  uint32_t last = 0;
  while (last != kStop) {
    last = AwaitChange(words.there, last, wait);
    Put(words.back, last, wait);
  }
}

}  // namespace

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

uint32_t Exchange(ExchangeWords& words, ExchangeSide side, ExchangeWait wait, int64_t duration_ns) {
  if (side == ExchangeSide::kSecond) {
    Answer(words, wait);
    return 0;
  }
  std::vector<uint32_t> samples(kMaxSamples);  // touched, so that no sample pays for a page
  size_t count = 0;
  uint32_t number = 0;
  int64_t before = NowNs();
  const int64_t until = before + duration_ns;
  do {
    Put(words.there, number + 1, wait);
    AwaitChange(words.back, number++, wait);
    const int64_t after = NowNs();
    samples[count++] = static_cast<uint32_t>(std::min<int64_t>(after - before, UINT32_MAX));
    before = after;
  } while (before < until && count < kMaxSamples);
  Put(words.there, kStop, wait);
  AwaitChange(words.back, number, wait);
  words.there = 0;
  words.back = 0;
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(count / 2),
                   samples.begin() + static_cast<std::ptrdiff_t>(count));
  return samples[count / 2];
}

}  // namespace mailrail::bench
