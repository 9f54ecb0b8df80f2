#include "core/process/agent_connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/fork.h"
#include "core/base/seqpacket.h"
#include "core/base/step.h"

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
  Step();
  return poll(&entry, 1, static_cast<int>(ms)) > 0;
}

constexpr absl::string_view kDescriptorLimit =
    "this program is at its limit of open descriptors (RLIMIT_NOFILE): raise it";

absl::Status Closed() {
  return absl::AbortedError("detached: the agent closed the connection; attach again");
}

}  // namespace

AgentConnection::AgentConnection(Fd socket, NoticeHandler* handler)
    : fork_generation_(ForkGeneration()), socket_(std::move(socket)), handler_(handler) {}

AgentConnection::~AgentConnection() {
  if (fork_generation_ != ForkGeneration()) return;
  // Without it the agent would ask itself for a while whether this process is dying.
  control::Request request;
  request.set_detach(true);
  SendPacket(socket_.get(), request.SerializeAsString()).IgnoreError();
  Step();
  shutdown(socket_.get(), SHUT_RDWR);
}

bool AgentConnection::connected() const {
  absl::MutexLock lock(&mutex_);
  return lost_.ok();
}

absl::Status AgentConnection::Check() const {
  {
    absl::MutexLock lock(&mutex_);
    if (!lost_.ok()) return lost_;
  }
  // A descriptor that the program closed behind our back is POLLNVAL.
  pollfd entry{socket_.get(), POLLRDHUP, 0};
  Step();
  return poll(&entry, 1, 0) > 0 ? Closed() : absl::OkStatus();
}

void AgentConnection::Lose(absl::Status why) {
  if (!lost_.ok()) return;
  lost_ = std::move(why);
  shutdown(socket_.get(), SHUT_RDWR);
}

void AgentConnection::Handle(const std::string& bytes, std::vector<Fd> fds, bool fds_lost) {
  control::ToProcess message;
  if (!message.ParseFromString(bytes)) {
    Lose(absl::AbortedError("detached: what answers is no agent; attach again"));
    return;
  }
  if (message.has_response()) {
    const auto it = pending_.find(message.response().id());
    if (it == pending_.end()) {
      // Nobody waits any more: it was answered before, as it was repeated, or was given up, and
      // then nobody else will close what was opened.
      if (given_up_.contains(message.response().id())) CloseSole(message.response());
      CloseUnclaimed(message.response());
      return;
    }
    if (it->second->repeated && message.response().has_region()) {
      granted_.insert(message.response().id());
    }
    it->second->reply.response = std::move(*message.mutable_response());
    it->second->reply.fds = std::move(fds);
    it->second->fds_lost = fds_lost;
    it->second->answered = true;
    pending_.erase(it);
    return;
  }
  notices_read_ = message.notice().number();
  ++notices_unacknowledged_;
  if (message.notice().agent_restarted()) {
    for (const auto& [id, pending] : pending_) {
      // A failure shows as a lost connection when it is read next; an agent that has just started
      // has room.
      SendPacket(socket_.get(), pending->packet, pending->fds).IgnoreError();
      pending->repeated = true;
    }
    return;
  }
  const absl::Status status = handler_->OnNotice(message.notice(), std::move(fds));
  if (status.ok()) return;
  Lose(absl::AbortedError(
      fds_lost ? absl::StrCat("detached: a sender's lane could not be taken over, because ",
                              kDescriptorLimit, ", and attach again")
               : absl::StrCat("detached: a sender's lane could not be taken over (",
                              status.message(), "); attach again")));
}

void AgentConnection::CloseSole(const control::Response& response) const {
  if (!response.opened().sole()) return;
  control::Request request;
  request.set_close(response.opened().destination_id());
  Tell(request);
}

void AgentConnection::CloseUnclaimed(const control::Response& response) {
  if (!response.has_region() || granted_.contains(response.id())) return;
  control::Request request;
  request.mutable_close_region()->set_region_id(response.region().region_id());
  request.mutable_close_region()->set_open_id(response.region().open_id());
  Tell(request);
}

