// What the tests of this folder share.
#ifndef MAILRAIL_CORE_SYNC_SYNC_TESTING_H_
#define MAILRAIL_CORE_SYNC_SYNC_TESTING_H_

#include <cstdint>

#include "core/lane/lane_testing.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// Memory of one of them. Child processes map it anew.
template <typename Memory>
class TestObject {
 public:
  explicit TestObject(size_t cells) : memory_(SyncMemory::BytesFor(static_cast<uint32_t>(cells))) {
    SyncMemory::Format(memory_.writable(), Memory::kKind, static_cast<uint32_t>(cells));
  }

  char* data() const { return memory_.writable(); }
  Memory view() const { return Memory(data(), memory_.size()); }
  const TwiceMapped& memory() const { return memory_; }

 private:
  TwiceMapped memory_;
};

// Tries until it succeeds, as one who waits does: announces that it will sleep, tries again,
// sleeps. `attempt(has_slept)`; `park()` is the word. It sleeps at most kLookAgain at a time.
template <typename Attempt, typename Park>
void TryUntil(Attempt attempt, Park park) {
  bool has_slept = false;
  while (!attempt(has_slept)) {
    const FutexWord word = park();
    if (attempt(has_slept)) return;
    FutexWait(word.word, word.expected, kLookAgain);
    has_slept = true;
  }
}

// The same without looking by itself: a wake-up that is lost stays so, and the test hangs.
template <typename Attempt, typename Park>
void TryUntilWoken(Attempt attempt, Park park) {
  bool has_slept = false;
  while (!attempt(has_slept)) {
    const FutexWord word = park();
    if (attempt(has_slept)) return;
    FutexWait(word.word, word.expected, absl::Hours(1));
    has_slept = true;
  }
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_SYNC_TESTING_H_
