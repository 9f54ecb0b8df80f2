#ifndef MAILRAIL_NODE_CARRIER_TASK_QUEUE_H_
#define MAILRAIL_NODE_CARRIER_TASK_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "core/shm/bell.h"
#include "node/peer/session.h"

namespace mailrail {

// What is left for whoever takes the carrier's next turn: commands of the agent, and what comes
// from sessions. Commands and what urgent sessions bring are one queue, in order; what bulk
// sessions bring is another, which waits for the first.
//
// A session has a bound of bytes that wait here: when it is reached the session is to bring no
// more, which holds up its stream, until Run tells it to read on. Nobody waits in a call. Thread-
// safe, but for Run: one thread at a time.
class TaskQueue {
 public:
  using Task = absl::AnyInvocable<void()>;

  // How many bytes of one session may wait before it is to bring no more.
  static constexpr size_t kSessionBytes = size_t{16} << 20;

  // `bell` and `gate`, which wake the carrier's thread, outlive it.
  TaskQueue(const BellWords* bell, GateWord* gate) : bell_(bell), gate_(gate) {}

  // Adds a command.
  void Add(Task task);

  // Adds what `session` has brought, `bytes` large. False when Session::ReadOn() will be called
  // once there is room for more. Whoever calls it then runs what there is, or calls Ring().
  bool AddFrom(const std::shared_ptr<Session>& session, size_t bytes, Task task);

  // Wakes the carrier's thread if it sleeps.
  void Ring();

  // Runs a part of what there is; false when there is nothing. Has sessions read on.
  bool Run();

  // Whether there is nothing.
  bool empty() const;

  // Drops what is there and all that comes.
  void Close();

 private:
  struct Entry {
    Task task;
    const Session* session;
    size_t bytes;
  };
  // What waits of a session; `held_up`: it is to read on when there is room.
  struct Waiting {
    size_t bytes = 0;
    std::shared_ptr<Session> held_up;
  };

  // Whether the carrier's thread has parked since it was last rung for: ring, without the lock, for
  // which it would wait at once.
  bool TakeRing() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const BellWords* const bell_;
  GateWord* const gate_;
  mutable absl::Mutex mu_;
  std::deque<Entry> first_ ABSL_GUARDED_BY(mu_);
  std::deque<Entry> bulk_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const Session*, Waiting> waiting_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t last_rung_ ABSL_GUARDED_BY(mu_) = 0;

  // Run's:
  std::vector<Entry> running_;
  std::vector<std::shared_ptr<Session>> reading_on_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_TASK_QUEUE_H_
