#ifndef MAILRAIL_CORE_SHM_RESERVE_H_
#define MAILRAIL_CORE_SHM_RESERVE_H_

#include <cstddef>
#include <string>

namespace mailrail {

// What a lane asks before it writes to a part of its memory for the first time. Shared memory is
// sparse, and what the kernel has none of when it is first touched kills who touches it (SIGBUS, or
// the memory limit of its cgroup); so it is counted against a budget and provided before, in steps.
// A lane without a Reserve has all of its memory. Thread-safe.
class Reserve {
 public:
  virtual ~Reserve() = default;

  // Counts and provides all pages of these bytes; false, and nothing is counted, when there is none
  // for now. Pages that are there already are counted all the same.
  virtual bool Take(char* at, size_t bytes) = 0;
  // The two halves of Take: of what cannot be done without later, all is counted before the first
  // part is provided.
  virtual bool Count(size_t bytes) = 0;
  virtual bool Provide(char* at, size_t bytes) = 0;
  // The same for what is written in any case; it may exceed the budget.
  virtual void Force(char* at, size_t bytes) = 0;

  // Why there was none, and what to do: a part of a sentence.
  virtual std::string Why() const = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_RESERVE_H_
