#include "core/process/process_impl.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/fork.h"
#include "core/process/calls.h"
#include "core/process/find_agent.h"
#include "core/process/grants.h"
#include "core/process/receipts.h"
#include "core/process/receiver_impl.h"
#include "core/process/watcher.h"
#include "core/shm/barrier.h"
#include "core/shm/memory_limit.h"

namespace mailrail::internal {
namespace {

// The most that comes with a link or a lane, and is mapped.
constexpr int kDescriptorsOfGrant = 5;

// Versions wrap.
uint32_t Newer(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) > 0 ? a : b; }

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

// Whether a link is already what is asked for.
bool IsGranted(control::LinkWish wish, control::LinkDirection direction) {
  switch (wish) {
    case control::TWO_WAY:
      return direction == control::BOTH_WAYS;
    case control::ONE_WAY:
      return direction == control::OUTWARD;
    default:
      return true;
  }
}

}  // namespace

// Half of what its cgroup may have, since shared memory is not all that a process uses.
ProcessImpl::ProcessImpl(Fd socket)
    : fork_generation_(ForkGeneration()),
      connection_(std::move(socket), this),
      budget_(std::make_shared<Budget>("this process", CgroupMemoryLimit() / 2)),
      calls_(std::make_unique<Calls>(this)),
      receipts_(std::make_unique<Receipts>(this)) {}

// Both use the rest of this when they end.
ProcessImpl::~ProcessImpl() {
  calls_.reset();
  inbox_.reset();
}

absl::StatusOr<std::shared_ptr<ProcessImpl>> ProcessImpl::Attach(const AttachOptions& options) {
  // Here, so that no send waits for it.
  RegisterForBarriers();
  RegisterForBarriersOfThreads();
  const absl::Time deadline = absl::Now() + options.timeout;
  // Twice: an agent may stop, or be followed by another, just when it is reached.
  for (bool last = false;; last = true) {
    absl::StatusOr<Fd> socket = ConnectToAgent(options, deadline);
    if (!socket.ok()) return socket.status();
    std::shared_ptr<ProcessImpl> process(new ProcessImpl(*std::move(socket)));
    absl::Status status = process->Introduce(deadline);
    if (status.ok()) return process;
    if (last || !absl::IsAborted(status)) return status;
  }
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
  const auto* const page = reinterpret_cast<const ControlPage*>((*memory)->control.data());
  set_page(page);
  budget_->set_granted({*memory, &page->memory_bytes},
                       [weak = weak_from_this()](uint64_t used_bytes, uint64_t wanted_bytes) {
                         const std::shared_ptr<ProcessImpl> process = weak.lock();
                         if (process == nullptr) return;
                         control::Request use;
                         use.mutable_memory_use()->set_used_bytes(used_bytes);
                         use.mutable_memory_use()->set_wanted_bytes(wanted_bytes);
                         process->connection_.Tell(use);
                       });
  const auto queue = std::make_shared<InboxQueue>();
  queue->set_limits({.max_message_bytes = attached.max_message_bytes()});
  inbox_ = ReceiverAccess::Make(
      std::make_unique<ReceiverImpl>(this, nullptr, absl::StrCat("inbox of ", id_.ToString()),
                                     inbox_id_, queue, *std::move(memory), /*is_inbox=*/true));
  absl::MutexLock lock(&mutex_);
  inbox_queue_ = queue;
  return absl::OkStatus();
}

absl::Status ProcessImpl::Unusable() {
  return absl::FailedPreconditionError(
      "this Process belongs to the program that forked; attach anew in the child");
}

absl::Status ProcessImpl::Check() const {
  // First what the connection says: it may know why.
  if (absl::Status status = connection_.Check(); !status.ok()) return status;
  if (!gone()) return absl::OkStatus();
  return absl::AbortedError("detached: the agent has declared this process gone; attach again");
}

absl::StatusOr<AgentReply> ProcessImpl::Call(control::Request request, absl::Time deadline) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  return connection_.Call(std::move(request), deadline);
}

