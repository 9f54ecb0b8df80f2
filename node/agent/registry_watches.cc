// The registry's watches: who is to be told of what's end.
#include <utility>

#include "absl/strings/str_cat.h"
#include "mailrail/limits.h"
#include "node/agent/registry.h"
#include "node/agent/registry_codec.h"

namespace mailrail {
namespace {

std::string KeyOf(const Watch& watch) { return absl::StrCat("watch/", watch.id); }

}  // namespace

Subject Subject::OfProcess(const ProcessId& id) {
  Subject subject;
  subject.kind = Ended::Kind::kProcess;
  subject.process = id;
  subject.node = id.node();
  return subject;
}

Subject Subject::OfMailbox(const std::string& node, const std::string& name, uint64_t id) {
  Subject subject;
  subject.kind = Ended::Kind::kMailbox;
  subject.node = node;
  subject.mailbox = name;
  subject.mailbox_id = id;
  return subject;
}

Subject Subject::OfNode(const std::string& node) {
  Subject subject;
  subject.kind = Ended::Kind::kNode;
  subject.node = node;
  return subject;
}

std::string Subject::Key() const {
  switch (kind) {
    case Ended::Kind::kProcess:
      return absl::StrCat("p", process.ToString());
    case Ended::Kind::kMailbox:
      return absl::StrCat("m", mailbox_id, "@", node);
    case Ended::Kind::kNode:
      return absl::StrCat("n", node);
    case Ended::Kind::kNothing:
      break;
  }
  return "";
}

std::string Subject::Name() const {
  switch (kind) {
    case Ended::Kind::kProcess:
      return process.ToString();
    case Ended::Kind::kMailbox:
      return absl::StrCat(mailbox, "@", node);
    case Ended::Kind::kNode:
    case Ended::Kind::kNothing:
      break;
  }
  return node;
}

void Registry::IndexWatch(const Watch& watch) {
  watches_of_process_[watch.number][watch.watch] = watch.id;
  watches_of_subject_[watch.subject.Key()].insert(watch.id);
}

absl::StatusOr<Watch*> Registry::AddWatch(const LocalProcess& process, uint64_t watch,
                                          const Subject& subject) {
  if (CountWatches(process.number) >= kMaxWatches) {
    return absl::ResourceExhaustedError(absl::StrCat("process ", process.id.ToString(), " watches ",
                                                     kMaxWatches, " others already"));
  }
  if (FindWatch(process.number, watch) != nullptr) {
    return absl::AlreadyExistsError(absl::StrCat("this process has a watch ", watch));
  }
  auto added = std::make_unique<Watch>();
  added->id = NewId();
  added->number = process.number;
  added->watch = watch;
  added->subject = subject;
  if (absl::Status status = vault_->Put(KeyOf(*added), Encode(*added), {}); !status.ok()) {
    return status;
  }
  IndexWatch(*added);
  Watch* const kept = added.get();
  watches_[kept->id] = std::move(added);
  return kept;
}

void Registry::SaveWatch(const Watch& watch) { Save(KeyOf(watch), Encode(watch)).IgnoreError(); }

void Registry::RemoveWatch(uint64_t id) {
  const auto it = watches_.find(id);
  if (it == watches_.end()) return;
  const Watch& watch = *it->second;
  vault_->Drop(KeyOf(watch));
  const auto of_process = watches_of_process_.find(watch.number);
  of_process->second.erase(watch.watch);
  if (of_process->second.empty()) watches_of_process_.erase(of_process);
  const auto of_subject = watches_of_subject_.find(watch.subject.Key());
  of_subject->second.erase(id);
  if (of_subject->second.empty()) watches_of_subject_.erase(of_subject);
  watches_.erase(it);
}

Watch* Registry::FindWatch(uint64_t id) {
  const auto it = watches_.find(id);
  return it == watches_.end() ? nullptr : it->second.get();
}

Watch* Registry::FindWatch(uint32_t number, uint64_t watch) {
  const auto of_process = watches_of_process_.find(number);
  if (of_process == watches_of_process_.end()) return nullptr;
  const auto found = of_process->second.find(watch);
  return found == of_process->second.end() ? nullptr : FindWatch(found->second);
}

size_t Registry::CountWatches(uint32_t number) const {
  const auto of_process = watches_of_process_.find(number);
  return of_process == watches_of_process_.end() ? 0 : of_process->second.size();
}

std::vector<uint64_t> Registry::WatchesOf(uint32_t number) const {
  std::vector<uint64_t> ids;
  const auto of_process = watches_of_process_.find(number);
  if (of_process == watches_of_process_.end()) return ids;
  for (const auto& [watch, id] : of_process->second) ids.push_back(id);
  return ids;
}

std::vector<uint64_t> Registry::WatchesOf(const Subject& subject) const {
  const auto of_subject = watches_of_subject_.find(subject.Key());
  if (of_subject == watches_of_subject_.end()) return {};
  return std::vector<uint64_t>(of_subject->second.begin(), of_subject->second.end());
}

absl::Status Registry::RestoreWatch(const state::Watch& value) {
  auto watch = std::make_unique<Watch>();
  Decode(value, watch.get());
  if (watch->subject.kind == Ended::Kind::kNothing ||
      FindWatch(watch->number, watch->watch) != nullptr) {
    return absl::DataLossError("a kept watch is of nothing, or kept twice");
  }
  IndexWatch(*watch);
  watches_[watch->id] = std::move(watch);
  return absl::OkStatus();
}

void Registry::SaveWatches() {
  for (const auto& [id, watch] : watches_) {
    vault_->Put(KeyOf(*watch), Encode(*watch), {}).IgnoreError();
  }
}

}  // namespace mailrail
