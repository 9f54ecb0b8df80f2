#include "core/process/process_impl.h"

#include <pthread.h>

#include <atomic>
#include <utility>

#include "absl/base/call_once.h"
#include "absl/strings/str_cat.h"
#include "core/process/find_agent.h"
#include "core/process/grants.h"
#include "core/process/receiver_impl.h"
#include "core/process/watcher.h"

namespace mailrail::internal {
namespace {

// How many forks lie between the start of the first program and this one.
std::atomic<uint32_t> fork_generation{0};

uint32_t ForkGeneration() {
  static absl::once_flag once;
  absl::call_once(once,
                  [] { pthread_atfork(nullptr, nullptr, [] { fork_generation.fetch_add(1); }); });
  return fork_generation.load(std::memory_order_relaxed);
}

absl::StatusOr<std::shared_ptr<const ReceiverMemory>> MapReceiver(absl::Span<const Fd> fds) {
  if (fds.size() != 3 && fds.size() != 4) {
    return absl::DataLossError("the agent granted an incomplete mailbox");
  }
  const auto memory = std::make_shared<ReceiverMemory>();
  absl::StatusOr<Mapping> control = Mapping::Map(fds[0], sizeof(ControlPage), Access::kReadOnly);
  if (!control.ok()) return control.status();
  absl::StatusOr<Mapping> bell = Mapping::Map(fds[1], sizeof(BellWords), Access::kReadWrite);
  if (!bell.ok()) return bell.status();
  absl::StatusOr<Mapping> gate = Mapping::Map(fds[2], sizeof(GateWord), Access::kReadWrite);
  if (!gate.ok()) return gate.status();
  memory->control = *std::move(control);
  memory->bell = *std::move(bell);
  memory->gate = *std::move(gate);
  if (fds.size() == 4) {
    absl::StatusOr<Mapping> carrier = Mapping::Map(fds[3], sizeof(GateWord), Access::kReadWrite);
    if (!carrier.ok()) return carrier.status();
    memory->carrier_gate = *std::move(carrier);
  }
  return memory;
}

}  // namespace

ProcessImpl::ProcessImpl(Fd socket)
    : fork_generation_(ForkGeneration()), connection_(std::move(socket), this) {}

// The inbox uses the rest of this when it ends.
ProcessImpl::~ProcessImpl() { inbox_.reset(); }

absl::StatusOr<std::shared_ptr<ProcessImpl>> ProcessImpl::Attach(const AttachOptions& options) {
  absl::StatusOr<Fd> socket = ConnectToAgent(options);
  if (!socket.ok()) return socket.status();
  std::shared_ptr<ProcessImpl> process(new ProcessImpl(*std::move(socket)));
  if (absl::Status status = process->Introduce(absl::Now() + options.timeout); !status.ok()) {
    return status;
  }
  return process;
}

absl::Status ProcessImpl::Introduce(absl::Time deadline) {
  control::Request request;
  request.mutable_attach()->set_protocol_version(kControlProtocolVersion);
  request.mutable_attach()->set_layout_version(kLayoutVersion);
  absl::StatusOr<AgentReply> reply = connection_.Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  const control::Attached& attached = reply->response.attached();
  absl::StatusOr<std::shared_ptr<const ReceiverMemory>> memory = MapReceiver(reply->fds);
  if (!memory.ok()) return memory.status();
  id_ = FromProto(attached.process());
  number_ = attached.number();
  inbox_id_ = attached.inbox_id();
  const auto queue = std::make_shared<InboxQueue>();
  inbox_ = ReceiverAccess::Make(
      std::make_unique<ReceiverImpl>(this, nullptr, absl::StrCat("inbox of ", id_.ToString()),
                                     inbox_id_, queue, *std::move(memory), /*is_inbox=*/true));
  absl::MutexLock lock(&mutex_);
  inbox_queue_ = queue;
  return absl::OkStatus();
}

absl::Status ProcessImpl::CheckUsable() const {
  if (fork_generation.load(std::memory_order_relaxed) != fork_generation_) {
    return absl::FailedPreconditionError(
        "this Process belongs to the program that forked; attach anew in the child");
  }
  return absl::OkStatus();
}

absl::StatusOr<AgentReply> ProcessImpl::Call(control::Request request, absl::Time deadline) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  return connection_.Call(std::move(request), deadline);
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> ProcessImpl::ConnectProcess(const std::string& name,
                                                                          absl::Time deadline) {
  if (const absl::StatusOr<ProcessId> id = ProcessId::Parse(name); id.ok()) {
    absl::MutexLock lock(&mutex_);
    const auto link = link_of_.find(*id);
    if (link != link_of_.end()) {
      const std::shared_ptr<OutgoingLane>& lane = links_[link->second].lane;
      if (lane != nullptr && lane->closed_status().ok()) return lane;
    }
  }
  control::Request request;
  request.set_connect_process(name);
  absl::StatusOr<AgentReply> reply = Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  absl::MutexLock lock(&mutex_);
  const auto link = links_.find(reply->response.link().link_id());
  if (link == links_.end()) {
    // It ended between the notice and the response.
    return absl::UnavailableError(absl::StrCat("process ", name, " is gone"));
  }
  if (!link->second.status.ok()) return link->second.status;
  return link->second.lane;
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> ProcessImpl::ConnectMailbox(const std::string& name,
                                                                          absl::Time deadline) {
  {
    absl::MutexLock lock(&mutex_);
    const auto known = lane_of_.find(name);
    if (known != lane_of_.end() && lanes_[known->second]->closed_status().ok()) {
      return lanes_[known->second];
    }
  }
  control::Request request;
  request.set_connect_mailbox(name);
  absl::StatusOr<AgentReply> reply = Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  const control::Response& response = reply->response;
  const uint64_t id = response.has_lane() ? response.lane().lane_id() : response.link().link_id();
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = absl::InternalError("no lane granted");
  if (response.has_lane()) {
    lane = MapLane(response.lane(), number_, reply->fds);
  } else if (response.has_link()) {
    absl::StatusOr<MappedLink> mapped = MapLink(response.link(), reply->fds);
    lane =
        mapped.ok() ? absl::StatusOr<std::shared_ptr<OutgoingLane>>(mapped->lane) : mapped.status();
  }
  // The agent grants a lane again when it is asked again, by another thread or under another name.
  // The first mapping stays: it is the one writer, and by its seal the only one.
  absl::MutexLock lock(&mutex_);
  const auto known = lanes_.find(id);
  if (known == lanes_.end()) {
    if (!lane.ok()) return lane.status();
    lanes_[id] = *lane;
  } else {
    lane = known->second;
  }
  lane_of_[name] = id;
  return lane;
}

absl::StatusOr<ProcessImpl::OpenedMailbox> ProcessImpl::OpenMailbox(const std::string& name,
                                                                    absl::Time deadline) {
  control::Request request;
  request.set_open_mailbox(name);
  absl::StatusOr<AgentReply> reply = Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  absl::StatusOr<std::shared_ptr<const ReceiverMemory>> memory = MapReceiver(reply->fds);
  if (!memory.ok()) return memory.status();
  const control::Opened& opened = reply->response.opened();
  OpenedMailbox result;
  result.destination_id = opened.destination_id();
  result.name = opened.mailbox();
  result.queue = std::make_shared<MailboxQueue>(number_);
  absl::MutexLock lock(&mutex_);
  Membership& membership = memberships_[opened.destination_id()];
  if (!membership.versioned) {
    membership.versioned = true;
    membership.version = opened.members_version();
  }
  if (membership.memory == nullptr) membership.memory = *std::move(memory);
  result.memory = membership.memory;
  for (const auto& [id, lane] : membership.lanes) {
    result.queue->Join(
        std::make_shared<IncomingCells>(id, lane.sender, lane.same_user, lane.memory),
        membership.version);
  }
  result.queue->Reach(membership.version);
  membership.queues.push_back(result.queue);
  return result;
}

void ProcessImpl::CloseReceiver(uint64_t destination_id, const ReceiveQueue* queue) {
  {
    absl::MutexLock lock(&mutex_);
    const auto it = memberships_.find(destination_id);
    if (it == memberships_.end()) return;
    std::erase_if(it->second.queues, [queue](const auto& other) { return other.get() == queue; });
    if (!it->second.queues.empty()) return;
    memberships_.erase(it);
  }
  if (!CheckUsable().ok() || !connection_.connected()) return;
  control::Request request;
  request.set_close_receiver(destination_id);
  // Whether it is told or not: the agent knows when this process ends.
  Call(std::move(request), absl::Now() + absl::Seconds(1)).IgnoreError();
}

bool ProcessImpl::LinkedWith(const ProcessId& peer) {
  absl::MutexLock lock(&mutex_);
  return link_of_.contains(peer);
}

Watcher* ProcessImpl::watcher() {
  absl::MutexLock lock(&mutex_);
  if (watcher_ == nullptr) watcher_ = std::make_unique<Watcher>();
  return watcher_.get();
}

void ProcessImpl::OnNotice(const control::Notice& notice, std::vector<Fd> fds) {
  absl::MutexLock lock(&mutex_);
  if (notice.has_link_joined()) {
    OnLinkJoined(notice.link_joined(), std::move(fds), notice.members_version());
  } else if (notice.has_lane_joined()) {
    OnLaneJoined(notice, std::move(fds));
  } else if (notice.has_lane_ended()) {
    OnLaneEnded(notice);
  }
}

void ProcessImpl::OnLinkJoined(const control::LinkGrant& grant, std::vector<Fd> fds,
                               uint32_t version) {
  // An agent that was started again tells everything again.
  if (links_.contains(grant.link_id())) return inbox_queue_->Reach(version);
  Link link;
  link.peer = FromProto(grant.peer());
  absl::StatusOr<MappedLink> mapped = MapLink(grant, fds);
  if (mapped.ok()) {
    link.lane = mapped->lane;
    inbox_queue_->Join(std::make_shared<IncomingRing>(grant.link_id(), link.peer, grant.same_user(),
                                                      std::move(mapped->memory)),
                       version);
  } else {
    link.status = mapped.status();
    inbox_queue_->Reach(version);
  }
  link_of_[link.peer] = grant.link_id();
  links_[grant.link_id()] = std::move(link);
}

void ProcessImpl::OnLaneJoined(const control::Notice& notice, std::vector<Fd> fds) {
  const control::LaneJoined& joined = notice.lane_joined();
  // The lanes of a mailbox come before the response to OpenMailbox.
  Membership& membership = memberships_[notice.destination_id()];
  membership.versioned = true;
  membership.version = notice.members_version();
  JoinedLane lane{FromProto(joined.sender()), joined.same_user(), nullptr};
  if (!membership.lanes.contains(joined.lane_id())) {
    absl::StatusOr<std::shared_ptr<const CellMemory>> memory = MapIncoming(joined, fds);
    if (memory.ok()) {
      lane.memory = *std::move(memory);
      membership.lanes[joined.lane_id()] = lane;
    }
  }
  for (const std::shared_ptr<ReceiveQueue>& queue : membership.queues) {
    if (lane.memory != nullptr) {
      queue->Join(std::make_shared<IncomingCells>(joined.lane_id(), lane.sender, lane.same_user,
                                                  lane.memory),
                  membership.version);
    } else {
      queue->Reach(membership.version);
    }
  }
}

void ProcessImpl::OnLaneEnded(const control::Notice& notice) {
  const uint64_t id = notice.lane_ended().lane_id();
  if (notice.destination_id() == inbox_id_) {
    inbox_queue_->End(id, notice.members_version());
    const auto link = links_.find(id);
    if (link == links_.end()) return;
    const auto of = link_of_.find(link->second.peer);
    if (of != link_of_.end() && of->second == id) link_of_.erase(of);
    links_.erase(link);
    return;
  }
  const auto membership = memberships_.find(notice.destination_id());
  if (membership == memberships_.end()) return;
  membership->second.version = notice.members_version();
  membership->second.lanes.erase(id);
  for (const std::shared_ptr<ReceiveQueue>& queue : membership->second.queues) {
    queue->End(id, notice.members_version());
  }
}

}  // namespace mailrail::internal
