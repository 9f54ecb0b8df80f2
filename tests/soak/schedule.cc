#include "tests/soak/schedule.h"

namespace mailrail::soak {

int64_t Schedule::Between(int64_t min, int64_t max) {
  return min + static_cast<int64_t>(random_() % static_cast<uint64_t>(max - min + 1));
}

Strike Schedule::Next() {
  // Each strike takes the same numbers from the source, whatever it becomes.
  Strike strike;
  strike.wait_ns = Between(rates_.min_wait_ns, rates_.max_wait_ns);
  strike.target = random_() % targets_;
  strike.in_call = random_() % 2 == 0;
  strike.stop = static_cast<int>(random_() % 10) < rates_.stops_of_ten;
  strike.stop_ns = Between(rates_.min_stop_ns, rates_.max_stop_ns);
  return strike;
}

}  // namespace mailrail::soak
