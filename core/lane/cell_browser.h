#ifndef MAILRAIL_CORE_LANE_CELL_BROWSER_H_
#define MAILRAIL_CORE_LANE_CELL_BROWSER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/types/optional.h"
#include "core/lane/cell_layout.h"

namespace mailrail {

// What stands in a mailbox lane, for who looks and receives nothing: it writes nowhere, and sender
// and receivers go on meanwhile.
//
// All that it reads may change under it. A cell is used for another message only after its state
// has changed; so what was copied while the state stayed the same is one message, and whole.
//
// Thread-compatible. `data` and `state` are mappings, read-only, that outlive it.
class CellBrowser {
 public:
  CellBrowser(const CellGeometry& geometry, const char* data, const char* state);

  // The priorities that the sender has used so far, as bits.
  uint32_t rings_in_use() const { return header_->rings_in_use.load(std::memory_order_acquire); }

  // A message that is not done with: somebody may receive it, has leased it, or will be able to.
  struct Found {
    uint64_t position = 0;
    uint32_t slot = 0;
    uint64_t stamp = 0;
    uint64_t seen = 0;     // the state
    bool claimed = false;  // ever: what `seen` says is of this message
    CellState state() const { return CellState::Unpack(seen); }
    bool waiting() const { return !claimed || state().phase == Phase::kReturned; }
    uint32_t attempts() const { return claimed ? state().attempts : 0; }
  };

  // In so many steps all messages of a priority are seen: first those that were ever claimed, which
  // go first, then the others, and then again those that were claimed.
  uint32_t steps() const { return geometry_.order_entries() + 2 * geometry_.slots; }
  // Takes some of them; ends early at the last.
  void Look(int priority, uint32_t first, uint32_t count,
            absl::FunctionRef<void(const Found& found)> each) const;

  // What has become of a message that was found; nothing when it is done with.
  absl::optional<Found> FindAgain(int priority, uint32_t slot, uint64_t position) const;

  // A message as it was at one moment.
  struct Copied {
    Found found;
    bool has_prefix = false;
    size_t length = 0;  // of prefix and body
    std::string bytes;  // the first of these
  };
  // Copies the prefix, if there is one, and so many bytes of what follows. Nothing when the message
  // is done with, changes all the time, or is not well-formed.
  absl::optional<Copied> Copy(int priority, uint32_t slot, uint64_t position,
                              size_t most_bytes) const;

 private:
  const SharedAtomic<uint64_t>& order(int priority, uint32_t index) const {
    return reinterpret_cast<const SharedAtomic<uint64_t>*>(data_ +
                                                           geometry_.order_offset(priority))[index];
  }
  const Slot& slot(int priority, uint32_t index) const {
    return reinterpret_cast<const Slot*>(data_ + geometry_.slot_offset(priority))[index];
  }
  const SharedAtomic<uint64_t>& state(int priority, uint32_t index) const {
    return reinterpret_cast<const SharedAtomic<uint64_t>*>(state_ +
                                                           geometry_.state_offset(priority))[index];
  }
  // False when the message is not well-formed.
  bool CopyBytes(const Slot& slot, size_t most_bytes, Copied* copied) const;

  const CellGeometry geometry_;
  const char* const data_;
  const char* const state_;
  const CellHeader* const header_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_CELL_BROWSER_H_
