#ifndef MAILRAIL_CORE_SHM_STAMP_H_
#define MAILRAIL_CORE_SHM_STAMP_H_

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace mailrail {

namespace internal {
// Whether the time stamp counter runs at one rate on all processors.
bool CounterIsInvariant();
uint64_t ClockStamp();
inline const bool counter_is_invariant = CounterIsInvariant();
uint64_t FindStampsOfARest();
inline const uint64_t stamps_of_a_rest = FindStampsOfARest();
}  // namespace internal

// A number that rises with time, the same for all processes of a host: if one process took a stamp
// before another, as they can observe it, its stamp is not greater. Orders messages of different
// lanes. From the time stamp counter where it is invariant (about 15 ns, nothing shared), else from
// CLOCK_MONOTONIC.
inline uint64_t Stamp() {
#if defined(__x86_64__)
  if (internal::counter_is_invariant) {
    unsigned processor;
    return __rdtscp(&processor);
  }
#elif defined(__aarch64__)
  uint64_t value;
  asm volatile("isb; mrs %0, cntvct_el0" : "=r"(value)::"memory");
  return value;
#endif
  return internal::ClockStamp();
}

// How much stamps differ that were taken about half a microsecond (0.2 to 1) apart: what it takes
// to hand a cache line over to another processor and back.
inline uint64_t StampsOfARest() { return internal::stamps_of_a_rest; }

// Tells the processor that this is a wait loop.
inline void SpinPause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_STAMP_H_
