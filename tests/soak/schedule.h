// Who is killed or stopped when: the same for the same seed.
#ifndef MAILRAIL_TESTS_SOAK_SCHEDULE_H_
#define MAILRAIL_TESTS_SOAK_SCHEDULE_H_

#include <cstddef>
#include <cstdint>
#include <random>

namespace mailrail::soak {

// What happens to one process.
struct Strike {
  int64_t wait_ns = 0;  // after the strike before
  size_t target = 0;
  bool in_call = false;  // when it begins or ends a call; else at any moment
  bool stop = false;     // SIGSTOP for so long; else SIGKILL
  int64_t stop_ns = 0;
};

// An endless row of strikes at `targets` processes, drawn from a seed. Thread-compatible.
class Schedule {
 public:
  struct Rates {
    int64_t min_wait_ns, max_wait_ns;
    int64_t min_stop_ns, max_stop_ns;
    int stops_of_ten;
  };
  Schedule(uint64_t seed, size_t targets, const Rates& rates)
      : random_(seed), targets_(targets), rates_(rates) {}

  Strike Next();

 private:
  int64_t Between(int64_t min, int64_t max);

  std::mt19937_64 random_;  // its numbers are the same with every library
  const size_t targets_;
  const Rates rates_;
};

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_SCHEDULE_H_
