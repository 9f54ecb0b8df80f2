#ifndef MAILRAIL_CORE_PROCESS_WATCHER_H_
#define MAILRAIL_CORE_PROCESS_WATCHER_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/shm/step.h"

namespace mailrail::internal {

class ReceiverImpl;

// The one thread of a process that sleeps on the bells of all receivers whose descriptors are in
// use, and makes the descriptors readable. A wait takes at most kMaxFutexWords words; receivers
// beyond that are looked at when it returns, within kLookAgain.
//
// Thread-safe.
class Watcher {
 public:
  Watcher();
  // In a forked child, where the thread does not exist, it leaves it alone.
  ~Watcher();

  void Add(ReceiverImpl* receiver);
  // When this returns, the watcher uses `receiver` no more.
  void Remove(ReceiverImpl* receiver);
  // A receiver was emptied: watch it again.
  void Wake();

 private:
  void Run();

  SharedAtomic<uint32_t> changes_{0};
  std::atomic<bool> stop_{false};
  absl::Mutex mutex_;
  std::vector<ReceiverImpl*> receivers_ ABSL_GUARDED_BY(mutex_);
  const uint32_t fork_generation_;
  // In a union, so that it can be left alone.
  union {
    std::thread thread_;
  };
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_WATCHER_H_
