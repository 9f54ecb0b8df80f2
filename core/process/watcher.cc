#include "core/process/watcher.h"

#include <algorithm>

#include "core/base/fork.h"
#include "core/process/receiver_impl.h"
#include "core/shm/futex.h"

namespace mailrail::internal {

Watcher::Watcher() : fork_generation_(ForkGeneration()), thread_([this] { Run(); }) {}

Watcher::~Watcher() {
  if (fork_generation_ != ForkGeneration()) return;
  stop_.store(true);
  Wake();
  thread_.join();
  thread_.~thread();
}

void Watcher::Add(ReceiverImpl* receiver) {
  {
    absl::MutexLock lock(&mutex_);
    receivers_.push_back(receiver);
  }
  Wake();
}

void Watcher::Remove(ReceiverImpl* receiver) {
  absl::MutexLock lock(&mutex_);
  receivers_.erase(std::remove(receivers_.begin(), receivers_.end(), receiver), receivers_.end());
}

void Watcher::Wake() {
  changes_.fetch_add(1);
  FutexWakeAll(&changes_);
}

void Watcher::Run() {
  while (!stop_.load()) {
    std::vector<FutexWord> words = {{&changes_, changes_.load()}};
    {
      absl::MutexLock lock(&mutex_);
      for (ReceiverImpl* receiver : receivers_) {
        FutexWord word;
        if (!receiver->SignalOrPark(&word)) words.push_back(word);
      }
    }
    // The words stay mapped only as long as their receivers live, so a removed one's address may
    // be gone by now: the kernel then refuses the wait, and we look again.
    FutexWaitAny(words, kLookAgain);
  }
}

}  // namespace mailrail::internal
