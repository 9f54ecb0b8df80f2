#ifndef MAILRAIL_CORE_SYNC_ANY_SYNC_H_
#define MAILRAIL_CORE_SYNC_ANY_SYNC_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// What is fixed when one is made.
struct SyncSpec {
  SyncKind kind = SyncKind::kMutex;
  uint32_t limit = 0;    // the most units of a semaphore, the parties of a barrier
  uint32_t initial = 0;  // the units that a semaphore has at first
};

// Somebody holds it: a mutex, a unit of a semaphore, a place at a barrier. Who waits at a condition
// holds nothing.
struct Hold {
  Holder holder;
  bool shared = false;  // reads it
};

// One of them, of whichever kind: what the agent does with all alike. A view. Thread-safe.
//
// What the memory says is not believed beyond its size: other processes write it.
class AnySync {
 public:
  // kInvalidArgument for numbers out of range.
  static absl::Status CheckSpec(const SyncSpec& spec);
  // REQUIRES: of this and what follows, CheckSpec(spec) was OK.
  static size_t BytesFor(const SyncSpec& spec);
  // Makes zeroed memory one, whose fencing tokens are above `fence`.
  static void Format(char* memory, const SyncSpec& spec, uint64_t fence);
  // kDataLoss when `memory` is not such a one.
  static absl::Status Check(const char* memory, size_t bytes, const SyncSpec& spec);

  AnySync(char* memory, size_t bytes, SyncKind kind)
      : memory_(memory), bytes_(bytes), kind_(kind) {}

  // Who holds it now, at most `max`. Of a shared mutex the one that waits for its readers to leave
  // is among them.
  std::vector<Hold> Holds(uint32_t max) const;
  // The free units of a semaphore, the parties that have come to a barrier, those that wait at a
  // condition; 0 of others.
  uint32_t Value() const;

  // Takes away what a process holds that has ended, and wakes all, as it may have been on its way
  // to wake somebody.
  void RemoveHolder(uint32_t number);
  // Of all that have ended, in one pass; wakes all if there was something.
  void RemoveHolders(Gone gone);

  // It was destroyed: all who wait return.
  void Close();

 private:
  char* memory_;
  size_t bytes_;
  SyncKind kind_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SYNC_ANY_SYNC_H_
