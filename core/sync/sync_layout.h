// The memory of a named mutex, shared mutex, semaphore, condition or barrier: one header, and
// cells. All processes that use it map it for reading and writing: they are trusted with it, as
// with what it guards.
//
//   offset  size         what
//        0  640          SyncHeader
//      640  8 x cells    Holder words
//
// Whatever is held is a word that names its holder, written by one compare-and-swap from "nobody"
// and taken back by one; so there is no moment at which a death leaves something held that nobody
// knows of, or two words that disagree. The agent's number of a process is never reused while
// anything bears it, so what the dead hold is found by looking for it (RemoveHolder), which the
// agent does when one has ended. What one that was declared gone writes after that is found by
// whoever waits for it too long, and asks the agent.
//
// Nobody counts sleepers: a count that includes one who was killed would stay wrong. Who is about
// to sleep says so in a flag, and looks again; who wakes clears the flag; who was asleep sets it
// again when it goes on, for others may sleep still. One that is killed between being woken and
// setting the flag delays others until they look by themselves (kLookAgain), or until the agent,
// who has seen it die, wakes all.
//
// A wait set looks on: when it is woken it tells its user, who may take what is free, or not. So it
// has a flag and a word of its own, and all that look on are woken, each time; none takes a wake-up
// that is meant for one of those that wait.
#ifndef MAILRAIL_CORE_SYNC_SYNC_LAYOUT_H_
#define MAILRAIL_CORE_SYNC_SYNC_LAYOUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "core/shm/futex.h"
#include "core/shm/step.h"

namespace mailrail {

inline constexpr uint64_t kSyncMagic = 0x31636e79734c524d;  // "MRLsync1"

enum class SyncKind : uint32_t {
  kMutex = 1,
  kSharedMutex = 2,
  kSemaphore = 3,
  kCondition = 4,
  kBarrier = 5,
};

// A thread of a process: who holds something. As a word: {number 24, thread 24, flags 16}.
struct Holder {
  static constexpr uint32_t kLargest = (1u << 24) - 1;  // of each

  uint32_t number = 0;  // the agent's, of the process; 0: nobody
  uint32_t thread = 0;  // the process's own

  uint64_t Pack() const { return uint64_t{number} << 40 | uint64_t{thread} << 16; }
  static Holder Unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 40), static_cast<uint32_t>(word >> 16) & kLargest};
  }
  bool operator==(const Holder&) const = default;
};

// Whether a process has ended, by its number.
using Gone = absl::FunctionRef<bool(uint32_t number)>;

// Whether a word names somebody.
inline bool IsHeld(uint64_t word) { return word >> 40 != 0; }
inline bool IsHeldBy(uint64_t word, uint32_t number) { return word >> 40 == number; }
inline bool IsHeldByGone(uint64_t word, Gone gone) {
  return IsHeld(word) && gone(static_cast<uint32_t>(word >> 40));
}

// Shared between processes.
struct SyncHeader {
  uint64_t magic;
  uint32_t kind;
  uint32_t cells;
  // Not 0: it was destroyed. Who waits returns, who holds goes on.
  SharedAtomic<uint32_t> closed;
  // Of a mutex, and of a shared mutex: the holder, or the one who writes. See each class for its
  // flags, and for what else the others keep here.
  alignas(128) SharedAtomic<uint64_t> state;
  // Changes when somebody who sleeps is to look again: a futex word.
  alignas(128) SharedAtomic<uint32_t> gate;
  // Not 0: somebody may sleep.
  alignas(128) SharedAtomic<uint32_t> sleepers;
  // The same of those that look on, and what they sleep on.
  SharedAtomic<uint32_t> onlookers;
  SharedAtomic<uint32_t> onlookers_gate;
  // The last fencing token that was given.
  alignas(128) SharedAtomic<uint64_t> fences;
};
static_assert(sizeof(SyncHeader) == 640 && alignof(SyncHeader) == 128);
static_assert(SharedAtomic<uint64_t>::is_always_lock_free);

