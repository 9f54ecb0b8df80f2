#include "node/agent/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace mailrail {

Loop::Loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  Watch(wake_.get(), EPOLLIN, [this](uint32_t) {
    uint64_t count;
    (void)!read(wake_.get(), &count, sizeof(count));
  });
}

void Loop::Watch(int fd, uint32_t events, Handler handler) {
  const bool known = watched_.contains(fd);
  watched_[fd] = {++last_number_, std::make_shared<Handler>(std::move(handler))};
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
}

void Loop::Unwatch(int fd) {
  if (watched_.erase(fd) > 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Loop::Post(std::function<void()> call) {
  {
    absl::MutexLock lock(&mutex_);
    posted_.push_back(std::move(call));
  }
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));
}

Loop::TimerId Loop::RunAt(absl::Time time, std::function<void()> call) {
  const TimerId id = ++last_timer_;
  timers_[{time, id}] = std::move(call);
  timer_times_[id] = time;
  return id;
}

void Loop::Cancel(TimerId timer) {
  const auto time = timer_times_.find(timer);
  if (time == timer_times_.end()) return;
  timers_.erase({time->second, timer});
  timer_times_.erase(time);
}

void Loop::Stop() {
  Post([this] { stopped_ = true; });
}

void Loop::RunPosted() {
  std::vector<std::function<void()>> posted;
  {
    absl::MutexLock lock(&mutex_);
    posted.swap(posted_);
  }
  for (const std::function<void()>& call : posted) call();
}

void Loop::RunDue() {
  while (!timers_.empty() && timers_.begin()->first.first <= absl::Now()) {
    const auto first = timers_.begin();
    timer_times_.erase(first->first.second);
    const std::function<void()> call = std::move(first->second);
    timers_.erase(first);
    call();
  }
}

void Loop::Turn(int wait_ms) {
  epoll_event events[64];
  const int count = epoll_wait(epoll_.get(), events, 64, wait_ms);
  const uint64_t before = last_number_;
  for (int i = 0; i < count; ++i) {
    // What an earlier handler of this turn has unwatched, or replaced, is not called.
    const auto it = watched_.find(events[i].data.fd);
    if (it == watched_.end() || it->second.number > before) continue;
    const std::shared_ptr<Handler> handler = it->second.handler;
    (*handler)(events[i].events);
  }
  RunPosted();
  RunDue();
}

void Loop::Run() {
  while (!stopped_) {
    int64_t wait_ms = -1;
    if (!timers_.empty()) {
      const absl::Duration left = timers_.begin()->first.first - absl::Now();
      wait_ms =
          std::clamp<int64_t>(absl::ToInt64Milliseconds(left + absl::Microseconds(999)), 0, 60000);
    }
    Turn(static_cast<int>(wait_ms));
  }
}

}  // namespace mailrail
