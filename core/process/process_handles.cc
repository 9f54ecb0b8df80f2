// What a process tells its agent of the handles that it has on mailboxes, and when the last of one
// has gone.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/process/process_impl.h"

namespace mailrail::internal {
namespace {

// Whether a process that lets go of its last handle on a lane to such a mailbox says so, as that
// makes a difference to others.
bool TellsOfLast(const MailboxOptions& options) {
  return options.policy == ReceivePolicy::kLink || options.pipe;
}

}  // namespace

void ProcessImpl::TakeUnusedLanes(std::vector<uint64_t>* ids) {
  absl::erase_if(lanes_, [ids](const auto& entry) {
    if (!TellsOfLast(entry.second->options())) return false;
    if (entry.second.use_count() > 1) return false;
    ids->push_back(entry.first);
    return true;
  });
  DropNamesOfLanes();
}

absl::StatusOr<std::vector<std::shared_ptr<OutgoingLane>>> ProcessImpl::LanesToSubscriptions(
    uint64_t mailbox, const std::string& name, absl::Time deadline) {
  control::Request list;
  list.set_list_subscriptions(mailbox);
  absl::StatusOr<AgentReply> reply = Call(std::move(list), deadline);
  if (!reply.ok()) return reply.status();
  std::vector<std::shared_ptr<OutgoingLane>> lanes;
  for (const uint64_t id : reply->response.subscriptions().ids()) {
    // No mailbox has such a name.
    const std::string known_as = absl::StrCat(name, " #", id);
    {
      absl::MutexLock lock(&mutex_);
      const auto known = lane_of_.find(known_as);
      if (known != lane_of_.end()) {
        lanes.push_back(lanes_[known->second]);
        continue;
      }
    }
    control::Request request;
    request.set_connect_subscription(id);
    absl::StatusOr<std::shared_ptr<OutgoingLane>> lane =
        AskForLane(std::move(request), known_as, deadline);
    if (absl::IsNotFound(lane.status())) continue;  // its receiver has gone meanwhile
    if (!lane.ok()) return lane.status();
    lanes.push_back(*std::move(lane));
  }
  absl::MutexLock lock(&mutex_);
  DropClosedLanes();
  return lanes;
}

void ProcessImpl::LetGo(std::shared_ptr<OutgoingLane> lane) {
  const bool tells = TellsOfLast(lane->options());
  // Before we look: of several threads that let go the last one finds that nobody has it.
  lane.reset();
  if (tells) CloseUnused();
}

uint64_t ProcessImpl::IdOf(const OutgoingLane& lane) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, known] : lanes_) {
    if (known.get() == &lane) return id;
  }
  return 0;
}

void ProcessImpl::AskToLookAt(const OutgoingLane& lane) const {
  control::Request request;
  request.set_look_at_lane(IdOf(lane));
  connection_.Tell(request);
}

void ProcessImpl::LaneExpires(OutgoingLane* lane) {
  if (lane->expires() || !lane->SetExpires()) return;
  control::Request request;
  request.set_lane_expires(IdOf(*lane));
  // An agent that is started again looks for itself.
  Call(std::move(request), absl::Now() + absl::Seconds(1)).IgnoreError();
}

void ProcessImpl::BeginOpening() {
  absl::MutexLock lock(&mutex_);
  while (closing_ > 0) closed_.Wait(&mutex_);
  ++opening_;
}

void ProcessImpl::EndOpening() {
  {
    absl::MutexLock lock(&mutex_);
    --opening_;
  }
  CloseUnused();
}

void ProcessImpl::CloseReceiver(uint64_t destination_id, const ReceiveQueue* queue) {
  {
    absl::MutexLock lock(&mutex_);
    const auto it = memberships_.find(destination_id);
    if (it == memberships_.end()) return;
    std::erase_if(it->second.queues, [queue](const auto& other) { return other.get() == queue; });
  }
  CloseUnused();
}

void ProcessImpl::CloseUnused() {
  std::vector<uint64_t> unused;
  {
    absl::MutexLock lock(&mutex_);
    if (opening_ > 0) return;
    absl::erase_if(memberships_, [&unused](const auto& entry) {
      if (!entry.second.queues.empty()) return false;
      unused.push_back(entry.first);
      return true;
    });
    TakeUnusedLanes(&unused);
    ++closing_;
  }
  for (const uint64_t id : unused) {
    if (!connection_.connected()) break;
    control::Request request;
    request.set_close(id);
    // Whether it is told or not: the agent knows when this process ends.
    Call(std::move(request), absl::Now() + absl::Seconds(1)).IgnoreError();
  }
  absl::MutexLock lock(&mutex_);
  --closing_;
  closed_.SignalAll();
}

}  // namespace mailrail::internal
