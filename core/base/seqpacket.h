// Messages with descriptors over Unix SEQPACKET sockets.
#ifndef MAILRAIL_CORE_BASE_SEQPACKET_H_
#define MAILRAIL_CORE_BASE_SEQPACKET_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/base/fd.h"

namespace mailrail {

// Limits of one packet. The kernel passes at most 253 descriptors with one message.
inline constexpr size_t kMaxPacketBytes = 64 * 1024;
inline constexpr size_t kMaxPacketFds = 32;

struct Packet {
  std::string bytes;
  std::vector<Fd> fds;
};

// A pair of connected sockets, closed on exec, blocking.
absl::StatusOr<std::pair<Fd, Fd>> SeqpacketPair();

// Connects to the socket file `path`. kUnavailable when nobody listens there, kPermissionDenied,
// kInvalidArgument when the path is too long, kDeadlineExceeded when whoever listens there takes no
// more connections until then.
absl::StatusOr<Fd> SeqpacketConnect(const std::string& path,
                                    absl::Time deadline = absl::InfiniteFuture());

// A socket that listens, and the lock on the file `path`.lock that says so. Whoever goes on
// listening after this process must have both: while the lock is held the socket file is theirs.
struct Listener {
  Fd socket;
  Fd lock;
};

// Listens at `path`, with that mode; accepting does not wait. An old socket file that nobody
// listens at is replaced; kFailedPrecondition when somebody does, or is about to.
absl::StatusOr<Listener> SeqpacketListen(const std::string& path, unsigned mode);

// Removes the socket file and the lock's, if `lock` is still what stands there; before the lock is
// closed.
void SeqpacketUnlink(const std::string& path, const Fd& lock);

// Sends one packet without waiting. The descriptors stay the caller's. kResourceExhausted when the
// peer's queue is full (of packets, or of descriptors in flight), kUnavailable when it is gone.
absl::Status SendPacket(int socket, absl::string_view bytes, absl::Span<const int> fds = {});

// Receives one packet; `wait` false returns kResourceExhausted when there is none. kUnavailable
// when the peer is gone, kInvalidArgument for a packet beyond the limits (it is dropped). So is one
// whose descriptors do not fit this program's limit, unless `fds_lost` is given: then it is
// returned without some of them, and *fds_lost is true.
absl::StatusOr<Packet> ReceivePacket(int socket, bool wait, bool* fds_lost = nullptr);

}  // namespace mailrail

#endif  // MAILRAIL_CORE_BASE_SEQPACKET_H_
