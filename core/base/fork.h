#ifndef MAILRAIL_CORE_BASE_FORK_H_
#define MAILRAIL_CORE_BASE_FORK_H_

#include <atomic>
#include <cstdint>

namespace mailrail {

namespace internal {
extern std::atomic<uint32_t> fork_generation;
}  // namespace internal

// How many forks lie between the start of the first program and this one. What shared memory,
// connections and threads a forked child has only copies of notes it when it is made: where it has
// changed since, they are the parent's. Thread-safe.
inline uint32_t ForkGeneration() {
  return internal::fork_generation.load(std::memory_order_relaxed);
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_BASE_FORK_H_
