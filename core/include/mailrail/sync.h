// Synchronisation by name: mutexes, shared (reader/writer) mutexes, semaphores and barriers that
// any process of the cluster opens by the same name. Monitors and conditions are in monitor.h.
//
// What is held is held by a thread of a process. When that process ends, whatever it is that ends
// it, and at whichever instruction, what it held is free within milliseconds: the next owner of a
// lock is told (Grant::owner_died), a semaphore's units come back, and so does a place at a
// barrier. A process that is stopped keeps what it holds.
//
// To get and to release what nobody else wants is a few instructions on shared memory (some hundred
// of a SharedMutex), without a system call and without the agent; so it goes on while the agent is
// down. Who waits looks again and again for a moment, then sleeps. Nothing here is fair: one that
// comes by may be quicker than one that has waited. Whoever may open an object is trusted with it,
// as with what it guards.
//
// Each kind has names of its own (limits.h). An object is of one node, its home: of the one that
// `name@node` says, or that has one of this name already, or else of the node of who makes it.
//
// One of another node is used by its home's agent, with a round trip between the nodes for each
// call: two for a Semaphore's Wait and Post, three for a wait at a Barrier or Condition. What a
// process holds there is its own for as long as its node reaches the home. When it has not for five
// sixths of the home's lease (--object-lease of its agent, 30 s), what is held is lost, and the
// home gives it to others when the lease is over: HeldByThisThread is false then, and what would
// give it back is kAborted. So whoever works on for long without looking is kept out by the fencing
// token alone; so is everybody when the agent of the holder's node does not run for so long, or a
// host's clock is set back. Both agents may be started again meanwhile. What a call has asked for
// that ends with kUnavailable or kDeadlineExceeded is undone as soon as the home is reached.
//
// Errors of Open: kInvalidArgument for a malformed name or number; kNotFound when there is none and
// none is to be made; kFailedPrecondition when there is one of another size; kResourceExhausted at
// a limit; kUnavailable, kDeadlineExceeded and kAborted as of all calls that ask the agent. Of all
// that waits:
//   kDeadlineExceeded    it was not to be had until `deadline`; absl::InfinitePast() does not wait
//   kUnavailable         it was destroyed; or its home was not reached, for 30 s or until the
//                        deadline
//   kAborted             this process is detached; or of another node's barrier: its agent was
//                        started again, and whether this thread was counted is not known
//   kResourceExhausted   so many threads wait there for objects of other nodes already (128)
//   kFailedPrecondition  a fork's child; what the call itself says
//
// Handles are move-only and thread-safe, except for move and destruction. A handle keeps what it
// needs of its Process, which may go first. When the last handle of a process on an object goes,
// what the process holds of it is taken from it, as if it had ended.
#ifndef MAILRAIL_SYNC_H_
#define MAILRAIL_SYNC_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mailrail/process.h"

namespace mailrail {

namespace internal {
class SyncObject;
}  // namespace internal

struct OpenOptions {
  // Make it when there is none.
  bool create = true;

  // One that is made is gone when no process has it open any more; else when it is destroyed, or
  // its node ends.
  bool transient = false;
};

// What getting a lock came to.
struct Grant {
  // The fencing token: larger than of every grant of this lock before, those of a lock of the same
  // name that was destroyed among them (unless the host's clock was set back). What the lock guards
  // refuses a request with a token smaller than one it has seen, which comes from an owner that
  // was given up meanwhile.
  uint64_t fence = 0;

  // The last owner, or writer, has died with it: what the lock guards may be half changed. It is
  // told once, to the next owner (of a shared mutex to all readers until somebody has written). One
  // that was cut off has died, in this sense. Of another node's it may be told though nobody has,
  // when the home's agent is started again in the middle of the call.
  bool owner_died = false;
};

// One thread at a time. Not recursive.
class Mutex {
 public:
  static absl::StatusOr<Mutex> Open(Process& process, absl::string_view name,
                                    const OpenOptions& options = {},
                                    absl::Time deadline = absl::Now() + absl::Seconds(10));
  // Whoever waits for it returns; whoever holds it goes on. kNotFound.
  static absl::Status Destroy(Process& process, absl::string_view name,
                              absl::Time deadline = absl::Now() + absl::Seconds(10));

