// The least that an exchange between two processes costs here: what measurements are compared with.
#ifndef MAILRAIL_NODE_CLI_BENCH_EXCHANGE_H_
#define MAILRAIL_NODE_CLI_BENCH_EXCHANGE_H_

#include <atomic>
#include <cstdint>

namespace mailrail::bench {

// CLOCK_MONOTONIC.
int64_t NowNs();

// Two words on a line each (and on a pair of lines each, which processors fetch together). Zero
// before the first use. Shared between processes.
struct ExchangeWords {
  alignas(128) std::atomic<uint32_t> there{0};
  alignas(128) std::atomic<uint32_t> back{0};
};

enum class ExchangeSide { kFirst, kSecond };
enum class ExchangeWait { kSpin, kFutex };

// A number goes there and comes back, for `duration_ns`; both processes call it, each with its
// side. Returns the median round trip in ns, one reading of the clock included; 0 to the second.
// Between two calls the processes must have met.
uint32_t Exchange(ExchangeWords& words, ExchangeSide side, ExchangeWait wait, int64_t duration_ns);

}  // namespace mailrail::bench

#endif  // MAILRAIL_NODE_CLI_BENCH_EXCHANGE_H_
