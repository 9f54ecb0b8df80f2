#include "node/cli/nested_locks.h"

#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/process/grants.h"
#include "node/cli/object_rows.h"

namespace mailrail::cli {
namespace {

std::vector<std::string> Words(absl::string_view text) {
  return absl::StrSplit(text, ' ', absl::SkipEmpty());
}

bool IsAtOrUnder(const LockWait& wait, const std::string& process) {
  return wait.who.ToString() == process ||
         std::find(wait.above.begin(), wait.above.end(), process) != wait.above.end();
}

bool IsYounger(const ProcessId& a, const ProcessId& b) {
  return std::pair(a.incarnation(), a.pid()) > std::pair(b.incarnation(), b.pid());
}

// Follows who waits for whom from `waits[0]` on.
class Search {
 public:
  Search(std::vector<LockWait> waits, const control::Listing& objects)
      : waits_(std::move(waits)), objects_(objects), seen_(waits_.size()) {}

  // The first wait's cycle, in steps of (wait, who holds what it waits for); empty: it is in none.
  std::vector<std::pair<const LockWait*, std::string>> Find() {
    if (!Follow(0)) path_.clear();
    return path_;
  }

 private:
  bool Follow(size_t index) {
    seen_[index] = true;
    const LockWait& wait = waits_[index];
    for (const std::string& holder : HoldersOf(wait)) {
      path_.emplace_back(&wait, holder);
      if (IsAtOrUnder(waits_[0], holder)) return true;
      for (size_t next = 0; next < waits_.size(); ++next) {
        if (!seen_[next] && IsAtOrUnder(waits_[next], holder) && Follow(next)) return true;
      }
      path_.pop_back();
    }
    return false;
  }

  std::vector<std::string> HoldersOf(const LockWait& wait) const {
    std::vector<std::string> holders;
    for (const control::ObjectRow& row : objects_.objects()) {
      if (row.spec().kind() != wait.kind || row.name() != wait.name) continue;
      for (const control::ObjectHolder& holder : row.holders()) {
        const ProcessId id = internal::FromProto(holder.thread().process());
        if ((wait.shared && holder.shared()) || id == wait.who) continue;
        holders.push_back(id.ToString());
      }
    }
    return holders;
  }

  const std::vector<LockWait> waits_;
  const control::Listing& objects_;
  std::vector<bool> seen_;
  std::vector<std::pair<const LockWait*, std::string>> path_;
};

}  // namespace

std::vector<std::string> LockRunsAbove() {
  const char* const text = getenv(kLockRunsVariable);
  return text == nullptr ? std::vector<std::string>() : Words(text);
}

std::vector<std::string> LockRunsAbove(int pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/environ"), std::ios::binary);
  const std::string environment{std::istreambuf_iterator<char>(file), {}};
  for (absl::string_view variable : absl::StrSplit(environment, '\0')) {
    if (absl::ConsumePrefix(&variable, absl::StrCat(kLockRunsVariable, "="))) {
      return Words(variable);
    }
  }
  return {};
}

absl::Status CheckNested(
    const LockWait& wait, const control::Listing& objects,
    absl::FunctionRef<std::vector<std::string>(const ProcessId& process)> above) {
  std::vector<LockWait> waits = {wait};
  for (const control::ObjectRow& row : objects.objects()) {
    if (row.spec().kind() != proto::MUTEX && row.spec().kind() != proto::SHARED_MUTEX) continue;
    for (const control::ObjectHolder& waiter : row.waiters()) {
      const ProcessId who = internal::FromProto(waiter.thread().process());
      if (who == wait.who) continue;
      waits.push_back({who, above(who), row.spec().kind(), row.name(), waiter.shared()});
    }
  }
  Search search(std::move(waits), objects);
  std::string words;
  for (const auto& [step, holder] : search.Find()) {
    // One of them is to give up, and one that is not under a lock run does not look.
    if (!step->above.empty() && IsYounger(step->who, wait.who)) return absl::OkStatus();
    absl::StrAppend(&words, words.empty() ? "this wait would never end: " : "; ",
                    step->who.ToString());
    if (!step->above.empty()) absl::StrAppend(&words, ", run by ", step->above.back(), ",");
    absl::StrAppend(&words, " waits for ", NameOf(step->kind), " '", step->name, "', which ",
                    holder, " holds");
  }
  return words.empty() ? absl::OkStatus() : absl::FailedPreconditionError(words);
}

}  // namespace mailrail::cli