  Mutex(Mutex&&) noexcept;
  Mutex& operator=(Mutex&&) noexcept;
  ~Mutex();

  // kFailedPrecondition, with all who take part in words, when this wait would never end: this
  // thread has it, or its owner waits, perhaps by way of others, for a mutex that this thread has.
  // That is found out after 10 ms of waiting. Only waits for mutexes and shared mutexes count.
  absl::StatusOr<Grant> Lock(absl::Time deadline = absl::InfiniteFuture());
  absl::StatusOr<Grant> TryLock() { return Lock(absl::InfinitePast()); }

  // kFailedPrecondition when this thread does not have it; kAborted when it was taken away, since
  // this process was given up or its home not reached; kUnavailable when the home is not reached
  // now: it is given back as soon as it is.
  absl::Status Unlock();

  // Whether this thread has it (still).
  bool HeldByThisThread() const;

 private:
  friend class Condition;
  friend class WaitSet;
  explicit Mutex(std::shared_ptr<internal::SyncObject> object);
  // Without a deadline, and without being refused for a wait that would never end.
  absl::StatusOr<Grant> LockAgain();
  std::shared_ptr<internal::SyncObject> object_;
};

// One thread at a time to write, or up to 1024 to read; a writer that waits goes before readers
// that come later. Not recursive.
class SharedMutex {
 public:
  static absl::StatusOr<SharedMutex> Open(Process& process, absl::string_view name,
                                          const OpenOptions& options = {},
                                          absl::Time deadline = absl::Now() + absl::Seconds(10));
  static absl::Status Destroy(Process& process, absl::string_view name,
                              absl::Time deadline = absl::Now() + absl::Seconds(10));

  SharedMutex(SharedMutex&&) noexcept;
  SharedMutex& operator=(SharedMutex&&) noexcept;
  ~SharedMutex();

  // To write, and to read. Errors as Mutex.
  absl::StatusOr<Grant> Lock(absl::Time deadline = absl::InfiniteFuture());
  absl::StatusOr<Grant> TryLock() { return Lock(absl::InfinitePast()); }
  absl::Status Unlock();
  absl::StatusOr<Grant> LockShared(absl::Time deadline = absl::InfiniteFuture());
  absl::StatusOr<Grant> TryLockShared() { return LockShared(absl::InfinitePast()); }
  absl::Status UnlockShared();

  // Whether this thread has it (still), to write or to read.
  bool HeldByThisThread() const;

 private:
  friend class WaitSet;
  explicit SharedMutex(std::shared_ptr<internal::SyncObject> object);
  std::shared_ptr<internal::SyncObject> object_;
};

// Holds a lock until it goes: MutexLock, WriterLock, ReaderLock. Move-only; of one thread. The
// handle that it was made from outlives it.
template <typename Lockable, auto kLock, auto kUnlock>
class ScopedLock {
 public:
  static absl::StatusOr<ScopedLock> Acquire(Lockable& lockable,
                                            absl::Time deadline = absl::InfiniteFuture()) {
    absl::StatusOr<Grant> grant = (lockable.*kLock)(deadline);
    if (!grant.ok()) return grant.status();
    return ScopedLock(&lockable, *grant);
  }

  ScopedLock(ScopedLock&& other) noexcept
      : lockable_(std::exchange(other.lockable_, nullptr)), grant_(other.grant_) {}
  ScopedLock& operator=(ScopedLock&& other) noexcept {
    if (this == &other) return *this;
    Unlock().IgnoreError();
    lockable_ = std::exchange(other.lockable_, nullptr);
    grant_ = other.grant_;
    return *this;
  }
  ~ScopedLock() { Unlock().IgnoreError(); }

  const Grant& grant() const { return grant_; }

  // Before it goes. OK when it is unlocked already.
  absl::Status Unlock() {
    Lockable* const lockable = std::exchange(lockable_, nullptr);
    return lockable == nullptr ? absl::OkStatus() : (lockable->*kUnlock)();
  }

