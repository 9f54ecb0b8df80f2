#ifndef MAILRAIL_NODE_AGENT_OWNER_NAMES_H_
#define MAILRAIL_NODE_AGENT_OWNER_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <deque>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "mailrail/process_id.h"

namespace mailrail {

// Which process has a number that marks messages as received, or had it lately: for receipts.
// Those that ended before the agent was started are not known. Thread-safe.
class OwnerNames {
 public:
  void Add(uint32_t number, const ProcessId& process) {
    absl::MutexLock lock(&mutex_);
    names_[number] = process;
  }

  // It claims no more; its name is remembered among the last kMostFormer.
  void Remove(uint32_t number) {
    absl::MutexLock lock(&mutex_);
    former_.push_back(number);
    if (former_.size() <= kMostFormer) return;
    names_.erase(former_.front());
    former_.pop_front();
  }

  // Its pid is 0 when nobody is known that has or had the number.
  ProcessId NameOf(uint32_t number) const {
    absl::MutexLock lock(&mutex_);
    const auto name = names_.find(number);
    return name == names_.end() ? ProcessId() : name->second;
  }

 private:
  static constexpr size_t kMostFormer = 10000;

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<uint32_t, ProcessId> names_ ABSL_GUARDED_BY(mutex_);
  std::deque<uint32_t> former_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_OWNER_NAMES_H_
