#include "core/process/watcher.h"

#include <algorithm>

#include "core/base/fork.h"

namespace mailrail::internal {

WatcherThread::WatcherThread(std::function<void()> read_notices)
    : read_notices_(std::move(read_notices)),
      fork_generation_(ForkGeneration()),
      thread_([this] { Run(); }) {}

WatcherThread::~WatcherThread() {
  if (fork_generation_ != ForkGeneration()) return;
  stop_.store(true);
  Wake();
  thread_.join();
  thread_.~thread();
}

void WatcherThread::Add(Watched* watched) {
  {
    absl::MutexLock lock(&mutex_);
    watched_.push_back(watched);
  }
  Wake();
}

void WatcherThread::Remove(Watched* watched) {
  absl::MutexLock lock(&mutex_);
  watched_.erase(std::remove(watched_.begin(), watched_.end(), watched), watched_.end());
}

void WatcherThread::Wake() {
  changes_.fetch_add(1);
  FutexWakeAll(&changes_);
}

void WatcherThread::Run() {
  while (!stop_.load()) {
    std::vector<FutexWord> words = {{&changes_, changes_.load()}};
    absl::Duration longest = kLookAgain;
    read_notices_();
    {
      absl::MutexLock lock(&mutex_);
      if (watched_.empty()) longest = absl::Hours(1);
      for (Watched* watched : watched_) {
        FutexWord word;
        if (!watched->SignalOrPark(&word, &longest)) words.push_back(word);
      }
    }
    // The words stay mapped only as long as what they belong to lives, so a removed one's address
    // may be gone by now: the kernel then refuses the wait, and we look again.
    FutexWaitAny(words, longest);
  }
}

void Watcher::Add(Watched* watched) {
  WatcherThread* thread = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    auto with_room = std::find_if(threads_.begin(), threads_.end(), [](const Thread& each) {
      return each.count < WatcherThread::kMost;
    });
    if (with_room == threads_.end()) {
      threads_.push_back({std::make_unique<WatcherThread>(read_notices_)});
      with_room = std::prev(threads_.end());
    }
    ++with_room->count;
    thread = with_room->thread.get();
  }
  watched->thread_ = thread;
  thread->Add(watched);
}

void Watcher::Remove(Watched* watched) {
  if (watched->thread_ == nullptr) return;
  watched->thread_->Remove(watched);
  absl::MutexLock lock(&mutex_);
  const auto thread = std::find_if(threads_.begin(), threads_.end(), [watched](const Thread& each) {
    return each.thread.get() == watched->thread_;
  });
  --thread->count;
  watched->thread_ = nullptr;
}

void Watcher::Wake() {
  absl::MutexLock lock(&mutex_);
  for (const Thread& each : threads_) each.thread->Wake();
}

}  // namespace mailrail::internal