// What an attempt to get something came to.
enum class Acquired {
  kNo,
  kYes,
  // The same, and who held it before has died with it: what it guards may be half changed.
  kAfterDeath,
  // This thread has it already: it would wait for itself.
  kHeldBySelf,
};

// One such memory, mapped. A view: whoever mapped it keeps it mapped. Thread-safe.
class SyncMemory {
 public:
  static constexpr size_t BytesFor(uint32_t cells) {
    return sizeof(SyncHeader) + size_t{8} * cells;
  }

  // Makes `bytes` of zeroed memory one.
  static void Format(char* memory, SyncKind kind, uint32_t cells);

  // kDataLoss when it is none of this kind, or does not fit into `bytes`.
  static absl::Status Check(const char* memory, size_t bytes, SyncKind kind);

  // Of `bytes` of memory, mapped. REQUIRES: sizeof(SyncHeader) <= bytes.
  SyncMemory(char* memory, size_t bytes)
      : header_(reinterpret_cast<SyncHeader*>(memory)),
        cells_(reinterpret_cast<SharedAtomic<uint64_t>*>(memory + sizeof(SyncHeader))),
        count_(CellsWithin(*header_, bytes)) {}

  bool closed() const { return header_->closed.load(std::memory_order_acquire) != 0; }

  // Of new memory.
  void SetFence(uint64_t last) { header_->fences.store(last); }

  // A token larger than all that were given before. Who asks must hold what it is for, and see that
  // it still does after this: else it may be larger than that of who has it now.
  uint64_t NextFence() { return header_->fences.fetch_add(1) + 1; }

  // Announces that somebody will sleep. Look again before sleeping on the word.
  FutexWord Park() {
    const FutexWord word = gate();
    header_->sleepers.store(1);
    return word;
  }

  // The same for one that looks on, until there may be something to be had.
  FutexWord ParkAsOnlooker() {
    const FutexWord word = {&header_->onlookers_gate, header_->onlookers_gate.load()};
    header_->onlookers.store(1);
    return word;
  }

  // Wakes one of those that sleep, or all of them, also those that look on. One that has slept and
  // gives up wakes another, who would have been woken in its place. The agent wakes all when a
  // process has ended that may have been on its way to wake somebody.
  void WakeOne();
  void WakeAll();

  // Says that it was destroyed.
  void Close();

 protected:
  SyncHeader& header() const { return *header_; }
  FutexWord gate() const { return {&header_->gate, header_->gate.load()}; }
  // Something is free: wakes one of those that sleep, or all, if there may be any.
  void WakeSleeper() {
    if (ClearSleepers()) WakeOne();
    if (header_->onlookers.load() != 0) WakeOnlookers();
  }
  void WakeSleepers() {
    if (ClearSleepers()) WakeAllSleepers();
    if (header_->onlookers.load() != 0) WakeOnlookers();
  }
  SharedAtomic<uint64_t>& cell(uint32_t index) const { return cells_[index]; }
  // As it was when this was made: what is in shared memory may change. Never more than there is.
  uint32_t count() const { return count_; }

 private:
  // Whoever sleeps has looked after it had set this, or sees that the gate has changed.
  bool ClearSleepers() {
    if (header_->sleepers.load() == 0) return false;
    header_->sleepers.store(0);
    return true;
  }

  void WakeAllSleepers();
  void WakeOnlookers();

  static uint32_t CellsWithin(const SyncHeader& header, size_t bytes) {
    const uint32_t cells = header.cells;
    return static_cast<uint32_t>(std::min<size_t>(cells, (bytes - sizeof(SyncHeader)) / 8));
  }

  SyncHeader* header_;
  SharedAtomic<uint64_t>* cells_;
  uint32_t count_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_SYNC_LAYOUT_H_
