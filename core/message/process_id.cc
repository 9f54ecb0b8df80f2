#include "mailrail/process_id.h"

#include "absl/base/thread_annotations.h"
#include "absl/container/node_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/name.h"

namespace mailrail {
namespace {

const std::string* Intern(absl::string_view node) {
  static absl::Mutex* const mutex = new absl::Mutex;
  static auto* const names = new absl::node_hash_set<std::string>;
  absl::MutexLock lock(mutex);
  return &*names->emplace(node).first;
}

}  // namespace

const std::string& ProcessId::NoNode() {
  static const std::string* const none = new std::string;
  return *none;
}

ProcessId::ProcessId(absl::string_view node, int32_t pid, uint64_t incarnation)
    : node_(node.empty() ? nullptr : Intern(node)), pid_(pid), incarnation_(incarnation) {}

absl::StatusOr<ProcessId> ProcessId::Parse(absl::string_view text) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text.substr(0, 80), "' is no process id, such as 4711.3@alpha"));
  };
  const size_t at = text.find('@');
  absl::string_view node;
  if (at != absl::string_view::npos) {
    node = text.substr(at + 1);
    if (!CheckName("node", node).ok()) return bad();
  }
  const absl::string_view numbers = text.substr(0, at);
  const size_t dot = numbers.find('.');
  const absl::string_view pid_text = numbers.substr(0, dot);
  int32_t pid;
  uint64_t incarnation = 0;
  // SimpleAtoi takes signs and spaces too; an id has neither.
  const auto digits = [](absl::string_view part) {
    return !part.empty() && part.find_first_not_of("0123456789") == absl::string_view::npos;
  };
  if (!digits(pid_text) || !absl::SimpleAtoi(pid_text, &pid) || pid == 0) return bad();
  if (dot != absl::string_view::npos) {
    const absl::string_view rest = numbers.substr(dot + 1);
    if (!digits(rest) || !absl::SimpleAtoi(rest, &incarnation) || incarnation == 0) return bad();
  }
  return ProcessId(node, pid, incarnation);
}

std::string ProcessId::ToString() const {
  std::string text = absl::StrCat(pid_);
  if (incarnation_ != 0) absl::StrAppend(&text, ".", incarnation_);
  if (!node().empty()) absl::StrAppend(&text, "@", node());
  return text;
}

}  // namespace mailrail
