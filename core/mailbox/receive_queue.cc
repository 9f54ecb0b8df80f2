#include "core/mailbox/receive_queue.h"

#include "absl/strings/str_cat.h"

namespace mailrail {

void ReceiveQueue::ReachLocked(uint32_t version) {
  if (IsAfter(version, read_version_)) read_version_ = version;
}

void ReceiveQueue::Join(std::shared_ptr<IncomingLane> lane, uint32_t version) {
  absl::MutexLock lock(&mutex_);
  const uint64_t id = lane->id();
  changes_.push_back({std::move(lane), id});
  ReachLocked(version);
}

void ReceiveQueue::End(uint64_t lane_id, uint32_t version, EndReason reason) {
  absl::MutexLock lock(&mutex_);
  changes_.push_back({nullptr, lane_id, reason});
  ReachLocked(version);
}

void ReceiveQueue::EndOf(Ended what, const ProcessId& process, uint32_t version, EndReason reason) {
  absl::MutexLock lock(&mutex_);
  changes_.push_back({nullptr, 0, reason, std::move(what), process});
  ReachLocked(version);
}

void ReceiveQueue::Reach(uint32_t version) {
  absl::MutexLock lock(&mutex_);
  ReachLocked(version);
}

uint32_t ReceiveQueue::version() const {
  absl::MutexLock lock(&mutex_);
  return read_version_;
}

bool ReceiveQueue::ReadUpTo(const ControlPage& control) const {
  return !IsAfter(control.members_version.load(), version());
}

void ReceiveQueue::RefuseLane(const ProcessId& sender) {
  error_ = absl::DataLossError(
      absl::StrCat("the lane of ", sender.ToString(), " is not well-formed; it was closed"));
}

void ReceiveQueue::TakeOverChanges() {
  std::vector<Change> changes;
  {
    absl::MutexLock lock(&mutex_);
    changes.swap(changes_);
    version_ = read_version_;
  }
  for (Change& change : changes) {
    if (change.ended.kind != Ended::Kind::kNothing) {
      EndWatched(change.ended, change.process, change.reason);
    } else if (change.joined != nullptr) {
      AddLane(std::move(change.joined));
    } else {
      EndLane(change.id, change.reason);
    }
  }
}

}  // namespace mailrail
