#ifndef MAILRAIL_CORE_PROCESS_RECEIVER_IMPL_H_
#define MAILRAIL_CORE_PROCESS_RECEIVER_IMPL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/process/process_impl.h"
#include "core/shm/bell.h"
#include "mailrail/receiver.h"

namespace mailrail::internal {

// Behind Receiver. Thread-compatible, but for what says that it is the watcher's.
class ReceiverImpl {
 public:
  // `process` outlives this; `keep_alive` keeps it so (null for the inbox, which it owns itself).
  ReceiverImpl(ProcessImpl* process, std::shared_ptr<ProcessImpl> keep_alive, std::string name,
               uint64_t destination_id, std::shared_ptr<ReceiveQueue> queue,
               std::shared_ptr<const ReceiverMemory> memory, bool is_inbox);
  ~ReceiverImpl();

  absl::StatusOr<Message> Receive(const ProcessId* only_from, absl::Time deadline);
  absl::StatusOr<int> Descriptor();
  void set_wait_mode(WaitMode mode) { wait_mode_ = mode; }
  ProcessImpl* process() const { return process_; }

  // For waiting on several at once. Whether a receive may find something (or an end) now.
  bool Ready();
  // Announces a park; look at Ready() again before sleeping on the word.
  FutexWord Park();
  // `keep_wanted`: of a mailbox of another node a message stays wanted, until the next receive has
  // returned; else one that has come may be taken back.
  void Unpark(bool keep_wanted);

  // The watcher's: if this receiver may have something, makes the descriptor readable, and returns
  // true; else parks, and returns false and the word to sleep on. Thread-safe.
  bool SignalOrPark(FutexWord* word);

 private:
  using Taken = ReceiveQueue::Taken;

  const ControlPage& control() const {
    return *reinterpret_cast<const ControlPage*>(memory_->control.data());
  }
  // One try; kDeadlineExceeded when there is nothing.
  absl::StatusOr<Message> Try(const ProcessId* only_from, absl::Time deadline);
  // The same in turn with the watcher.
  absl::StatusOr<Message> Look(const ProcessId* only_from, absl::Time deadline);
  // Reads notices until the queue is no more behind; false at the deadline.
  bool CatchUp(absl::Time deadline);
  // Sleeps, at most until `deadline`; or returns what came just before.
  absl::StatusOr<Message> Sleep(const ProcessId* only_from, absl::Time deadline);
  // What the descriptor told of is taken: lets the watcher park again.
  void Unsignal();
  // Why a receive that found nothing cannot go on waiting; OK if it can.
  absl::Status EndStatus(const ProcessId* only_from);
  // Whether a receive may find something, or an end.
  bool MayReturn();
  absl::StatusOr<Message> Wait(const ProcessId* only_from, absl::Time deadline);
  // For a mailbox of another node: says that a message is wanted, or not any more, after a receive
  // that has `taken` one or none.
  void SetWanted(uint32_t count, bool taken = false);
  bool remote() const { return memory_->carrier_gate.valid(); }
  absl::StatusOr<Message> Nothing() const;

  ProcessImpl* const process_;
  const std::shared_ptr<ProcessImpl> keep_alive_;
  const std::string name_;
  const uint64_t destination_id_;
  const std::shared_ptr<ReceiveQueue> queue_;
  const std::shared_ptr<const ReceiverMemory> memory_;
  const bool is_inbox_;
  Parker parker_;
  WaitMode wait_mode_ = WaitMode::kAdaptive;
  uint32_t wanted_ = 0;

  // Only once Descriptor() was called: the watcher looks too, so looks are taken in turn.
  bool watched_ = false;
  Fd event_;
  absl::Mutex watch_mutex_;
  bool signaled_ ABSL_GUARDED_BY(watch_mutex_) = false;
};

// Makes Receivers, and reaches into them.
class ReceiverAccess {
 public:
  static std::unique_ptr<Receiver> Make(std::unique_ptr<ReceiverImpl> impl) {
    return std::unique_ptr<Receiver>(new Receiver(std::move(impl)));
  }
  static ReceiverImpl* Impl(Receiver* receiver) { return receiver->impl_.get(); }
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_RECEIVER_IMPL_H_
