#include "core/process/agent_connection.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "core/base/seqpacket.h"

namespace mailrail::internal {
namespace {

// How many notices may be unacknowledged; the agent holds further ones back.
constexpr uint64_t kAcknowledgeEvery = 8;

// Waits until `fd` has one of `events`; false at the deadline.
bool Poll(int fd, short events, absl::Time deadline) {
  pollfd entry{fd, events, 0};
  const absl::Duration left = deadline - absl::Now();
  const int64_t ms =
      left >= absl::Hours(1)
          ? 3600000
          : std::max<int64_t>(0, absl::ToInt64Milliseconds(left + absl::Microseconds(999)));
  return poll(&entry, 1, static_cast<int>(ms)) > 0;
}

}  // namespace

AgentConnection::AgentConnection(Fd socket, NoticeHandler* handler)
    : socket_(std::move(socket)), handler_(handler) {}

bool AgentConnection::connected() const {
  absl::MutexLock lock(&mutex_);
  return !lost_;
}

absl::Status AgentConnection::LostStatus() const {
  return absl::AbortedError("detached: the agent closed the connection; attach again");
}

void AgentConnection::Handle(const std::string& bytes, std::vector<Fd> fds) {
  control::ToProcess message;
  if (!message.ParseFromString(bytes)) {
    lost_ = true;  // not an agent
    return;
  }
  if (message.has_response()) {
    const auto it = pending_.find(message.response().id());
    if (it == pending_.end()) return;  // nobody waits any more
    it->second->reply.response = std::move(*message.mutable_response());
    it->second->reply.fds = std::move(fds);
    it->second->answered = true;
    pending_.erase(it);
    return;
  }
  notices_read_ = message.notice().number();
  ++notices_unacknowledged_;
  if (message.notice().agent_restarted()) {
    for (const auto& [id, pending] : pending_) {
      // A failure shows as a lost connection when it is read next.
      SendAll(pending->packet, pending->fds, absl::Now() + absl::Seconds(1)).IgnoreError();
    }
    return;
  }
  handler_->OnNotice(message.notice(), std::move(fds));
}

void AgentConnection::ReadOne(absl::Time deadline) {
  absl::StatusOr<Packet> packet = absl::ResourceExhaustedError("");
  mutex_.Unlock();
  if (Poll(socket_.get(), POLLIN, deadline)) packet = ReceivePacket(socket_.get(), false);
  mutex_.Lock();
  if (packet.ok()) {
    Handle(packet->bytes, std::move(packet->fds));
    if (notices_unacknowledged_ >= kAcknowledgeEvery) AcknowledgeNotices();
  } else if (absl::IsUnavailable(packet.status())) {
    lost_ = true;
  }
}

void AgentConnection::AcknowledgeNotices() {
  if (notices_unacknowledged_ == 0 || lost_) return;
  control::Request request;
  request.set_notices_seen(notices_read_);
  if (SendPacket(socket_.get(), request.SerializeAsString()).ok()) {
    notices_unacknowledged_ = 0;
  }
}

absl::Status AgentConnection::SendAll(const std::string& packet, absl::Span<const int> fds,
                                      absl::Time deadline) {
  while (true) {
    const absl::Status status = SendPacket(socket_.get(), packet, fds);
    if (!absl::IsResourceExhausted(status)) return status;
    // The agent is behind (or is being started again): wait for room in its queue.
    if (!Poll(socket_.get(), POLLOUT, std::min(deadline, absl::Now() + absl::Milliseconds(10))) &&
        absl::Now() >= deadline) {
      return absl::DeadlineExceededError("the agent takes no more requests");
    }
  }
}

bool AgentConnection::ReadUntil(absl::FunctionRef<bool()> done, absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  while (!done()) {
    if (lost_ || absl::Now() >= deadline) return false;
    if (reading_) {
      changed_.WaitWithDeadline(&mutex_, deadline);
      continue;
    }
    reading_ = true;
    ReadOne(deadline);
    if (!done() && !lost_) AcknowledgeNotices();
    reading_ = false;
    changed_.SignalAll();
  }
  return true;
}

void AgentConnection::ReadNotices() {
  absl::MutexLock lock(&mutex_);
  if (reading_ || lost_) return;
  reading_ = true;
  while (!lost_ && Poll(socket_.get(), POLLIN, absl::InfinitePast())) ReadOne(absl::InfinitePast());
  AcknowledgeNotices();
  reading_ = false;
  changed_.SignalAll();
}

absl::StatusOr<AgentReply> AgentConnection::Call(control::Request request, absl::Time deadline,
                                                 absl::Span<const int> fds) {
  Pending pending;
  pending.fds.assign(fds.begin(), fds.end());
  uint64_t id;
  {
    absl::MutexLock lock(&mutex_);
    if (lost_) return LostStatus();
    id = ++last_id_;
    request.set_id(id);
    const absl::Duration left = deadline - absl::Now();
    request.set_timeout_ms(
        static_cast<uint64_t>(std::clamp<int64_t>(absl::ToInt64Milliseconds(left), 1, 3600000)));
    pending.packet = request.SerializeAsString();
    if (absl::Status status = SendAll(pending.packet, pending.fds, deadline); !status.ok()) {
      if (absl::IsUnavailable(status)) lost_ = true;
      return lost_ ? LostStatus() : status;
    }
    pending_[id] = &pending;
  }
  // The agent keeps to the deadline itself and says better what was in the way: wait a little more.
  const absl::Time patience = deadline + absl::Milliseconds(250);
  const bool answered = ReadUntil([&] { return pending.answered; }, patience);
  absl::MutexLock lock(&mutex_);
  pending_.erase(id);
  if (!answered && !pending.answered) {
    if (lost_) return LostStatus();
    return absl::DeadlineExceededError("the agent did not answer until the deadline");
  }
  const proto::StatusInfo& status = pending.reply.response.status();
  if (status.code() != 0) {
    return absl::Status(static_cast<absl::StatusCode>(status.code()), status.message());
  }
  return std::move(pending.reply);
}

}  // namespace mailrail::internal
