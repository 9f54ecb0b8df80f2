#include "node/directory/unknown_name.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mailrail {
namespace {

const char* WhatIsMissing(NameKind kind) {
  if (kind == NameKind::kProcess) return "no process";
  if (kind == NameKind::kRegion) return "no such region or value";
  return kind == NameKind::kMailbox ? "no mailbox" : "neither a process nor a mailbox";
}

const char* WhereToLook(NameKind kind) {
  if (kind == NameKind::kProcess) return "mailrail ps";
  if (kind == NameKind::kRegion) return "mailrail region ls";
  return kind == NameKind::kMailbox ? "mailrail mailbox ls" : "mailrail ps and mailrail mailbox ls";
}

}  // namespace

absl::Status UnknownName(NameKind kind, absl::string_view name, absl::string_view node) {
  return absl::NotFoundError(absl::StrCat("there is ", WhatIsMissing(kind), " '", name, "'",
                                          node.empty() ? "" : absl::StrCat(" on node ", node),
                                          "; see ", WhereToLook(kind),
                                          node.empty() ? "" : " there"));
}

absl::Status UnansweredName(NameKind kind, absl::string_view name,
                            const std::vector<std::string>& silent_nodes) {
  return absl::UnavailableError(absl::StrCat(
      "there is ", WhatIsMissing(kind), " '", name, "' on the nodes that answer; no answer from ",
      absl::StrJoin(silent_nodes, ", "), "; see mailrail nodes"));
}

absl::Status UnknownNode(absl::string_view node) {
  return absl::NotFoundError(
      absl::StrCat("there is no node '", node, "' in this cluster; see mailrail nodes"));
}

absl::string_view KindName(proto::ObjectKind kind) {
  switch (kind) {
    case proto::MUTEX:
      return "mutex";
    case proto::SHARED_MUTEX:
      return "shared mutex";
    case proto::SEMAPHORE:
      return "semaphore";
    case proto::CONDITION:
      return "condition";
    case proto::BARRIER:
      return "barrier";
    default:
      return "object";
  }
}

absl::Status UnknownObject(proto::ObjectKind kind, absl::string_view name, absl::string_view node) {
  return absl::NotFoundError(absl::StrCat("there is no ", KindName(kind), " '", name, "'",
                                          node.empty() ? "" : absl::StrCat(" on node ", node),
                                          "; see mailrail locks", node.empty() ? "" : " there"));
}

absl::Status UnansweredObject(proto::ObjectKind kind, absl::string_view name,
                              const std::vector<std::string>& silent_nodes) {
  return absl::UnavailableError(absl::StrCat(
      "there is no ", KindName(kind), " '", name, "' on the nodes that answer; no answer from ",
      absl::StrJoin(silent_nodes, ", "), "; see mailrail nodes"));
}

absl::Status MailboxExists(absl::string_view name, absl::string_view node) {
  return absl::AlreadyExistsError(absl::StrCat("mailbox '", name, "' exists already on node ", node,
                                               "; see mailrail mailbox ls there"));
}

}  // namespace mailrail
