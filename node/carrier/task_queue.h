#ifndef MAILRAIL_NODE_CARRIER_TASK_QUEUE_H_
#define MAILRAIL_NODE_CARRIER_TASK_QUEUE_H_

#include <cstddef>
#include <deque>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "core/shm/bell.h"

namespace mailrail {

// What other threads leave for the carrier's thread to do: commands of the agent, and what comes
// from sessions. Commands and what urgent sessions bring are one queue, in order; what bulk
// sessions bring is another, which waits for the first.
//
// A session has a bound of bytes that wait here; its thread waits until there is room. That holds
// up the session's stream, as it should: the carrier's thread itself never waits for a session, so
// the wait ends. Thread-safe, but for Run, which is the carrier's thread's.
class TaskQueue {
 public:
  using Task = absl::AnyInvocable<void()>;

  // How many bytes of one session may wait before its next batch does.
  static constexpr size_t kSessionBytes = size_t{16} << 20;

  // `bell` and `gate`, which wake the carrier's thread, outlive it.
  TaskQueue(const BellWords* bell, GateWord* gate) : ringer_(bell, gate) {}

  // Adds a command.
  void Add(Task task);

  // Adds what `session` has brought, `bytes` large; waits for room unless that is 0.
  void AddFrom(const void* session, bool urgent, size_t bytes, Task task);

  // Runs a part of what there is; false when there is nothing.
  bool Run();

  // Whether there is nothing.
  bool empty() const;

  // Drops what is there and all that comes.
  void Close();

 private:
  struct Entry {
    Task task;
    const void* session;
    size_t bytes;
  };

  void Push(Entry entry, std::deque<Entry>* queue) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  std::deque<Entry> first_ ABSL_GUARDED_BY(mu_);
  std::deque<Entry> bulk_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const void*, size_t> session_bytes_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  Ringer ringer_ ABSL_GUARDED_BY(mu_);

  std::vector<Entry> running_;  // the carrier's thread's
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_TASK_QUEUE_H_
