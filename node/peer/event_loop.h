#ifndef MAILRAIL_NODE_PEER_EVENT_LOOP_H_
#define MAILRAIL_NODE_PEER_EVENT_LOOP_H_

#include <deque>
#include <map>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace mailrail {

// A thread that runs tasks one after another. Thread-safe, but for Start() and Stop().
class EventLoop {
 public:
  using Task = absl::AnyInvocable<void()>;

  EventLoop() = default;
  ~EventLoop() { Stop(); }

  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Starts the thread; until then tasks gather.
  void Start();

  // Runs what is due and ends the thread; tasks that come later are not run. Not in a task.
  void Stop();

  // Runs `task` after those posted before.
  void Post(Task task);

  // Runs `task` at `when` or soon after.
  void PostAt(absl::Time when, Task task);

 private:
  void Run();
  // The next task that is due, waiting for it; null at the end.
  Task Next();

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mu_);
  std::multimap<absl::Time, Task> timers_ ABSL_GUARDED_BY(mu_);
  absl::CondVar changed_;
  std::thread thread_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_EVENT_LOOP_H_
