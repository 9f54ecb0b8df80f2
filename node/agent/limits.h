// Limits of one agent, beside those that are settings. What goes beyond is kResourceExhausted.
#ifndef MAILRAIL_NODE_AGENT_LIMITS_H_
#define MAILRAIL_NODE_AGENT_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace mailrail {

// Mailboxes of one node.
inline constexpr size_t kMaxMailboxes = 20000;
// Named objects (mutexes, semaphores, ...) of one node; each has a descriptor.
inline constexpr size_t kMaxObjects = 10000;
// And how much memory all of them together have.
inline constexpr size_t kMaxObjectBytes = size_t{256} << 20;
// Named regions and values of one node, and replicas of those of others; each has four descriptors.
inline constexpr size_t kMaxRegions = 4000;
// And how much memory all of them together have.
inline constexpr uint64_t kMaxRegionBytes = uint64_t{1} << 30;
// How often one process has one of them open.
inline constexpr size_t kMaxRegionOpens = 256;
// Receivers of one broadcast mailbox: a list of them fits a packet.
inline constexpr size_t kMaxSubscriptions = 8192;
// Processes of other nodes that have objects of this one open.
inline constexpr size_t kMaxFarUsers = 65536;
// Calls of processes of one other node that wait for objects of this one.
inline constexpr size_t kMaxFarWaits = 4096;
// Connections of programs that have not attached. One more disconnects the oldest of them.
inline constexpr size_t kMaxNewcomers = 1024;
// Registered names of one process: its row in a list fits a packet.
inline constexpr size_t kMaxNamesPerProcess = 256;
// Requests of one connection that wait for an answer.
inline constexpr size_t kMaxPendingRequests = 128;
// Links to a process that it has not yet been told of; each holds descriptors. It is stopped, or
// does not read its notices: nobody else links to it before it does.
inline constexpr size_t kMaxLinksUntold = 256;

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_LIMITS_H_
