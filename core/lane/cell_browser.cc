#include "core/lane/cell_browser.h"

#include <algorithm>
#include <cstring>

#include "absl/base/attributes.h"

namespace mailrail {
namespace {

// How often a message is copied that changes meanwhile, as it does when it is claimed or given
// back.
constexpr int kTries = 4;

// A prefix begins with its size: see core/message/prefix.h.
constexpr size_t kPrefixSizeBytes = 2;

// Of memory that its sender may write meanwhile. What is torn so is thrown away.
ABSL_ATTRIBUTE_NO_SANITIZE_THREAD void CopyRacing(const char* from, size_t bytes, char* to) {
  for (size_t i = 0; i < bytes; ++i) to[i] = static_cast<const volatile char*>(from)[i];
}

bool IsInMailbox(Phase phase) {
  return phase == Phase::kLeased || phase == Phase::kReturned || phase == Phase::kDelayed;
}

}  // namespace

CellBrowser::CellBrowser(const CellGeometry& geometry, const char* data, const char* state)
    : geometry_(geometry),
      data_(data),
      state_(state),
      header_(reinterpret_cast<const CellHeader*>(data)) {}

absl::optional<CellBrowser::Found> CellBrowser::FindAgain(int priority, uint32_t index,
                                                          uint64_t position) const {
  // The state first, then the slot: see cell_layout.h.
  const uint64_t seen = state(priority, index).load();
  const CellState now = CellState::Unpack(seen);
  const bool claimed = now.ClaimedSince(position);
  if (claimed ? !IsInMailbox(now.phase) || now.sequence != static_cast<uint32_t>(position)
              : now.phase != Phase::kDone) {
    return absl::nullopt;
  }
  const Slot& at = slot(priority, index);
  if (at.sequence.load(std::memory_order_acquire) != position) return absl::nullopt;
  return Found{position, index, at.stamp.load(std::memory_order_relaxed), seen, claimed};
}

void CellBrowser::Look(int priority, uint32_t first, uint32_t count,
                       absl::FunctionRef<void(const Found& found)> each) const {
  const uint32_t end = std::min(steps(), first + count);
  for (uint32_t step = first; step < end; ++step) {
    absl::optional<Found> found;
    const uint32_t entry_index = step - geometry_.slots;
    if (step >= geometry_.slots && entry_index < geometry_.order_entries()) {
      // Nobody has overwritten the entry of what was never claimed.
      const OrderEntry entry =
          OrderEntry::Unpack(order(priority, entry_index).load(std::memory_order_acquire));
      if (entry.position == 0 || entry.slot >= geometry_.slots) continue;
      found = FindAgain(priority, entry.slot, entry.position);
      if (found.has_value() && found->claimed) found.reset();
    } else {
      // What was claimed may have outlived its entry. Others' slots may never have been touched.
      const uint32_t index = step & (geometry_.slots - 1);
      const CellState now = CellState::Unpack(state(priority, index).load());
      if (!IsInMailbox(now.phase)) continue;
      const uint64_t position = slot(priority, index).sequence.load(std::memory_order_acquire);
      found = FindAgain(priority, index, position);
      if (found.has_value() && !found->claimed) found.reset();
    }
    if (found.has_value()) each(*found);
  }
}

bool CellBrowser::CopyBytes(const Slot& from, size_t most_bytes, Copied* copied) const {
  const uint32_t flags = from.flags.load(std::memory_order_relaxed);
  const size_t length = from.length.load(std::memory_order_relaxed);
  char words[Slot::kInlineBytes];
  const char* bytes = words;
  if ((flags & Slot::kInSlab) == 0) {
    if (length > Slot::kInlineBytes) return false;
    for (size_t i = 0; i * 8 < length; ++i) {
      const uint64_t word = from.inline_words[i].load(std::memory_order_relaxed);
      memcpy(words + i * 8, &word, sizeof(word));
    }
  } else {
    const uint64_t at = from.slab_at.load(std::memory_order_relaxed);
    if (at > geometry_.slab_bytes || geometry_.slab_bytes - at < length) return false;
    bytes = data_ + geometry_.slab_offset() + at;
  }
  copied->has_prefix = (flags & Slot::kHasPrefix) != 0;
  copied->length = length;
  size_t most = most_bytes;
  if (copied->has_prefix) {
    if (length < kPrefixSizeBytes) return false;
    unsigned char size[kPrefixSizeBytes];
    CopyRacing(bytes, sizeof(size), reinterpret_cast<char*>(size));
    most += size[0] | static_cast<size_t>(size[1]) << 8;
  }
  copied->bytes.resize(std::min(most, length));
  CopyRacing(bytes, copied->bytes.size(), copied->bytes.data());
  return true;
}

absl::optional<CellBrowser::Copied> CellBrowser::Copy(int priority, uint32_t index,
                                                      uint64_t position, size_t most_bytes) const {
  if (index >= geometry_.slots) return absl::nullopt;
  for (int i = 0; i < kTries; ++i) {
    const absl::optional<Found> found = FindAgain(priority, index, position);
    if (!found.has_value()) return absl::nullopt;
    Copied copied;
    copied.found = *found;
    const bool well_formed = CopyBytes(slot(priority, index), most_bytes, &copied);
    // What was copied is read before the state is read again.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (state(priority, index).load(std::memory_order_relaxed) != found->seen) continue;
    if (!well_formed) return absl::nullopt;
    return copied;
  }
  return absl::nullopt;
}

}  // namespace mailrail
