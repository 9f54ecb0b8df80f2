#include "core/shm/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "absl/container/inlined_vector.h"

#ifndef __NR_futex_waitv
#define __NR_futex_waitv 449
#endif

namespace mailrail {
namespace {

// struct futex_waitv of <linux/futex.h> since 5.16, spelled out for older headers.
struct WaitvEntry {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};
constexpr uint32_t kFutex32 = 2;

}  // namespace

void FutexWait(const SharedAtomic<uint32_t>* word, uint32_t expected, absl::Duration timeout) {
  const timespec relative = absl::ToTimespec(std::max(timeout, absl::ZeroDuration()));
  Step();
  syscall(SYS_futex, word, FUTEX_WAIT, expected, &relative, nullptr, 0);
}

void FutexWaitAny(absl::Span<const FutexWord> words, absl::Duration timeout) {
  if (words.size() == 1) {
    FutexWait(words[0].word, words[0].expected, timeout);
    return;
  }
  absl::InlinedVector<WaitvEntry, 8> entries;
  for (const FutexWord& word : words.first(std::min(words.size(), kMaxFutexWords))) {
    entries.push_back({word.expected, reinterpret_cast<uint64_t>(word.word), kFutex32, 0});
  }
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const timespec until =
      absl::ToTimespec(absl::DurationFromTimespec(now) + std::max(timeout, absl::ZeroDuration()));
  Step();
  const long result =
      syscall(__NR_futex_waitv, entries.data(), entries.size(), 0, &until, CLOCK_MONOTONIC);
  // Before 5.16: wait for the first word alone, briefly, so that the others are looked at soon.
  if (result < 0 && errno == ENOSYS) {
    FutexWait(words[0].word, words[0].expected, std::min(timeout, absl::Milliseconds(1)));
  }
}

void FutexWake(const SharedAtomic<uint32_t>* word, int count) {
  Step();
  syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
}

void FutexWakeAll(const SharedAtomic<uint32_t>* word) { FutexWake(word, INT_MAX); }

}  // namespace mailrail
