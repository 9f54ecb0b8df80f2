#include "node/agent/client.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/seqpacket.h"
#include "node/agent/limits.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace mailrail {
namespace {

// How many notices may be unread at the other side.
constexpr uint64_t kMaxUnseen = 16;
// How many responses may wait for a client that asks and does not read; then it is disconnected.
constexpr size_t kMaxResponsesWaiting = 4096;
// How many requests of one client are read before others have their turn.
constexpr int kRequestsPerTurn = 32;
// When descriptors for a notice are tried for again.
constexpr absl::Duration kOpenAgain = absl::Milliseconds(20);

}  // namespace

Client::Client(Fd socket, Loop* loop, Handlers handlers)
    : owned_(std::move(socket)),
      socket_(owned_.get()),
      loop_(loop),
      handlers_(std::move(handlers)) {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(socket_, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
    pid_ = credentials.pid;
    uid_ = credentials.uid;
  }
}

Client::~Client() {
  if (open_) loop_->Unwatch(socket_);
}

Fd Client::OpenPidfd() const {
  int fd = -1;
  socklen_t size = sizeof(fd);
  // Since 6.5; before that by number, which the living connection keeps from being reused as long
  // as its process lives.
  if (getsockopt(socket_, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) return Fd(fd);
  return Fd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
}

void Client::Start(bool restarted) {
  loop_->Watch(socket_, EPOLLIN,
               [self = shared_from_this()](uint32_t events) { self->OnEvents(events); });
  if (!restarted) return;
  // Numbers of this agent's notices are above those of all agents before it.
  notices_made_ = notices_sent_ = notices_seen_ =
      static_cast<uint64_t>(absl::ToUnixMicros(absl::Now())) << 10;
  control::Notice notice;
  notice.set_agent_restarted(true);
  Notify(std::move(notice));
}

void Client::OnEvents(uint32_t events) {
  const std::shared_ptr<Client> self = shared_from_this();
  if ((events & EPOLLOUT) != 0) Flush();
  if (open_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Read();
}

void Client::Read() {
  for (int i = 0; i < kRequestsPerTurn && open_; ++i) {
    absl::StatusOr<Packet> packet = ReceivePacket(socket_, false);
    if (absl::IsResourceExhausted(packet.status())) return;
    control::Request request;
    if (!packet.ok() || !request.ParseFromString(packet->bytes)) {
      Fail();
      return;
    }
    if (request.call_case() == control::Request::kNoticesSeen) {
      notices_seen_ = std::min(std::max(notices_seen_, request.notices_seen()), notices_sent_);
      Flush();
      handlers_.seen(shared_from_this(), notices_seen_);
      continue;
    }
    if (request.call_case() == control::Request::kDetach) {
      detached_ = true;
      continue;
    }
    if (request.call_case() == control::Request::kMemoryUse ||
        request.call_case() == control::Request::kLookAtMailbox ||
        request.call_case() == control::Request::kLookAtLane ||
        request.call_case() == control::Request::kCloseObject ||
        request.call_case() == control::Request::kSettleObject ||
        request.call_case() == control::Request::kCloseRegion ||
        request.call_case() == control::Request::kRegionPublished ||
        request.call_case() == control::Request::kExpired) {
      // Nobody waits for an answer.
      handlers_.request(shared_from_this(), request, {});
      continue;
    }
    const bool too_many = requests_pending_ >= kMaxPendingRequests;
    ++requests_pending_;
    if (too_many) {
      Respond(request.id(), absl::ResourceExhaustedError(absl::StrCat(
                                kMaxPendingRequests, " requests of this connection wait already")));
      continue;
    }
    handlers_.request(shared_from_this(), request, std::move(packet->fds));
  }
}

void Client::Fail() {
  if (!open_) return;
  Close();
  // Not now: it may be in the middle of telling several that somebody is gone that this one is too.
  loop_->Post([self = shared_from_this()] { self->handlers_.gone(self); });
}

void Client::Close() {
  if (!open_) return;
  open_ = false;
  loop_->Unwatch(socket_);
  outgoing_.clear();
  owned_.Reset();
}

void Client::Respond(uint64_t id, const absl::Status& status) {
  control::Response response;
  response.set_id(id);
  response.mutable_status()->set_code(static_cast<int>(status.code()));
  response.mutable_status()->set_message(std::string(status.message()));
  Respond(std::move(response));
}

void Client::Respond(control::Response response, std::vector<Fd> fds) {
  if (!open_) return;
  if (requests_pending_ > 0) --requests_pending_;
  control::ToProcess message;
  *message.mutable_response() = std::move(response);
  outgoing_.push_back({message.SerializeAsString(), std::move(fds), nullptr, false, false});
  if (++responses_waiting_ > kMaxResponsesWaiting) return Fail();
  Flush();
}

uint64_t Client::Notify(control::Notice notice, FdSource fds) {
  if (!open_) return 0;
  control::ToProcess message;
  const bool link = notice.has_link_joined();
  links_untold_ += link;
  notice.set_number(++notices_made_);
  *message.mutable_notice() = std::move(notice);
  const uint64_t number = notices_made_;
  outgoing_.push_back({message.SerializeAsString(), {}, std::move(fds), true, link});
  Flush();
  return number;
}

bool Client::OpenFds(Outgoing* next) {
  if (next->source == nullptr) return true;
  absl::StatusOr<std::vector<Fd>> fds = next->source();
  if (!fds.ok() && !absl::IsNotFound(fds.status())) {
    if (std::exchange(retrying_, true)) return false;
    loop_->RunAfter(kOpenAgain, [self = shared_from_this()] {
      self->retrying_ = false;
      self->Flush();
    });
    return false;
  }
  if (fds.ok()) next->fds = *std::move(fds);
  next->source = nullptr;
  return true;
}

void Client::Flush() {
  while (open_ && !outgoing_.empty()) {
    Outgoing& next = outgoing_.front();
    if (next.notice && notices_sent_ - notices_seen_ >= kMaxUnseen) break;
    if (!OpenFds(&next)) break;
    std::vector<int> fds;
    for (const Fd& fd : next.fds) fds.push_back(fd.get());
    const absl::Status status = SendPacket(socket_, next.bytes, fds);
    if (absl::IsResourceExhausted(status)) {
      if (waiting_) return;
      waiting_ = true;
      loop_->Watch(socket_, EPOLLIN | EPOLLOUT,
                   [self = shared_from_this()](uint32_t events) { self->OnEvents(events); });
      return;
    }
    if (!status.ok()) {
      Fail();
      return;
    }
    notices_sent_ += next.notice;
    responses_waiting_ -= !next.notice;
    links_untold_ -= next.link;
    outgoing_.pop_front();
  }
  if (!waiting_ || !open_) return;
  waiting_ = false;
  loop_->Watch(socket_, EPOLLIN,
               [self = shared_from_this()](uint32_t events) { self->OnEvents(events); });
}

}  // namespace mailrail
