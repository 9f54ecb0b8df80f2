#include "node/agent/name_resolver.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "node/directory/unknown_name.h"

namespace mailrail {

absl::Status NameResolver::CheckNode(const std::string& node) const {
  return IsHere(node) || directory_->HasNode(node) ? absl::OkStatus() : UnknownNode(node);
}

absl::StatusOr<ProcessId> NameResolver::ParseId(const std::string& text) const {
  // An id keeps the name of its node for good: strangers may not fill the memory with such.
  const size_t at = text.find('@');
  const absl::StatusOr<ProcessId> numbers = ProcessId::Parse(text.substr(0, at));
  if (!numbers.ok() || at == std::string::npos) return numbers;
  const std::string node = text.substr(at + 1);
  if (absl::Status status = CheckName("node", node); !status.ok()) return status;
  if (absl::Status status = CheckNode(node); !status.ok()) return status;
  return ProcessId(node, numbers->pid(), numbers->incarnation());
}

absl::StatusOr<QualifiedName> NameResolver::ParseName(absl::string_view what,
                                                      const std::string& text) const {
  absl::StatusOr<QualifiedName> name = ParseQualifiedName(what, text);
  if (!name.ok()) return name;
  if (absl::Status status = CheckNode(name->node); !status.ok()) return status;
  return name;
}

void NameResolver::FindId(const ProcessId& id, absl::Time deadline, ProcessCallback done) {
  if (!IsHere(id.node())) {
    return directory_->FindProcess(id.ToString(), id.node(), deadline, std::move(done));
  }
  if (const LocalProcess* process = registry_->FindProcess(id)) return done(process->id);
  done(UnknownName(NameKind::kProcess, ProcessId("", id.pid(), id.incarnation()).ToString(),
                   registry_->node()));
}

void NameResolver::FindProcess(const std::string& text, absl::Time deadline, ProcessCallback done) {
  const absl::StatusOr<ProcessId> id = ParseId(text);
  if (id.ok()) return FindId(*id, deadline, std::move(done));
  if (absl::IsNotFound(id.status())) return done(id.status());
  const absl::StatusOr<QualifiedName> name = ParseName("process", text);
  if (!name.ok()) return done(name.status());
  if (IsHere(name->node)) {
    if (const LocalProcess* process = registry_->FindName(name->name)) return done(process->id);
    if (!name->node.empty()) return done(UnknownName(NameKind::kProcess, name->name, name->node));
  }
  directory_->FindProcess(name->name, name->node, deadline, std::move(done));
}

void NameResolver::FindMailbox(const std::string& text, absl::Time deadline, MailboxCallback done) {
  const absl::StatusOr<QualifiedName> name = ParseName("mailbox", text);
  if (!name.ok()) return done(name.status());
  if (IsHere(name->node)) {
    if (LocalMailbox* mailbox = registry_->FindMailbox(name->name)) {
      return done(Mailbox{mailbox, {}, name->name});
    }
    if (!name->node.empty()) return done(UnknownName(NameKind::kMailbox, name->name, name->node));
  }
  directory_->FindMailbox(
      name->name, name->node, deadline,
      [done = std::move(done), name = name->name](absl::StatusOr<FoundMailbox> found) {
        if (!found.ok()) return done(found.status());
        done(Mailbox{nullptr, *std::move(found), name});
      });
}

void NameResolver::Find(const std::string& text, absl::Time deadline, FoundCallback done) {
  const absl::StatusOr<ProcessId> id = ParseId(text);
  if (absl::IsNotFound(id.status())) return done(id.status());
  if (id.ok()) {
    return FindId(*id, deadline, [done = std::move(done)](absl::StatusOr<ProcessId> process) {
      if (!process.ok()) return done(process.status());
      done(Found{*process, {}});
    });
  }
  // What can be a process's name can be a mailbox's too.
  const absl::StatusOr<QualifiedName> name = ParseName("mailbox", text);
  if (!name.ok()) return done(name.status());
  if (IsHere(name->node)) {
    if (const LocalProcess* process = registry_->FindName(name->name)) {
      return done(Found{process->id, {}});
    }
    if (LocalMailbox* mailbox = registry_->FindMailbox(name->name)) {
      return done(Found{absl::nullopt, {mailbox, {}, name->name}});
    }
    if (!name->node.empty()) return done(UnknownName(NameKind::kAny, name->name, name->node));
  }
  directory_->FindName(
      name->name, name->node, deadline,
      [done = std::move(done), name = name->name](absl::StatusOr<FoundName> found) {
        if (!found.ok()) return done(found.status());
        if (const auto* process = std::get_if<ProcessId>(&*found)) {
          return done(Found{*process, {}});
        }
        done(Found{absl::nullopt, {nullptr, std::get<FoundMailbox>(*std::move(found)), name}});
      });
}

}  // namespace mailrail
