#ifndef MAILRAIL_WAIT_SET_H_
#define MAILRAIL_WAIT_SET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mailrail/process.h"
#include "mailrail/receiver.h"
#include "mailrail/shared_value.h"

namespace mailrail {

class Barrier;
class Mutex;
class Semaphore;
class SharedMutex;

namespace internal {
class WaitSetImpl;
}  // namespace internal

// Waits for many things at once: messages in an inbox (among them the notices of ends, see
// Process::Watch) and in mailboxes, timers, locks and semaphores, rounds of barriers, and versions
// of shared values. Each member has a key, which the caller chooses and Wait returns. There may be
// any number of members.
//
// A receiver is ready when it may have a message, or an end: its mailbox was destroyed, this
// process is detached. "May", because another receiver of the same mailbox may be quicker: follow
// with TryReceive. It stays ready until that has said what there is; one that has ended does until
// it is removed. A timer is ready when its time has come, until its key is returned.
//
// A lock or semaphore is ready when it may be had now, also because its owner has died: follow with
// TryLock, TryLockShared, TryAcquire or TryWait. "May" as above: another may be quicker. The set
// takes nothing and keeps nobody out, so no wake-up is lost to those who wait by Lock or Acquire
// when what it tells of is not taken; but a set waits for a SharedMutex to write as long as there
// are readers, and is told of no wait that would never end. A barrier is ready when a round has
// ended, and a shared value when there is a newer version, until the key is returned, which may
// stand for several. What was destroyed, and a value whose writer has let it go, stays ready until
// it is removed; so does what is a detached process's.
//
// A Condition is no member: a notification is one waiter's, who is in a Condition::Wait; a set
// would take it from another, or hear of it when what it is about is over. What is to be waited for
// in a set is better a semaphore, a shared value or a message.
//
// Fair: who is ready takes turns, so one that is ready again and again hides no other.
//
// Move-only. Thread-safe, but for move and destruction: members may be added and removed while a
// thread waits, which takes note at once. When Remove returns, the set uses the receiver no more.
// One thread at a time waits; another is refused (kFailedPrecondition). Must not outlive its
// Process. A receiver or shared value is removed before it is destroyed; of locks and the like the
// set has a handle of its own, and the one that was given may go. While it is a member, one thread
// at a time may use it, as always, beside whoever waits; to add or remove it is to use it. It may
// be in several sets.
//
// While a mailbox of another node is a member, one message of it is fetched ahead, which no other
// receiver gets then; when it is removed, what was not received goes back.
class WaitSet {
 public:
  // For receivers, locks and the like of `process`.
  explicit WaitSet(Process& process);
  WaitSet(WaitSet&&) noexcept;
  WaitSet& operator=(WaitSet&&) noexcept;
  ~WaitSet();

  // kAlreadyExists when a member has this key, kInvalidArgument for a receiver of another Process.
  absl::Status Add(uint64_t key, Receiver& receiver);

  // To lock; of a SharedMutex to write, or to read. Errors as above; kUnimplemented for one of
  // another node.
  absl::Status Add(uint64_t key, Mutex& mutex);
  absl::Status Add(uint64_t key, SharedMutex& mutex);
  absl::Status AddShared(uint64_t key, SharedMutex& mutex);
  // To acquire or use up a unit.
  absl::Status Add(uint64_t key, Semaphore& semaphore);
  // To look on: ready when a round ends that has not ended yet. Who takes part waits in
  // Barrier::Wait, since nobody else counts.
  absl::Status Add(uint64_t key, Barrier& barrier);

  // Of whichever process. Ready when there is a version after `seen`, and then after the last that
  // there was when its key was returned: follow with Read. kAlreadyExists.
  template <typename T>
  absl::Status Add(uint64_t key, const SharedValue<T>& value, uint64_t seen = 0) {
    return AddValue(key, value.handle_, seen);
  }

  // A timer that is ready once, at `time`, or at once if that is past; when its key is returned it
  // leaves the set. By the system's clock. kAlreadyExists.
  absl::Status AddTimer(uint64_t key, absl::Time time);

  // A timer that is ready at `first`, and every `period` after that. Times that have passed by
  // since its key was last returned count as one. kInvalidArgument when `period` is not positive.
  absl::Status AddTimer(uint64_t key, absl::Time first, absl::Duration period);

  // kNotFound when no member has this key.
  absl::Status Remove(uint64_t key);

  // How many members there are.
  size_t size() const;

  // Waits until a member is ready, and returns its key. absl::InfinitePast() does not wait.
  //   kDeadlineExceeded    none was until `deadline`
  //   kCancelled           Wake was called
  //   kFailedPrecondition  another thread waits; a fork's child
  absl::StatusOr<uint64_t> Wait(absl::Time deadline = absl::InfiniteFuture());

  // The same, and returns the keys of all that are ready then, each once and at most `max`; never
  // none. kInvalidArgument when `max` is 0.
  absl::StatusOr<std::vector<uint64_t>> WaitBatch(size_t max,
                                                  absl::Time deadline = absl::InfiniteFuture());

  // Ends the wait that is under way, or else the next one, with kCancelled. From any thread.
  void Wake();

  // A descriptor that polls readable while a member may be ready, timers included, for epoll and
  // event loops. After it polls readable call Wait(absl::InfinitePast()) until kDeadlineExceeded,
  // which makes it unreadable. Owned by this set. The first call starts a thread, for each 126
  // members; so does the 127th member of a set.
  absl::StatusOr<int> Descriptor();

 private:
  absl::Status AddValue(uint64_t key, const internal::SharedValueHandle& value, uint64_t seen);
  std::unique_ptr<internal::WaitSetImpl> impl_;
};

// Waits once, without a set: until one of `receivers` may have a message (or its mailbox is gone),
// and returns its index; the first, when several have. "May" as above. kDeadlineExceeded when none
// has until `deadline`.
// REQUIRES: 1 to 126 receivers, none null, all of one Process, none in use by another thread.
absl::StatusOr<size_t> WaitAny(absl::Span<Receiver* const> receivers,
                               absl::Time deadline = absl::InfiniteFuture());

}  // namespace mailrail

#endif  // MAILRAIL_WAIT_SET_H_
