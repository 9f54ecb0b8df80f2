#ifndef MAILRAIL_CORE_SHM_FUTEX_H_
#define MAILRAIL_CORE_SHM_FUTEX_H_

#include <cstdint>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/shm/step.h"

namespace mailrail {

// How long a sleeper sleeps at most before it looks again by itself. This bounds the harm that a
// sender does which is stopped between publishing and ringing, or which spoils a gate.
inline constexpr absl::Duration kLookAgain = absl::Milliseconds(50);

// The largest number of words that one wait takes (the kernel's limit is 128).
inline constexpr size_t kMaxFutexWords = 127;

// Sleeps while `*word` is `expected`, until woken or `timeout` has passed. May return early.
void FutexWait(const SharedAtomic<uint32_t>* word, uint32_t expected, absl::Duration timeout);

struct FutexWord {
  const SharedAtomic<uint32_t>* word;
  uint32_t expected;
};

// The same for several words; REQUIRES: 1 <= words.size() <= kMaxFutexWords.
void FutexWaitAny(absl::Span<const FutexWord> words, absl::Duration timeout);

// Wakes `count` of those that sleep on `word`, or all. Works through a read-only mapping.
void FutexWake(const SharedAtomic<uint32_t>* word, int count);
void FutexWakeAll(const SharedAtomic<uint32_t>* word);

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_FUTEX_H_