 private:
  ScopedLock(Lockable* lockable, const Grant& grant) : lockable_(lockable), grant_(grant) {}
  Lockable* lockable_;
  Grant grant_;
};

using MutexLock = ScopedLock<Mutex, &Mutex::Lock, &Mutex::Unlock>;
using WriterLock = ScopedLock<SharedMutex, &SharedMutex::Lock, &SharedMutex::Unlock>;
using ReaderLock = ScopedLock<SharedMutex, &SharedMutex::LockShared, &SharedMutex::UnlockShared>;

struct SemaphoreOptions {
  // Free at first, of a semaphore that is made.
  uint32_t units = 1;

  // The most that it ever has, 1 to 32768; 0: as many as at first, or what the one that is there
  // has.
  uint32_t most_units = 0;

  OpenOptions open = {};
};

// A counting semaphore. A unit may be held, and comes back when its holder dies (Acquire); or be
// used up by one and added by another, as where they stand for things in a buffer (Wait and Post,
// as of POSIX), and then no death changes their number.
class Semaphore {
 public:
  static absl::StatusOr<Semaphore> Open(Process& process, absl::string_view name,
                                        const SemaphoreOptions& options = {},
                                        absl::Time deadline = absl::Now() + absl::Seconds(10));
  static absl::Status Destroy(Process& process, absl::string_view name,
                              absl::Time deadline = absl::Now() + absl::Seconds(10));

  Semaphore(Semaphore&&) noexcept;
  Semaphore& operator=(Semaphore&&) noexcept;
  ~Semaphore();

  // A unit that is held until this goes, on whichever thread. Move-only; keeps what it needs of its
  // Semaphore, which may go first.
  class Permit {
   public:
    Permit(Permit&& other) noexcept;
    Permit& operator=(Permit&& other) noexcept;
    ~Permit();

    // As Grant::fence.
    uint64_t fence() const { return fence_; }
    // Whether it is held (still).
    bool held() const;
    // Before it goes. kAborted and kUnavailable as Mutex::Unlock; OK when it is released already.
    absl::Status Release();

   private:
    friend class Semaphore;
    Permit(std::shared_ptr<internal::SyncObject> object, uint32_t thread, uint32_t cell,
           uint64_t fence);
    std::shared_ptr<internal::SyncObject> object_;
    uint32_t thread_ = 0;
    uint32_t cell_ = 0;
    uint64_t fence_ = 0;
  };
  absl::StatusOr<Permit> Acquire(absl::Time deadline = absl::InfiniteFuture());
  absl::StatusOr<Permit> TryAcquire() { return Acquire(absl::InfinitePast()); }

  // Uses up a unit, and adds one. Post never waits: kResourceExhausted when there are as many as
  // there may be. kUnavailable, of another node's: it may have been done.
  absl::Status Wait(absl::Time deadline = absl::InfiniteFuture());
  absl::Status TryWait() { return Wait(absl::InfinitePast()); }
  absl::Status Post();

  // How many units are free now; 0 also when the home is not reached.
  uint32_t value() const;

 private:
  friend class WaitSet;
  explicit Semaphore(std::shared_ptr<internal::SyncObject> object);
  std::shared_ptr<internal::SyncObject> object_;
};

// Where so many parties wait for each other, again and again.
class Barrier {
 public:
  // For 1 to 4096 parties; 0: as the one that is there, which is not made then.
  static absl::StatusOr<Barrier> Open(Process& process, absl::string_view name, uint32_t parties,
                                      const OpenOptions& options = {},
                                      absl::Time deadline = absl::Now() + absl::Seconds(10));
  static absl::Status Destroy(Process& process, absl::string_view name,
                              absl::Time deadline = absl::Now() + absl::Seconds(10));

  Barrier(Barrier&&) noexcept;
  Barrier& operator=(Barrier&&) noexcept;
  ~Barrier();

  // Waits until all parties have come, and returns in which round that was, the first being 0. One
  // that gives up (any error) does not count any more; one that has died does not either.
  absl::StatusOr<uint32_t> Wait(absl::Time deadline = absl::InfiniteFuture());

  uint32_t parties() const;
  // How many wait now; 0 also when the home is not reached.
  uint32_t waiting() const;

 private:
  friend class WaitSet;
  explicit Barrier(std::shared_ptr<internal::SyncObject> object);
  std::shared_ptr<internal::SyncObject> object_;
};

}  // namespace mailrail

#endif  // MAILRAIL_SYNC_H_
