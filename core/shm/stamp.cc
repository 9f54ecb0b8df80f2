#include "core/shm/stamp.h"

#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mailrail::internal {

bool CounterIsInvariant() {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (__get_cpuid(0x80000007, &a, &b, &c, &d) == 0 || (d & (1u << 8)) == 0) return false;
  return __get_cpuid(0x80000001, &a, &b, &c, &d) != 0 && (d & (1u << 27)) != 0;  // rdtscp
#else
  return false;
#endif
}

uint64_t FindStampsOfARest() {
#if defined(__x86_64__)
  // Time stamp counters run at 1 to 5 GHz.
  return CounterIsInvariant() ? 1024 : 500;
#elif defined(__aarch64__)
  uint64_t per_second;
  asm("mrs %0, cntfrq_el0" : "=r"(per_second));
  return per_second / 2000000;
#else
  return 500;
#endif
}

uint64_t ClockStamp() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace mailrail::internal
