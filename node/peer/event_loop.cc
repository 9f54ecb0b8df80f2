#include "node/peer/event_loop.h"

#include <utility>

#include "absl/time/clock.h"

namespace mailrail {

void EventLoop::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    changed_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

void EventLoop::Start() { thread_ = std::thread(&EventLoop::Run, this); }

void EventLoop::Post(Task task) {
  absl::MutexLock lock(&mu_);
  tasks_.push_back(std::move(task));
  changed_.Signal();
}

void EventLoop::PostAt(absl::Time when, Task task) {
  absl::MutexLock lock(&mu_);
  timers_.emplace(when, std::move(task));
  changed_.Signal();
}

void EventLoop::Run() {
  while (Task task = Next()) std::move(task)();
}

EventLoop::Task EventLoop::Next() {
  absl::MutexLock lock(&mu_);
  for (;;) {
    // Timers are looked at first, so that a flood of tasks does not hold them up.
    if (!timers_.empty() && timers_.begin()->first <= absl::Now()) {
      Task task = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      return task;
    }
    if (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      return task;
    }
    if (stopping_) return nullptr;
    if (timers_.empty()) {
      changed_.Wait(&mu_);
    } else {
      changed_.WaitWithDeadline(&mu_, timers_.begin()->first);
    }
  }
}

}  // namespace mailrail
