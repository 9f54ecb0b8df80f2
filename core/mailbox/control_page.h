#ifndef MAILRAIL_CORE_MAILBOX_CONTROL_PAGE_H_
#define MAILRAIL_CORE_MAILBOX_CONTROL_PAGE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/shm/step.h"
#include "mailrail/mailbox.h"

namespace mailrail {

inline constexpr uint64_t kControlMagic = 0x6c72746e6f4c524d;  // "MRLontrl"

// The version of all layouts in shared memory together; agent and process compare it at Attach.
inline constexpr uint32_t kLayoutVersion = 3;

enum class CloseReason : uint32_t {
  kOpen = 0,
  kDestroyed = 1,    // the mailbox was destroyed
  kProcessGone = 2,  // the process died or detached
  kNodeGone = 3,     // the destination's node came back without its state
  kRefused = 4,      // its memory was not well-formed
  kAgentGone = 5,    // the agent was stopped: its processes are detached
  kOwnerGone = 6,    // the process that owned the mailbox died or detached
};

// What the agent says about one destination (an inbox, a mailbox, or a destination on another
// node) to its senders and receivers. Written by the agent alone, read by everybody who may use
// the destination. Shared between processes.
struct ControlPage {
  uint64_t magic;
  // Changes when lanes joined or ended; see ReceiveQueue.
  alignas(128) SharedAtomic<uint32_t> members_version;
  // Of an exclusive mailbox of this node: the number of the receiver that alone may claim; 0:
  // nobody may. It is read before a claim and again after it; see MailboxQueue.
  SharedAtomic<uint32_t> holder;
  // How often the agent has rung: a futex word for receivers that may not claim, which messages are
  // not to wake. It changes after `holder` and `closed`.
  SharedAtomic<uint32_t> rings;
  // Of a mailbox: one more than how many processes, on whatever nodes, have it open to receive
  // from. 0: not known yet (of a mailbox of another node), or no mailbox.
  SharedAtomic<uint32_t> receivers;
  // A CloseReason. Once set it stays.
  alignas(128) SharedAtomic<uint32_t> closed;
  // Of a mailbox in queue order: not 0 since before a second lane was granted. While there is but
  // one, messages are in its order, and their stamps are 0: before those of any lane that joins.
  SharedAtomic<uint32_t> stamped;
  // Of an inbox: how many bytes of shared memory its process may have reserved (core/shm/budget.h);
  // 0: as many as it wants. It changes at any time.
  SharedAtomic<uint64_t> memory_bytes;
  // Of a broadcast mailbox: changes when one has subscribed, before that one is told so. Who sends
  // compares it before each message.
  SharedAtomic<uint32_t> subscriptions;
};
static_assert(sizeof(ControlPage) == 384);

// Of a mailbox whose messages are assigned to its receivers (Distribution): the numbers of the
// processes that have it open, in the order in which they opened it; of one of another node, the
// number of its first receiver here. It stands behind the control page, in the same page of memory,
// and is written by the agent alone, which rings all receivers then. Shared between processes.
struct ReceiverTable {
  static constexpr size_t kOffset = 1024;
  static const ReceiverTable& Of(const ControlPage& control) {
    return *reinterpret_cast<const ReceiverTable*>(reinterpret_cast<const char*>(&control) +
                                                   kOffset);
  }
  static ReceiverTable* Of(ControlPage* control) {
    return reinterpret_cast<ReceiverTable*>(reinterpret_cast<char*>(control) + kOffset);
  }

  // Writes `numbers`, at most kMostAssignedReceivers of them; false when they stand there already.
  bool Write(const std::vector<uint32_t>& numbers);
  // Reads what is there, unless it is being written, or is `*seen` still: then false.
  bool Read(uint32_t* seen, std::vector<uint32_t>* numbers) const;

  // Odd while the rest is being written. An agent that dies then leaves it so, and whoever comes
  // after it writes anew; until then receivers go on by what they have read before.
  SharedAtomic<uint32_t> version;
  SharedAtomic<uint32_t> count;
  SharedAtomic<uint32_t> numbers[kMostAssignedReceivers];
};
static_assert(ReceiverTable::kOffset >= sizeof(ControlPage));

// The status of a call on a destination that is closed.
absl::Status ClosedStatus(absl::string_view destination, CloseReason reason);

// kInvalidArgument when a body of `size` bytes may not be sent under `options`, or the priority is
// out of range.
absl::Status CheckMessage(const MailboxOptions& options, size_t size, int priority);

// kInvalidArgument when a mailbox cannot be created with `options`.
absl::Status CheckOptions(const MailboxOptions& options);

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_CONTROL_PAGE_H_
