// What a process does to memory that it shares, in numbered steps, so that a test can kill or stop
// it at each of them. In a build with --config=steps every store, exchange and compare-and-swap
// through SharedAtomic is one, and whatever Step() stands before: plain writes, and system calls;
// in all others SharedAtomic is std::atomic, and Step does nothing.
#ifndef MAILRAIL_CORE_SHM_STEP_H_
#define MAILRAIL_CORE_SHM_STEP_H_

#include <atomic>

#include "core/base/step.h"

namespace mailrail {

#ifdef MAILRAIL_STEPS

// A std::atomic whose changes are steps. The step is before the change; the step after it is the
// next one's.
template <typename T>
class SharedAtomic {
 public:
  SharedAtomic() = default;
  SharedAtomic(T value) : value_(value) {}  // NOLINT: as std::atomic
  static constexpr bool is_always_lock_free = std::atomic<T>::is_always_lock_free;

  T load(std::memory_order order = std::memory_order_seq_cst) const { return value_.load(order); }
  void store(T value, std::memory_order order = std::memory_order_seq_cst) {
    Step();
    value_.store(value, order);
  }
  T exchange(T value, std::memory_order order = std::memory_order_seq_cst) {
    Step();
    return value_.exchange(value, order);
  }
  T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst) {
    Step();
    return value_.fetch_add(value, order);
  }
  T fetch_or(T value, std::memory_order order = std::memory_order_seq_cst) {
    Step();
    return value_.fetch_or(value, order);
  }
  T fetch_and(T value, std::memory_order order = std::memory_order_seq_cst) {
    Step();
    return value_.fetch_and(value, order);
  }
  bool compare_exchange_strong(T& expected, T desired,
                               std::memory_order order = std::memory_order_seq_cst) {
    Step();
    return value_.compare_exchange_strong(expected, desired, order);
  }
  bool compare_exchange_weak(T& expected, T desired,
                             std::memory_order order = std::memory_order_seq_cst) {
    Step();
    return value_.compare_exchange_weak(expected, desired, order);
  }

 private:
  std::atomic<T> value_;
};

#else

template <typename T>
using SharedAtomic = std::atomic<T>;

#endif

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_STEP_H_
