#include "node/agent/awaited_ends.h"

#include <algorithm>

#include "absl/status/status.h"
#include "core/process/grants.h"

namespace mailrail {

Subject AwaitedEnds::SubjectOf(const proto::AwaitEnd& await) const {
  // The names of other nodes are not to be kept: an id keeps its for good.
  const bool is_process = await.has_process() && await.process().node() == registry_->node() &&
                          await.process().incarnation() != 0;
  if (is_process) return Subject::OfProcess(internal::FromProto(await.process()));
  if (await.has_process() || await.mailbox_id() == 0) return Subject();
  return Subject::OfMailbox(registry_->node(), await.mailbox(), await.mailbox_id());
}

bool AwaitedEnds::Lives(const Subject& subject) const {
  if (subject.kind == Ended::Kind::kProcess) {
    return registry_->FindProcess(subject.process) != nullptr;
  }
  const LocalMailbox* const mailbox = registry_->FindMailbox(subject.mailbox_id);
  return mailbox != nullptr && mailbox->name == subject.mailbox;
}

bool AwaitedEnds::Carries(const Subject& subject, const std::string& node) const {
  if (subject.kind != Ended::Kind::kProcess) return false;
  return std::any_of(registry_->links().begin(), registry_->links().end(), [&](const auto& entry) {
    const Link& link = *entry.second;
    // A process's number is its incarnation.
    return link.b.kind == Endpoint::Kind::kRemoteProcess && link.b.peer_node() == node &&
           link.a.kind == Endpoint::Kind::kProcess &&
           link.a.number == subject.process.incarnation();
  });
}

void AwaitedEnds::Say(const std::string& node, uint64_t id, EndReason reason) {
  proto::Reply reply;
  reply.set_end_reason(static_cast<uint32_t>(reason));
  answer_(node, id, reply);
}

void AwaitedEnds::Await(const std::string& node, uint64_t id, const proto::AwaitEnd& await) {
  const Subject subject = SubjectOf(await);
  if (subject.kind == Ended::Kind::kNothing) {
    proto::Reply reply;
    reply.mutable_status()->set_code(static_cast<int>(absl::StatusCode::kInvalidArgument));
    reply.mutable_status()->set_message("this node has no such process or mailbox to wait for");
    return answer_(node, id, reply);
  }
  const auto [question, is_new] = questions_.try_emplace({subject.Key(), node});
  question->second.id = id;
  question->second.subject = subject;
  if (question->second.reason != EndReason::kNone || Lives(subject)) return;
  question->second.reason =
      subject.kind == Ended::Kind::kMailbox ? EndReason::kDestroyed : EndReason::kEnded;
  ++ended_;
  Settle(question);
}

void AwaitedEnds::Forget(const std::string& node, uint64_t id, const proto::AwaitEnd& await) {
  const auto question = questions_.find({SubjectOf(await).Key(), node});
  if (question != questions_.end()) {
    Say(node, question->second.id, EndReason::kNone);
    ended_ -= question->second.reason != EndReason::kNone;
    questions_.erase(question);
  }
  Say(node, id, EndReason::kNone);
}

AwaitedEnds::Questions::iterator AwaitedEnds::Settle(Questions::iterator question) {
  const auto& [name, asked] = *question;
  if (asked.reason == EndReason::kNone || Carries(asked.subject, name.second)) {
    return std::next(question);
  }
  Say(name.second, asked.id, asked.reason);
  --ended_;
  return questions_.erase(question);
}

void AwaitedEnds::End(const Subject& subject, EndReason reason) {
  const std::string key = subject.Key();
  auto question = questions_.lower_bound({key, ""});
  while (question != questions_.end() && question->first.first == key) {
    ended_ += question->second.reason == EndReason::kNone;
    question->second.reason = reason;
    question = Settle(question);
  }
}

void AwaitedEnds::OnProcessGone(const LocalProcess& process, EndReason reason) {
  End(Subject::OfProcess(process.id), reason);
}

void AwaitedEnds::OnMailboxDestroyed(const LocalMailbox& mailbox) {
  End(Subject::OfMailbox(registry_->node(), mailbox.name, mailbox.id), EndReason::kDestroyed);
}

void AwaitedEnds::OnLinkEnded() {
  if (ended_ == 0) return;
  for (auto question = questions_.begin(); question != questions_.end();) {
    question = Settle(question);
  }
}

void AwaitedEnds::OnNodeAnew(const std::string& node) {
  for (auto question = questions_.begin(); question != questions_.end();) {
    if (question->first.second != node) {
      ++question;
      continue;
    }
    ended_ -= question->second.reason != EndReason::kNone;
    question = questions_.erase(question);
  }
}

}  // namespace mailrail
