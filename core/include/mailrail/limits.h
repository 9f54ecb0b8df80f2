// Limits of the library, each in one place. Sizes are in bytes.
#ifndef MAILRAIL_LIMITS_H_
#define MAILRAIL_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace mailrail {

// Priorities run from 0 to 31; higher goes first. From kUrgentPriority on a message is urgent: bulk
// traffic never takes the room, the window or the connection that it needs.
inline constexpr int kPriorityCount = 32;
inline constexpr int kMaxPriority = kPriorityCount - 1;
inline constexpr int kUrgentPriority = 24;

// The largest body, unless a mailbox sets another maximum, and the largest maximum it may set.
inline constexpr size_t kDefaultMaxMessageBytes = size_t{64} << 20;
inline constexpr size_t kLargestMaxMessageBytes = size_t{128} << 20;

// How many messages of one sender and one priority a mailbox holds, unless it sets another number,
// and the largest number it may set.
inline constexpr uint32_t kDefaultCapacityMessages = 16384;
inline constexpr uint32_t kLargestCapacityMessages = 32768;

// The names and values of one message's headers together, and where its answers are to go.
inline constexpr size_t kMaxHeaderBytes = 4096;

// The most that a mailbox may set for how often a message is handed out.
inline constexpr uint32_t kMostAttempts = 30;

// How many processes at most may have a mailbox open to receive from whose messages are assigned to
// them (Distribution).
inline constexpr size_t kMostAssignedReceivers = 512;

// How many messages of a mailbox of another node a Receiver that acknowledges by hand has at most,
// and how many bytes of their bodies; two of the mailbox's largest messages may be more.
inline constexpr size_t kMostFarLeases = 64;
inline constexpr size_t kMostFarLeaseBytes = size_t{256} << 20;

// The most that is shown of a body in a mailbox (Process::Browse).
inline constexpr size_t kMostBrowsedBytes = size_t{32} << 10;

// Names of nodes, mailboxes and processes: 1 to 63 characters of [a-z A-Z 0-9 . _ -]; the first is
// a letter or, for mailboxes, a letter or '_'. So a name is never taken for a pid.
inline constexpr size_t kMaxNameLength = 63;

// How many processes, mailboxes and nodes one process may watch at a time.
inline constexpr size_t kMaxWatches = 16384;

// How long another node is not reached until who watches it is told.
inline constexpr absl::Duration kUnreachableAfter = absl::Seconds(5);

}  // namespace mailrail

#endif  // MAILRAIL_LIMITS_H_
