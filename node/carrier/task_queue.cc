#include "node/carrier/task_queue.h"

#include <utility>

namespace mailrail {
namespace {

// How many batches of bulk are taken before the loop goes on with what else there is.
constexpr size_t kBulkAtATime = 16;

}  // namespace

void TaskQueue::Push(Entry entry, std::deque<Entry>* queue) {
  if (closed_) return;
  session_bytes_[entry.session] += entry.bytes;
  queue->push_back(std::move(entry));
  // The lock is the barrier that the bell needs: the carrier's thread takes it after it announced
  // its park, to look again, and we read the announcements within it.
  ringer_.Ring();
}

void TaskQueue::Add(Task task) {
  absl::MutexLock lock(&mu_);
  Push({std::move(task), nullptr, 0}, &first_);
}

void TaskQueue::AddFrom(const void* session, bool urgent, size_t bytes, Task task) {
  const auto has_room = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto found = session_bytes_.find(session);
    return closed_ || found == session_bytes_.end() || found->second < kSessionBytes;
  };
  absl::MutexLock lock(&mu_);
  if (bytes > 0) mu_.Await(absl::Condition(&has_room));
  Push({std::move(task), session, bytes}, urgent ? &first_ : &bulk_);
}

bool TaskQueue::Run() {
  {
    absl::MutexLock lock(&mu_);
    if (!first_.empty()) {
      running_.assign(std::make_move_iterator(first_.begin()),
                      std::make_move_iterator(first_.end()));
      first_.clear();
    } else {
      while (!bulk_.empty() && running_.size() < kBulkAtATime) {
        running_.push_back(std::move(bulk_.front()));
        bulk_.pop_front();
      }
    }
  }
  if (running_.empty()) return false;
  for (Entry& entry : running_) entry.task();
  {
    absl::MutexLock lock(&mu_);
    for (const Entry& entry : running_) {
      const auto found = session_bytes_.find(entry.session);
      if (found == session_bytes_.end()) continue;
      found->second -= entry.bytes;
      if (found->second == 0) session_bytes_.erase(found);
    }
  }
  running_.clear();
  return true;
}

bool TaskQueue::empty() const {
  absl::MutexLock lock(&mu_);
  return first_.empty() && bulk_.empty();
}

void TaskQueue::Close() {
  std::deque<Entry> first, bulk;
  absl::MutexLock lock(&mu_);
  closed_ = true;
  first.swap(first_);
  bulk.swap(bulk_);
}

}  // namespace mailrail
