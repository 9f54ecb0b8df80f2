#ifndef MAILRAIL_NODE_AGENT_LOOP_H_
#define MAILRAIL_NODE_AGENT_LOOP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/fd.h"

namespace mailrail {

// The agent's thread: waits for descriptors, times and calls from other threads, and runs what
// belongs to them, one thing at a time. So all of the agent's state needs no lock.
//
// One thread at a time, that of Run, but for Post and Stop, which are thread-safe.
class Loop {
 public:
  Loop();

  using Handler = std::function<void(uint32_t events)>;
  // Calls `handler` when `fd` has one of the epoll `events` (EPOLLHUP and EPOLLERR always).
  // Watching it again replaces both.
  void Watch(int fd, uint32_t events, Handler handler);
  void Unwatch(int fd);

  // Runs `call` in the loop, soon.
  void Post(std::function<void()> call) ABSL_LOCKS_EXCLUDED(mutex_);

  using TimerId = uint64_t;
  TimerId RunAt(absl::Time time, std::function<void()> call);
  TimerId RunAfter(absl::Duration delay, std::function<void()> call) {
    return RunAt(absl::Now() + delay, std::move(call));
  }
  // Nothing happens when it ran already.
  void Cancel(TimerId timer);

  // Until Stop.
  void Run();
  void Stop();
  // One turn of Run, with what there is to do now: for who has no thread to give.
  void RunOnce() { Turn(/*wait_ms=*/0); }

 private:
  void Turn(int wait_ms);
  void RunPosted();
  void RunDue();

  Fd epoll_;
  Fd wake_;
  bool stopped_ = false;
  // The number tells a handler from one that was put in its place in the same turn.
  struct Watched {
    uint64_t number;
    std::shared_ptr<Handler> handler;
  };
  uint64_t last_number_ = 0;
  absl::flat_hash_map<int, Watched> watched_;
  uint64_t last_timer_ = 0;
  std::map<std::pair<absl::Time, TimerId>, std::function<void()>> timers_;
  absl::flat_hash_map<TimerId, absl::Time> timer_times_;
  absl::Mutex mutex_;
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_LOOP_H_
