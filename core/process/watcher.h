#ifndef MAILRAIL_CORE_PROCESS_WATCHER_H_
#define MAILRAIL_CORE_PROCESS_WATCHER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/shm/futex.h"
#include "core/shm/step.h"

namespace mailrail::internal {

class WatcherThread;

// What the watcher's threads look at: it tells somebody when it is ready. Thread-safe.
class Watched {
 public:
  virtual ~Watched() = default;
  // If it is ready, tells so (unless it has), and returns true: it need not be looked at until
  // Watcher::Wake. Else announces a sleep, and returns false and the word to sleep on; `*longest`
  // is lowered to how long that may be at most.
  virtual bool SignalOrPark(FutexWord* word, absl::Duration* longest) = 0;

 private:
  friend class Watcher;
  WatcherThread* thread_ = nullptr;
};

// One thread that sleeps for up to kMost things at once. Thread-safe.
class WatcherThread {
 public:
  // One word is its own.
  static constexpr size_t kMost = kMaxFutexWords - 1;

  // `read_notices` is called before each look.
  explicit WatcherThread(std::function<void()> read_notices);
  // In a forked child, where the thread does not exist, it leaves it alone.
  ~WatcherThread();

  void Add(Watched* watched);
  void Remove(Watched* watched);
  void Wake();

 private:
  void Run();

  const std::function<void()> read_notices_;
  SharedAtomic<uint32_t> changes_{0};
  std::atomic<bool> stop_{false};
  absl::Mutex mutex_;
  std::vector<Watched*> watched_ ABSL_GUARDED_BY(mutex_);
  const uint32_t fork_generation_;
  // In a union, so that it can be left alone.
  union {
    std::thread thread_;
  };
};

// The threads of a process that sleep where nobody else does: on the bells of all receivers whose
// descriptors are in use, and for wait sets. There are as many as the words they sleep on need.
// Thread-safe.
class Watcher {
 public:
  explicit Watcher(std::function<void()> read_notices) : read_notices_(std::move(read_notices)) {}

  // One that calls this may hold no lock that its SignalOrPark takes.
  void Add(Watched* watched);
  // The same. When this returns, `watched` is used no more.
  void Remove(Watched* watched);
  // One that was ready is so no more: looks at all again.
  void Wake();

 private:
  struct Thread {
    std::unique_ptr<WatcherThread> thread;
    size_t count = 0;
  };

  const std::function<void()> read_notices_;
  absl::Mutex mutex_;  // nothing is called under it that takes another
  std::vector<Thread> threads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_WATCHER_H_
