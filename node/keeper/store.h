// The agent's side of the store of descriptors that its keeper holds.
#ifndef MAILRAIL_NODE_KEEPER_STORE_H_
#define MAILRAIL_NODE_KEEPER_STORE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "core/base/fd.h"
#include "core/base/seqpacket.h"
#include "node/keeper/codec.h"

namespace mailrail {

struct KeptRecord {
  std::string key;
  std::string value;
  std::vector<Fd> fds;
};

// A connection to the keeper's store: an ordered map of key -> value and descriptors, which
// outlives the agent. Each call waits for the keeper's answer. Thread-safe.
//
// What a call stored is not lost when the agent dies right after it, or within it: the keeper reads
// what was sent to it before it answers the next agent.
//
// Errors of every call: kUnavailable when the keeper is gone; kInternal for an answer that makes no
// sense.
class KeeperClient {
 public:
  // Takes over the socket that the keeper passed ("--keeper-fd=N"), and has it closed on exec.
  // kInvalidArgument when it is no such socket.
  static absl::StatusOr<std::unique_ptr<KeeperClient>> FromFd(Fd fd);

  // Stores the record, or replaces it as a whole. The descriptors stay the caller's.
  // kInvalidArgument beyond the limits in codec.h, or for an empty key; kResourceExhausted when the
  // keeper has no descriptors left: the store is then as before.
  absl::Status Put(absl::string_view key, absl::string_view value, absl::Span<const int> fds)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Replaces the value of a record and keeps its descriptors. kNotFound when there is none.
  absl::Status PutValue(absl::string_view key, absl::string_view value) ABSL_LOCKS_EXCLUDED(mutex_);

  // Removes the record and closes the keeper's descriptors of it. kNotFound when there is none.
  absl::Status Drop(absl::string_view key) ABSL_LOCKS_EXCLUDED(mutex_);

  // All records, in the order of their keys; no Put or Drop of this client comes in between.
  // kResourceExhausted when this process has no descriptors left.
  absl::StatusOr<std::vector<KeptRecord>> List() ABSL_LOCKS_EXCLUDED(mutex_);

  // Announces that this agent is about to exit by itself with `exit_code`, so that it is not to be
  // started again, and the keeper is to exit with the same code. To be called before every such
  // exit: a keeper that is not the agent's parent cannot see the code.
  absl::Status Leave(int exit_code) ABSL_LOCKS_EXCLUDED(mutex_);

  // For poll and epoll: hangs up (POLLHUP) when the keeper is gone. Nothing else is to be waited
  // for, read or written there.
  int fd() const { return fd_.get(); }

 private:
  explicit KeeperClient(Fd fd) : fd_(std::move(fd)) {}

  // Sends one request and receives its reply.
  absl::StatusOr<Packet> Call(const KeeperPacket& request, absl::Span<const int> fds)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The same for requests that kDone answers.
  absl::Status CallForStatus(const KeeperPacket& request, absl::Span<const int> fds = {})
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Held from a request to its reply.
  absl::Mutex mutex_;
  const Fd fd_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_KEEPER_STORE_H_
