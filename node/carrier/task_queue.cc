#include "node/carrier/task_queue.h"

#include <utility>

namespace mailrail {
namespace {

// How many batches of bulk are taken before the loop goes on with what else there is.
constexpr size_t kBulkAtATime = 16;

}  // namespace

bool TaskQueue::TakeRing() {
  // The lock is the barrier that the bell needs: the carrier's thread takes it after it announced
  // its park, to look again, and we read the announcements within it.
  const uint64_t parks = bell_->parks.load();
  if (parks == last_rung_ || bell_->awake.load() == parks) return false;
  last_rung_ = parks;
  return true;
}

void TaskQueue::Add(Task task) {
  bool ring = false;
  {
    absl::MutexLock lock(&mu_);
    if (closed_) return;
    first_.push_back({std::move(task), nullptr, 0});
    ring = TakeRing();
  }
  if (ring) RingGate(gate_);
}

bool TaskQueue::AddFrom(const std::shared_ptr<Session>& session, size_t bytes, Task task) {
  const bool urgent = session->session_class() == proto::URGENT;
  absl::MutexLock lock(&mu_);
  if (closed_) return true;
  (urgent ? first_ : bulk_).push_back({std::move(task), session.get(), bytes});
  if (bytes == 0) return true;
  Waiting& waiting = waiting_[session.get()];
  waiting.bytes += bytes;
  if (waiting.bytes < kSessionBytes) return true;
  waiting.held_up = session;
  return false;
}

void TaskQueue::Ring() {
  bool ring = false;
  {
    absl::MutexLock lock(&mu_);
    ring = TakeRing();
  }
  if (ring) RingGate(gate_);
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
      const auto found = waiting_.find(entry.session);
      if (entry.bytes == 0 || found == waiting_.end()) continue;
      Waiting& waiting = found->second;
      waiting.bytes -= entry.bytes;
      if (waiting.held_up != nullptr && waiting.bytes < kSessionBytes) {
        reading_on_.push_back(std::exchange(waiting.held_up, nullptr));
      }
      if (waiting.bytes == 0) waiting_.erase(found);
    }
  }
  for (const auto& session : reading_on_) session->ReadOn();
  reading_on_.clear();
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
