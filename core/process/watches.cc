// What a process watches: the agent keeps it, and tells the end; the inbox's queue puts the end in
// its place.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "core/process/process_impl.h"

namespace mailrail::internal {
namespace {

// How long to wait until the agent has heard that a watch was taken back. Nothing is told of it
// anyway.
constexpr absl::Duration kUnwatchTimeout = absl::Seconds(10);

}  // namespace

absl::Status ProcessImpl::AskToWatch(const Ended& what, const ProcessId& process,
                                     absl::Time deadline) {
  control::Request request;
  control::Watch* const watch = request.mutable_watch();
  watch->set_kind(static_cast<proto::SubjectKind>(what.kind));
  watch->set_name(what.name);
  const bool is_process = what.kind == Ended::Kind::kProcess;
  uint64_t id = 0;
  {
    absl::MutexLock lock(&mutex_);
    id = ++last_watch_;
    // Before the agent is asked: the end may be told before its answer is read.
    watches_[id] = {is_process ? what : Ended(), process};
  }
  watch->set_id(id);
  const absl::StatusOr<AgentReply> reply = Call(std::move(request), deadline);
  absl::MutexLock lock(&mutex_);
  const auto asked = watches_.find(id);
  if (!reply.ok() || reply->response.watched().id() != id) {
    // Not watched, or watched already: then the end comes under the earlier one's id.
    if (asked != watches_.end()) watches_.erase(asked);
    return reply.status();
  }
  if (asked == watches_.end() || is_process) return absl::OkStatus();
  asked->second.what = {what.kind, reply->response.watched().name()};
  inbox_queue_->Watch(asked->second.what);
  return absl::OkStatus();
}

absl::Status ProcessImpl::Watch(const ProcessId& process, absl::Time deadline) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  const Ended what = {Ended::Kind::kProcess, process.ToString()};
  std::shared_ptr<InboxQueue> queue;
  {
    absl::MutexLock lock(&mutex_);
    queue = inbox_queue_;
  }
  // Before the link is known to be there: its end may follow at once.
  queue->Watch(what);
  absl::Status status = ConnectProcess(what.name, control::AS_IT_IS, deadline).status();
  // It was linking itself one-way just then: nothing of this process's goes there.
  if (absl::IsPermissionDenied(status)) status = absl::OkStatus();
  if (status.ok()) status = AskToWatch(what, process, deadline);
  if (!status.ok()) queue->UndoWatch(what);
  return status;
}

absl::Status ProcessImpl::Watch(const Ended& what, absl::Time deadline) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  return AskToWatch(what, ProcessId(), deadline);
}

absl::Status ProcessImpl::Unwatch(const Ended& what) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  std::vector<uint64_t> ids;
  {
    absl::MutexLock lock(&mutex_);
    if (!inbox_queue_->Unwatch(what)) {
      return absl::NotFoundError(absl::StrCat(what.name, " is not watched"));
    }
    for (const auto& [id, watched] : watches_) {
      if (watched.what.kind != what.kind) continue;
      if (!inbox_queue_->IsWatched(watched.what)) ids.push_back(id);
    }
    for (const uint64_t id : ids) watches_.erase(id);
  }
  for (const uint64_t id : ids) {
    control::Request request;
    request.set_unwatch(id);
    Call(std::move(request), absl::Now() + kUnwatchTimeout).IgnoreError();
  }
  return absl::OkStatus();
}

void ProcessImpl::OnWatchEnded(const control::Notice& notice) {
  const control::WatchEnded& ended = notice.watch_ended();
  const auto watched = watches_.find(ended.id());
  // It is said again, or was taken back.
  if (watched == watches_.end()) return inbox_queue_->Reach(notice.members_version());
  const WatchedSubject subject = std::move(watched->second);
  watches_.erase(watched);
  const Ended what = {static_cast<Ended::Kind>(ended.kind()), ended.name()};
  if (subject.what.kind == Ended::Kind::kNothing) inbox_queue_->Watch(what);
  inbox_queue_->EndOf(what, subject.process, notice.members_version(),
                      EndReasonOf(ended.end_reason()));
}

}  // namespace mailrail::internal
