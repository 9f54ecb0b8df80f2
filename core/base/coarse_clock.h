#ifndef MAILRAIL_CORE_BASE_COARSE_CLOCK_H_
#define MAILRAIL_CORE_BASE_COARSE_CLOCK_H_

#include <time.h>

#include <cstdint>

namespace mailrail {

// Nanoseconds of a clock that costs little to read, never goes back, and moves in steps of some
// milliseconds.
inline int64_t CoarseTime() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

// The same clock, exactly: nanoseconds that all processes of a host count alike.
inline int64_t MonotonicTime() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_BASE_COARSE_CLOCK_H_
