#include "node/agent/watches.h"

#include <vector>

#include "core/process/grants.h"

namespace mailrail {
namespace {

// When a node is asked again that could not say.
constexpr absl::Duration kAskAgain = absl::Seconds(1);
// How long a node may take to hear that nobody waits any more; what it knows too much is little.
constexpr absl::Duration kForgetTimeout = absl::Seconds(10);

}  // namespace

proto::AwaitEnd ToProto(const Subject& subject) {
  proto::AwaitEnd await;
  if (subject.kind == Ended::Kind::kProcess) {
    internal::ToProto(subject.process, await.mutable_process());
  } else {
    await.set_mailbox(subject.mailbox);
    await.set_mailbox_id(subject.mailbox_id);
  }
  return await;
}

absl::StatusOr<Watch*> Watches::Add(const LocalProcess& process, uint64_t watch,
                                    const Subject& subject) {
  for (const uint64_t id : registry_->WatchesOf(subject)) {
    Watch* const other = registry_->FindWatch(id);
    if (other->number == process.number && other->ended == EndReason::kNone) return other;
  }
  absl::StatusOr<Watch*> added = registry_->AddWatch(process, watch, subject);
  if (added.ok()) Follow(subject);
  return added;
}

void Watches::Remove(uint32_t number, uint64_t watch) {
  if (const Watch* const found = registry_->FindWatch(number, watch)) Drop(found->id);
}

void Watches::Drop(uint64_t id) {
  const Subject subject = registry_->FindWatch(id)->subject;
  registry_->RemoveWatch(id);
  if (!Wanted(subject)) Forget(subject);
}

bool Watches::Wanted(const Subject& subject) const {
  for (const uint64_t id : registry_->WatchesOf(subject)) {
    if (registry_->FindWatch(id)->ended == EndReason::kNone) return true;
  }
  return false;
}

void Watches::Follow(const Subject& subject) {
  if (subject.kind == Ended::Kind::kNode) {
    if (!up_.contains(subject.node)) AwaitReturn(subject.node);
  } else if (!IsHere(subject)) {
    Ask(subject);
  }
}

void Watches::Ask(const Subject& subject) {
  if (!asked_.insert(subject.Key()).second) return;
  proto::Request request;
  *request.mutable_await_end() = ToProto(subject);
  peers_->Call(subject.node, std::move(request), absl::InfiniteFuture(),
               [this, subject](const absl::StatusOr<proto::Reply>& reply) {
                 asked_.erase(subject.Key());
                 OnAnswer(subject, reply);
               });
}

void Watches::AskLater(const Subject& subject) {
  loop_->RunAfter(kAskAgain, [this, subject] {
    if (Wanted(subject)) Ask(subject);
  });
}

void Watches::OnAnswer(const Subject& subject, const absl::StatusOr<proto::Reply>& reply) {
  if (!Wanted(subject)) return;
  if (!reply.ok()) return AskLater(subject);
  // It was to forget it, and is asked for again since.
  if (reply->end_reason() == 0) return AskLater(subject);
  End(subject, internal::EndReasonOf(reply->end_reason()));
}

void Watches::Forget(const Subject& subject) {
  if (!asked_.contains(subject.Key())) return;
  proto::Request request;
  *request.mutable_forget_end() = ToProto(subject);
  // The question itself is answered then.
  peers_->Call(subject.node, std::move(request), absl::Now() + kForgetTimeout,
               [](const absl::StatusOr<proto::Reply>&) {});
}

void Watches::AwaitReturn(const std::string& node) {
  if (returns_.contains(node)) return;
  returns_[node] = loop_->RunAfter(options_.unreachable_after, [this, node] {
    returns_.erase(node);
    End(Subject::OfNode(node), EndReason::kUnreachable);
  });
}

void Watches::OnPeerUp(const std::string& node) {
  up_.insert(node);
  const auto awaited = returns_.find(node);
  if (awaited == returns_.end()) return;
  loop_->Cancel(awaited->second);
  returns_.erase(awaited);
}

void Watches::OnPeerDown(const std::string& node) {
  up_.erase(node);
  if (Wanted(Subject::OfNode(node))) AwaitReturn(node);
}

void Watches::OnNodeAnew(const std::string& node) {
  std::vector<Subject> ended;
  for (const auto& [id, watch] : registry_->watches()) {
    if (watch->subject.node == node) ended.push_back(watch->subject);
  }
  for (const Subject& subject : ended) End(subject, EndReason::kEnded);
}

void Watches::OnProcessGone(const LocalProcess& process, EndReason reason) {
  End(Subject::OfProcess(process.id), reason);
  for (const uint64_t id : registry_->WatchesOf(process.number)) Drop(id);
  told_.erase(process.number);
}

void Watches::OnMailboxDestroyed(const LocalMailbox& mailbox) {
  End(Subject::OfMailbox(registry_->node(), mailbox.name, mailbox.id), EndReason::kDestroyed);
}

void Watches::End(const Subject& subject, EndReason reason) {
  for (const uint64_t id : registry_->WatchesOf(subject)) {
    Watch* const watch = registry_->FindWatch(id);
    if (watch->ended != EndReason::kNone) continue;
    watch->ended = reason;
    registry_->SaveWatch(*watch);
    Tell(*watch);
  }
}

void Watches::Tell(const Watch& watch) {
  LocalProcess* const process = registry_->FindProcess(watch.number);
  if (process == nullptr) return;
  control::Notice notice;
  control::WatchEnded* const ended = notice.mutable_watch_ended();
  ended->set_id(watch.watch);
  ended->set_kind(static_cast<proto::SubjectKind>(watch.subject.kind));
  ended->set_name(watch.subject.Name());
  ended->set_end_reason(static_cast<uint32_t>(watch.ended));
  notice.set_destination_id(process->inbox_id);
  notice.set_members_version(process->inbox.next_version());
  const uint64_t number = options_.notify(watch.number, std::move(notice));
  if (number != 0) told_[watch.number].push_back({number, watch.id});
  process->inbox.BumpVersion();
  process->inbox.Ring();
}

void Watches::OnSeen(uint32_t number, uint64_t notice) {
  const auto told = told_.find(number);
  if (told == told_.end()) return;
  while (!told->second.empty() && told->second.front().first <= notice) {
    registry_->RemoveWatch(told->second.front().second);
    told->second.pop_front();
  }
  if (told->second.empty()) told_.erase(told);
}

void Watches::Resume() {
  std::vector<uint64_t> ids;
  for (const auto& [id, watch] : registry_->watches()) ids.push_back(id);
  for (const uint64_t id : ids) {
    const Watch* const watch = registry_->FindWatch(id);
    if (watch == nullptr) continue;
    const Subject subject = watch->subject;
    if (registry_->FindProcess(watch->number) == nullptr) {
      registry_->RemoveWatch(id);
    } else if (watch->ended != EndReason::kNone) {
      Tell(*watch);
    } else if (!IsHere(subject)) {
      Follow(subject);
    } else if (subject.kind == Ended::Kind::kProcess &&
               registry_->FindProcess(subject.process) == nullptr) {
      End(subject, EndReason::kEnded);
    } else if (subject.kind == Ended::Kind::kMailbox &&
               registry_->FindMailbox(subject.mailbox_id) == nullptr) {
      End(subject, EndReason::kDestroyed);
    }
  }
}

}  // namespace mailrail
