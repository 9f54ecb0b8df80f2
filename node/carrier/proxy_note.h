#ifndef MAILRAIL_NODE_CARRIER_PROXY_NOTE_H_
#define MAILRAIL_NODE_CARRIER_PROXY_NOTE_H_

#include <cstddef>
#include <cstdint>

#include "core/mailbox/control_page.h"
#include "mailrail/limits.h"

namespace mailrail {

// What is kept in shared memory about one delivery to a proxy, for a carrier that takes over.
// Written field by field in program order, of which a death loses nothing that was executed. They
// stand behind the page of the private mailbox's ControlPage.
struct ProxyNote {
  static constexpr size_t kOffset = 4096;
  static constexpr size_t kCount = 2 * kMostFarLeases;

  static constexpr uint64_t kFree = 0;
  static constexpr uint64_t kOpen = 1;
  static constexpr uint64_t kEnded = 2;    // open, and the home has given up on it
  static constexpr uint64_t kDecided = 3;  // and more: plus the ProxyDelivery::Verdict

  uint64_t state;  // the rest counts unless it is kFree
  uint64_t lane;
  uint64_t sequence;
  uint64_t priority;
  uint64_t delivery;
  uint64_t position;  // in the private lane, from before it is published there; else 0
  uint64_t turn;      // of those that are decided: in which order they were
  int64_t due_ns;     // of those that were returned: when it is due, since 1970
};
static_assert(sizeof(ProxyNote) == 64 && ProxyNote::kOffset >= sizeof(ControlPage));

// The memory of a private mailbox's ControlPage, with the notes.
inline constexpr size_t kProxyControlBytes =
    ProxyNote::kOffset + ProxyNote::kCount * sizeof(ProxyNote);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_PROXY_NOTE_H_