absl::Status ProcessImpl::CheckRoomForLane(const std::string& name) {
  if (absl::Status status = CheckRoomToMap(kDescriptorsOfGrant); !status.ok()) return status;
  return budget_->CheckRoom(LinkMemory::kFirstBytes, absl::StrCat("a lane to ", name));
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> ProcessImpl::ConnectProcess(const std::string& name,
                                                                          control::LinkWish wish,
                                                                          absl::Time deadline) {
  if (const absl::StatusOr<ProcessId> id = ProcessId::Parse(name); id.ok()) {
    absl::MutexLock lock(&mutex_);
    const auto found = link_of_.find(*id);
    if (found != link_of_.end()) {
      const Link& link = links_[found->second];
      // Else the agent has to change something, or to refuse.
      const bool granted = IsGranted(wish, link.direction);
      if (granted && link.lane->closed_status().ok()) return link.lane;
    }
  }
  if (absl::Status status = CheckRoomForLane(name); !status.ok()) return status;
  control::Request request;
  request.set_connect_process(name);
  request.set_link_wish(wish);
  absl::StatusOr<AgentReply> reply = Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  absl::MutexLock lock(&mutex_);
  const auto link = links_.find(reply->response.link().link_id());
  if (link == links_.end()) {
    // It ended between the notice and the response.
    return absl::UnavailableError(absl::StrCat("process ", name, " is gone"));
  }
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
    DropClosedLanes();
  }
  BeginOpening();
  control::Request request;
  request.set_connect_mailbox(name);
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane =
      AskForLane(std::move(request), name, deadline);
  EndOpening();
  return lane;
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> ProcessImpl::AskForLane(control::Request request,
                                                                      const std::string& name,
                                                                      absl::Time deadline) {
  if (absl::Status status = CheckRoomForLane(name); !status.ok()) return status;
  absl::StatusOr<AgentReply> reply = Call(std::move(request), deadline);
  if (!reply.ok()) return reply.status();
  const control::Response& response = reply->response;
  const uint64_t id = response.has_lane()        ? response.lane().lane_id()
                      : response.has_broadcast() ? response.broadcast().mailbox_id()
                                                 : response.link().link_id();
  absl::StatusOr<std::shared_ptr<OutgoingLane>> lane = absl::InternalError("no lane granted");
  if (response.has_lane()) {
    lane = MapLane(response.lane(), number_, reply->fds, budget_);
  } else if (response.has_broadcast()) {
    lane = MapGroup(response.broadcast(), reply->fds,
                    [this, id, mailbox = response.broadcast().mailbox()](absl::Time until) {
                      return LanesToSubscriptions(id, mailbox, until);
                    });
  } else if (response.has_link()) {
    absl::StatusOr<MappedLink> mapped = MapLink(response.link(), reply->fds, budget_);
    lane =
        mapped.ok() ? absl::StatusOr<std::shared_ptr<OutgoingLane>>(mapped->lane) : mapped.status();
  }
  // The agent grants a lane again when it is asked again, by another thread or under another name.
  // The first mapping stays: it is the one writer, and by its seal the only one.
  absl::MutexLock lock(&mutex_);
  const auto known = lanes_.find(id);
  if (known == lanes_.end()) {
    if (!lane.ok()) return lane.status();
    (*lane)->set_attachment(this);
    lanes_[id] = *lane;
  } else {
    lane = known->second;
  }
  lane_of_[name] = id;
  return lane;
}

void ProcessImpl::DropClosedLanes() {
  absl::erase_if(lanes_, [](const auto& entry) {
    return entry.second.use_count() == 1 && !entry.second->closed_status().ok();
  });
  DropNamesOfLanes();
}

void ProcessImpl::DropNamesOfLanes() {
  absl::erase_if(lane_of_, [this](const auto& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !lanes_.contains(entry.second);
  });
}

absl::StatusOr<ProcessImpl::OpenedMailbox> ProcessImpl::OpenMailbox(const std::string& name,
                                                                    bool leases,
                                                                    absl::Time deadline) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  BeginOpening();
  control::Request request;
  request.mutable_open_mailbox()->set_name(name);
  request.mutable_open_mailbox()->set_leases(leases);
  absl::StatusOr<AgentReply> reply = Call(std::move(request), deadline);
  const control::Response response = reply.ok() ? reply->response : control::Response();
  absl::StatusOr<OpenedMailbox> opened =
      reply.ok() ? AddReceiver(*std::move(reply)) : reply.status();
  if (!opened.ok()) connection_.CloseSole(response);
  EndOpening();
  return opened;
}

absl::StatusOr<ProcessImpl::OpenedMailbox> ProcessImpl::AddReceiver(AgentReply reply) {
  absl::StatusOr<std::shared_ptr<const ReceiverMemory>> memory = MapReceiver(reply.fds);
  if (!memory.ok()) return memory.status();
  const control::Opened& opened = reply.response.opened();
  OpenedMailbox result;
  result.destination_id = opened.destination_id();
  result.name = opened.mailbox();
  const MailboxOptions options = FromProto(opened.spec());
  result.queue = std::make_shared<MailboxQueue>(number_, this);
  result.queue->set_limits(options);
  // Of a mailbox of another node that node's agent receives, and counts, when it is our turn.
  if (!opened.remote()) {
    result.queue->set_max_attempts(options.max_attempts);
    result.queue->set_order(options.order);
    if (options.policy == ReceivePolicy::kExclusive) result.queue->RequireHolder(number_);
  }
  absl::MutexLock lock(&mutex_);
  Membership& membership = memberships_[opened.destination_id()];
  membership.version = Newer(membership.version, opened.members_version());
  if (membership.memory == nullptr) membership.memory = *std::move(memory);
  result.memory = membership.memory;
  if (!opened.remote()) result.queue->Distribute(options.distribution, number_);
  if (!opened.remote() && options.hold_order) {
    result.queue->HoldOrder(std::shared_ptr<GateWord>(
        result.memory, reinterpret_cast<GateWord*>(result.memory->gate.data())));
  }
  for (const auto& [id, lane] : membership.lanes) {
    result.queue->Join(std::make_shared<IncomingCells>(id, lane.sender, lane.same_user, lane.memory,
                                                       lane.by_agent),
                       membership.version);
  }
  result.queue->Reach(membership.version);
  membership.queues.push_back(result.queue);
  return result;
}