void AgentConnection::ReadOne(absl::Time deadline) {
  absl::StatusOr<Packet> packet = absl::ResourceExhaustedError("");
  bool fds_lost = false;
  mutex_.Unlock();
  if (Poll(socket_.get(), POLLIN, deadline)) {
    packet = ReceivePacket(socket_.get(), false, &fds_lost);
  }
  mutex_.Lock();
  if (packet.ok()) {
    Handle(packet->bytes, std::move(packet->fds), fds_lost);
    if (notices_unacknowledged_ >= kAcknowledgeEvery) AcknowledgeNotices();
  } else if (!absl::IsResourceExhausted(packet.status())) {
    Lose(Closed());
  }
}

void AgentConnection::AcknowledgeNotices() {
  if (notices_unacknowledged_ == 0 || !lost_.ok()) return;
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
    if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError("the agent takes no more requests");
    }
    // The agent is behind (or is being started again): wait for room in its queue. When it is the
    // descriptors in flight that are too many, the socket looks writable: then for a moment.
    const absl::Time until = std::min(deadline, absl::Now() + absl::Milliseconds(10));
    mutex_.Unlock();
    if (Poll(socket_.get(), POLLOUT, until)) absl::SleepFor(absl::Milliseconds(1));
    mutex_.Lock();
  }
}

bool AgentConnection::ReadUntil(absl::FunctionRef<bool()> done, absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  while (!done()) {
    if (!lost_.ok() || absl::Now() >= deadline) return false;
    if (reading_) {
      changed_.WaitWithDeadline(&mutex_, deadline);
      continue;
    }
    reading_ = true;
    ReadOne(deadline);
    if (!done()) AcknowledgeNotices();
    reading_ = false;
    changed_.SignalAll();
  }
  return true;
}

void AgentConnection::Tell(const control::Request& request) const {
  if (fork_generation_ != ForkGeneration()) return;
  SendPacket(socket_.get(), request.SerializeAsString()).IgnoreError();
}

void AgentConnection::ReadNotices() {
  absl::MutexLock lock(&mutex_);
  if (reading_ || !lost_.ok()) return;
  reading_ = true;
  while (lost_.ok() && Poll(socket_.get(), POLLIN, absl::InfinitePast())) {
    ReadOne(absl::InfinitePast());
  }
  AcknowledgeNotices();
  reading_ = false;
  changed_.SignalAll();
}

absl::StatusOr<AgentReply> AgentConnection::Call(control::Request request, absl::Time deadline,
                                                 absl::Span<const int> fds,
                                                 absl::Duration patience) {
  Pending pending;
  pending.fds.assign(fds.begin(), fds.end());
  uint64_t id;
  {
    absl::MutexLock lock(&mutex_);
    if (!lost_.ok()) return lost_;
    id = ++last_id_;
    request.set_id(id);
    const absl::Duration left = deadline - absl::Now();
    request.set_timeout_ms(
        static_cast<uint64_t>(std::clamp<int64_t>(absl::ToInt64Milliseconds(left), 1, 3600000)));
    pending.packet = request.SerializeAsString();
    if (absl::Status status = SendAll(pending.packet, pending.fds, deadline); !status.ok()) {
      if (absl::IsUnavailable(status)) Lose(Closed());
      return lost_.ok() ? status : lost_;
    }
    pending_[id] = &pending;
  }
  const bool answered = ReadUntil([&] { return pending.answered; }, deadline + patience);
  absl::MutexLock lock(&mutex_);
  pending_.erase(id);
  if (!answered && !pending.answered) {
    if (!lost_.ok()) return lost_;
    if (request.has_open_mailbox()) given_up_.insert(id);
    return absl::DeadlineExceededError("the agent did not answer until the deadline");
  }
  const proto::StatusInfo& status = pending.reply.response.status();
  if (status.code() != 0) {
    return absl::Status(static_cast<absl::StatusCode>(status.code()), status.message());
  }
  if (pending.fds_lost) {
    CloseSole(pending.reply.response);
    CloseUnclaimed(pending.reply.response);
    return absl::ResourceExhaustedError(kDescriptorLimit);
  }
  return std::move(pending.reply);
}

}  // namespace mailrail::internal
