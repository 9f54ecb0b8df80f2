#include "node/directory/embedded_directory.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "core/process/grants.h"

namespace mailrail {
namespace {

FoundMailbox MailboxOf(const std::string& node, const proto::Reply& reply) {
  return {node, reply.mailbox_id(), internal::FromProto(reply.spec())};
}

bool Contains(const std::vector<std::string>& nodes, absl::string_view node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

}  // namespace

absl::Status EmbeddedDirectory::Question::Unknown() const {
  return object == proto::NO_OBJECT ? UnknownName(kind, name) : UnknownObject(object, name);
}

absl::Status EmbeddedDirectory::Question::Unanswered(const std::vector<std::string>& silent) const {
  return object == proto::NO_OBJECT ? UnansweredName(kind, name, silent)
                                    : UnansweredObject(object, name, silent);
}

// One question that several nodes were asked.
struct EmbeddedDirectory::Poll {
  Question question;
  AnswerCallback done;
  size_t waiting = 0;
  bool answered = false;
  std::vector<std::string> silent;

  void Take(const std::string& node, absl::StatusOr<proto::Reply> reply) {
    --waiting;
    if (answered) return;
    if (reply.ok()) {
      answered = true;
      return done(node, std::move(reply));
    }
    // Of those that were connected, one that is gone meanwhile is as if it had not been asked.
    const bool down = question.only_connected && absl::IsUnavailable(reply.status());
    if (!absl::IsNotFound(reply.status()) && !down) silent.push_back(node);
    if (waiting > 0) return;
    answered = true;
    done("", silent.empty() ? question.Unknown() : question.Unanswered(silent));
  }
};

void EmbeddedDirectory::Ask(const Question& question, AnswerCallback done) {
  if (!question.node.empty()) {
    peers_->Call(question.node, question.request, question.deadline,
                 [node = question.node, done](absl::StatusOr<proto::Reply> reply) {
                   done(node, std::move(reply));
                 });
    return;
  }
  const std::vector<std::string> connected = peers_->ConnectedPeers();
  const std::vector<std::string> nodes = question.only_connected ? connected : peers_->Peers();
  if (nodes.empty()) return done("", question.Unknown());
  const auto poll = std::make_shared<Poll>();
  poll->question = question;
  poll->done = std::move(done);
  poll->waiting = nodes.size();
  const absl::Time soon = std::min(question.deadline, absl::Now() + kUnconnectedWait);
  for (const std::string& node : nodes) {
    peers_->Call(
        node, question.request, Contains(connected, node) ? question.deadline : soon,
        [poll, node](absl::StatusOr<proto::Reply> reply) { poll->Take(node, std::move(reply)); });
  }
}

bool EmbeddedDirectory::HasNode(absl::string_view node) const {
  return Contains(peers_->Peers(), node);
}

void EmbeddedDirectory::FindMailbox(const std::string& name, const std::string& node,
                                    absl::Time deadline, MailboxCallback done) {
  Question question{NameKind::kMailbox, name, node, deadline, {}};
  question.request.set_find_mailbox(name);
  Ask(question,
      [done = std::move(done)](const std::string& at, absl::StatusOr<proto::Reply> reply) {
        if (!reply.ok()) return done(reply.status());
        done(MailboxOf(at, *reply));
      });
}

void EmbeddedDirectory::FindObject(proto::ObjectKind kind, const std::string& name,
                                   const std::string& node, bool only_connected,
                                   absl::Time deadline, ObjectCallback done) {
  Question question{NameKind::kAny, name, node, deadline, {}, only_connected, kind};
  question.request.mutable_find_object()->set_kind(kind);
  question.request.mutable_find_object()->set_name(name);
  Ask(question,
      [done = std::move(done)](const std::string& at, absl::StatusOr<proto::Reply> reply) {
        if (!reply.ok()) return done(reply.status());
        done(FoundObject{at, reply->object().object_id()});
      });
}

void EmbeddedDirectory::FindRegion(proto::RegionSpec::Kind kind, const std::string& name,
                                   const std::string& node, absl::Time deadline,
                                   RegionCallback done) {
  Question question{NameKind::kRegion, name, node, deadline, {}};
  question.request.mutable_find_region()->set_kind(kind);
  question.request.mutable_find_region()->set_name(name);
  Ask(question,
      [done = std::move(done)](const std::string& at, absl::StatusOr<proto::Reply> reply) {
        if (!reply.ok()) return done(reply.status());
        done(FoundRegion{at, reply->region().stamp(), reply->region().spec()});
      });
}

void EmbeddedDirectory::CheckMailbox(const std::string& name, absl::Time deadline,
                                     MailboxCallback done) {
  Question question{NameKind::kMailbox, name, "", deadline, {}, /*only_connected=*/true};
  question.request.set_find_mailbox(name);
  Ask(question,
      [done = std::move(done)](const std::string& at, absl::StatusOr<proto::Reply> reply) {
        if (!reply.ok()) return done(reply.status());
        done(MailboxOf(at, *reply));
      });
}

void EmbeddedDirectory::FindProcess(const std::string& name, const std::string& node,
                                    absl::Time deadline, ProcessCallback done) {
  Question question{NameKind::kProcess, name, node, deadline, {}};
  question.request.set_resolve_process(name);
  Ask(question, [done = std::move(done)](const std::string&, absl::StatusOr<proto::Reply> reply) {
    if (!reply.ok()) return done(reply.status());
    done(internal::FromProto(reply->process()));
  });
}

void EmbeddedDirectory::FindName(const std::string& name, const std::string& node,
                                 absl::Time deadline, NameCallback done) {
  Question question{NameKind::kAny, name, node, deadline, {}};
  question.request.set_find_name(name);
  Ask(question,
      [done = std::move(done)](const std::string& at, absl::StatusOr<proto::Reply> reply) {
        if (!reply.ok()) return done(reply.status());
        if (reply->has_process()) return done(internal::FromProto(reply->process()));
        done(MailboxOf(at, *reply));
      });
}

}  // namespace mailrail