bool ProcessImpl::LinkedWith(const ProcessId& peer) {
  absl::MutexLock lock(&mutex_);
  return link_of_.contains(peer);
}

Watcher* ProcessImpl::watcher() {
  absl::MutexLock lock(&mutex_);
  if (watcher_ == nullptr) {
    watcher_ = std::make_unique<Watcher>([this] { connection_.ReadNotices(); });
  }
  return watcher_.get();
}

absl::Status ProcessImpl::OnNotice(const control::Notice& notice, std::vector<Fd> fds) {
  absl::MutexLock lock(&mutex_);
  if (notice.has_link_joined()) {
    return OnLinkJoined(notice.link_joined(), std::move(fds), notice.members_version());
  }
  if (notice.has_lane_joined()) return OnLaneJoined(notice, std::move(fds));
  if (notice.has_lane_ended()) OnLaneEnded(notice);
  if (notice.has_watch_ended()) OnWatchEnded(notice);
  if (notice.has_receipts()) receipts_->OnNotice(notice.receipts());
  if (notice.has_object_lost()) objects_.OnLost(notice.object_lost());
  return absl::OkStatus();
}

absl::Status ProcessImpl::OnLinkJoined(const control::LinkGrant& grant, std::vector<Fd> fds,
                                       uint32_t version) {
  // It has become two-way; or an agent that was started again tells everything again.
  if (const auto known = links_.find(grant.link_id()); known != links_.end()) {
    Link& link = known->second;
    const bool was_mute = std::exchange(link.direction, grant.direction()) == control::OUTWARD;
    if (was_mute && link.direction != control::OUTWARD) {
      JoinInbox(grant, link, version);
    } else {
      inbox_queue_->Reach(version);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<MappedLink> mapped = MapLink(grant, fds, budget_);
  if (!mapped.ok()) return mapped.status();
  mapped->lane->set_attachment(this);
  const Link link{FromProto(grant.peer()), mapped->lane, std::move(mapped->memory),
                  grant.direction()};
  JoinInbox(grant, link, version);
  link_of_[link.peer] = grant.link_id();
  links_[grant.link_id()] = link;
  return absl::OkStatus();
}

void ProcessImpl::JoinInbox(const control::LinkGrant& grant, const Link& link, uint32_t version) {
  inbox_queue_->Join(std::make_shared<IncomingRing>(grant.link_id(), link.peer, grant.same_user(),
                                                    link.memory, grant.peer_is_agent(),
                                                    /*mute=*/link.direction == control::OUTWARD),
                     version);
}

absl::Status ProcessImpl::OnLaneJoined(const control::Notice& notice, std::vector<Fd> fds) {
  const control::LaneJoined& joined = notice.lane_joined();
  // The lanes of a mailbox come before the response to OpenMailbox.
  Membership& membership = memberships_[notice.destination_id()];
  const bool known = membership.lanes.contains(joined.lane_id());
  if (!known) {
    absl::StatusOr<std::shared_ptr<const CellMemory>> memory = MapIncoming(joined, fds);
    if (!memory.ok()) return memory.status();
    membership.lanes[joined.lane_id()] = {FromProto(joined.sender()), joined.same_user(),
                                          joined.by_agent(), *std::move(memory)};
  }
  const JoinedLane& lane = membership.lanes[joined.lane_id()];
  membership.version = Newer(membership.version, notice.members_version());
  for (const std::shared_ptr<ReceiveQueue>& queue : membership.queues) {
    if (known) {
      queue->Reach(membership.version);
    } else {
      queue->Join(std::make_shared<IncomingCells>(joined.lane_id(), lane.sender, lane.same_user,
                                                  lane.memory, lane.by_agent),
                  membership.version);
    }
  }
  return absl::OkStatus();
}

void ProcessImpl::OnLaneEnded(const control::Notice& notice) {
  const uint64_t id = notice.lane_ended().lane_id();
  if (notice.destination_id() == inbox_id_) {
    inbox_queue_->End(id, notice.members_version(), EndReasonOf(notice.lane_ended().end_reason()));
    const auto link = links_.find(id);
    if (link == links_.end()) return;
    const auto of = link_of_.find(link->second.peer);
    if (of != link_of_.end() && of->second == id) link_of_.erase(of);
    links_.erase(link);
    return;
  }
  const auto membership = memberships_.find(notice.destination_id());
  if (membership == memberships_.end()) return;
  membership->second.version = Newer(membership->second.version, notice.members_version());
  membership->second.lanes.erase(id);
  for (const std::shared_ptr<ReceiveQueue>& queue : membership->second.queues) {
    queue->End(id, notice.members_version());
  }
}

}  // namespace mailrail::internal
