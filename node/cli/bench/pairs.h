// How pairs of calls (lock and unlock, say) and rounds of two processes are measured, of Mailrail
// and of what tests/bench measures beside it alike.
#ifndef MAILRAIL_NODE_CLI_BENCH_PAIRS_H_
#define MAILRAIL_NODE_CLI_BENCH_PAIRS_H_

#include <atomic>
#include <cstdint>

#include "node/cli/bench/exchange.h"
#include "node/cli/bench/samples.h"

namespace mailrail::bench {

// So many are a sample: one alone takes no longer than a reading of the clock.
inline constexpr uint32_t kPairsPerSample = 1000;

// Calls `pair` for so long; the samples are the times of kPairsPerSample of them. It and the others
// here stop, and return false, when `pair` returns false.
template <typename Pair>
bool TimePairs(double seconds, Pair pair, Samples* samples) {
  int64_t before = NowNs();
  const int64_t until = before + static_cast<int64_t>(seconds * 1e9);
  while (before < until) {
    for (uint32_t i = 0; i < kPairsPerSample; ++i) {
      if (!pair()) return false;
    }
    const int64_t after = NowNs();
    samples->Add(after - before);
    before = after;
  }
  return true;
}

// Calls `pair` until all slices are over, and counts in `meter`, which has been started, and in
// `*count`.
template <typename Pair>
bool CountPairs(int64_t until_ns, Pair pair, SliceMeter* meter, uint64_t* count) {
  constexpr uint32_t kBetweenClocks = 64;
  do {
    for (uint32_t i = 0; i < kBetweenClocks; ++i) {
      if (!pair()) return false;
      meter->Add(1);
    }
    *count += kBetweenClocks;
  } while (NowNs() < until_ns);
  return true;
}

// Calls `round`, in which two processes wait for each other, for so long in the process that has
// `samples`, and as often in the other one, which has none. `last_round` is theirs, and 0 before.
template <typename Round>
bool TimeRounds(double seconds, Round round, std::atomic<uint64_t>* last_round, Samples* samples) {
  int64_t before = NowNs();
  const int64_t until = before + static_cast<int64_t>(seconds * 1e9);
  for (uint64_t number = 1;; ++number) {
    // Before the first one arrives, so that the other one sees it when it has passed.
    if (samples != nullptr && before >= until) *last_round = number;
    if (!round()) return false;
    if (samples != nullptr) {
      const int64_t after = NowNs();
      samples->Add(after - before);
      before = after;
    }
    if (*last_round == number) return true;
  }
}

}  // namespace mailrail::bench

#endif  // MAILRAIL_NODE_CLI_BENCH_PAIRS_H_
