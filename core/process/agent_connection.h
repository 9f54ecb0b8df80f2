#ifndef MAILRAIL_CORE_PROCESS_AGENT_CONNECTION_H_
#define MAILRAIL_CORE_PROCESS_AGENT_CONNECTION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/base/fd.h"
#include "proto/agent.pb.h"

namespace mailrail::internal {

inline constexpr uint32_t kControlProtocolVersion = 1;

// What the agent answered.
struct AgentReply {
  control::Response response;
  std::vector<Fd> fds;
};

// The socket to this host's agent. There is no thread behind it: whoever waits for an answer reads
// the socket for all, one at a time, and hands on what is for others.
//
// The agent proper may be started again under us: the keeper holds our connection meanwhile, the
// new agent says so, and what was unanswered is asked again.
//
// Thread-safe.
class AgentConnection {
 public:
  // Gets what the agent says unasked, in order, from whichever thread reads; must not call back.
  // An error ends the connection: without what the notice grants, messages would be missed in
  // silence.
  class NoticeHandler {
   public:
    virtual ~NoticeHandler() = default;
    virtual absl::Status OnNotice(const control::Notice& notice, std::vector<Fd> fds) = 0;
  };

  AgentConnection(Fd socket, NoticeHandler* handler);
  // Ends the connection, also when a forked child has a copy of the socket; in such a child it ends
  // the copy alone.
  ~AgentConnection();

  // Asks, and waits for the answer. A failure that the agent reports is a status; kUnavailable or
  // kAborted when the connection is lost, kDeadlineExceeded. The descriptors in `fds` are sent too.
  // The agent keeps to the deadline itself and says better what was in the way: for so much longer,
  // `patience`, its answer is waited for.
  absl::StatusOr<AgentReply> Call(control::Request request, absl::Time deadline,
                                  absl::Span<const int> fds = {},
                                  absl::Duration patience = absl::Milliseconds(250));

  // Tells the agent something that it does not answer. Never waits, and calls nobody: when the
  // agent is behind it is not told.
  void Tell(const control::Request& request) const;

  // Reads the notices that wait, without waiting for more.
  void ReadNotices();

  // Reads until `done` is true, at most until `deadline`; for a receiver that is behind.
  bool ReadUntil(absl::FunctionRef<bool()> done, absl::Time deadline);

  // False when the agent (keeper and agent proper) has closed the connection, and that was read.
  bool connected() const;
  // OK, or why there is no connection any more (kAborted): also when that was not read yet. One
  // system call, no wait.
  absl::Status Check() const;

  // For polling.
  int fd() const { return socket_.get(); }

  // Closes what was opened for this process, whose open came to nothing, if nobody else has it.
  void CloseSole(const control::Response& response) const;
  // Closes a region that nobody waits for any more: each open of one is an open by itself.
  void CloseUnclaimed(const control::Response& response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

 private:
  struct Pending {
    std::string packet;  // to ask again
    std::vector<int> fds;
    bool repeated = false;
    bool answered = false;
    bool fds_lost = false;
    AgentReply reply;
  };

  // Reads one packet: waits for it until `deadline`. REQUIRES: this thread is the reader.
  void ReadOne(absl::Time deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Handle(const std::string& bytes, std::vector<Fd> fds, bool fds_lost)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives the connection up, and lets the agent know.
  void Lose(absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sends, without the lock while it waits for room.
  absl::Status SendAll(const std::string& packet, absl::Span<const int> fds, absl::Time deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AcknowledgeNotices() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint32_t fork_generation_;
  const Fd socket_;
  NoticeHandler* const handler_;
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;  // some thread reads
  absl::Status lost_ ABSL_GUARDED_BY(mutex_);     // not OK: the connection is no more
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t notices_read_ ABSL_GUARDED_BY(mutex_) = 0;  // the number of the last one
  uint64_t notices_unacknowledged_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Pending*> pending_ ABSL_GUARDED_BY(mutex_);
  // Requests to open a mailbox that were not answered in time: they may be yet.
  std::set<uint64_t> given_up_ ABSL_GUARDED_BY(mutex_);
  // Those to open a region that were repeated, and granted: they may be granted once more, which is
  // the same open.
  std::set<uint64_t> granted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_AGENT_CONNECTION_H_
