#ifndef MAILRAIL_CORE_PROCESS_RECEIVER_IMPL_H_
#define MAILRAIL_CORE_PROCESS_RECEIVER_IMPL_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/process/process_impl.h"
#include "core/process/waitable.h"
#include "core/process/watcher.h"
#include "core/shm/adaptive_spin.h"
#include "core/shm/bell.h"
#include "mailrail/receiver.h"

namespace mailrail::internal {

// How long a receiver that finds nothing should rest before it looks again. In a flood it should:
// while it looks at the line that is being written, sender and receiver take it from each other for
// every message; after a rest there are several. Where one message at a time comes, a rest only
// delays it. So what the last rest has brought decides. Thread-compatible.
class Resting {
 public:
  void OnMessage() { ++messages_; }
  // To be asked whenever nothing is found: so many times half a microsecond, or not at all.
  uint32_t Rests() {
    const uint32_t messages = std::exchange(messages_, 0);
    if (rested_) {
      if (messages < kFew) {
        rests_ = 1;
        pause_ = std::min(2 * pause_ + 4, kLongestPause);
        left_ = pause_;
      } else {
        pause_ = 0;
        if (messages < kEnough) rests_ = std::min(2 * rests_, kMostRests);
        if (messages > 4 * kEnough) rests_ = std::max(rests_ / 2, uint32_t{1});
      }
    }
    rested_ = left_ == 0;
    if (!rested_) --left_;
    return rested_ ? rests_ : 0;
  }

 private:
  static constexpr uint32_t kFew = 2;      // that a rest brings where it does not pay
  static constexpr uint32_t kEnough = 16;  // that it should bring
  static constexpr uint32_t kMostRests = 8;
  static constexpr uint32_t kLongestPause = 1023;
  uint32_t messages_ = 0;  // since nothing was found
  uint32_t rests_ = 1;     // how long to rest
  uint32_t pause_ = 0;     // how often not to rest, after a rest that did not pay
  uint32_t left_ = 0;
  bool rested_ = false;
};

// Behind Receiver. Thread-compatible, but for what is Waitable's and Watched's.
class ReceiverImpl final : public Waitable, public Watched {
 public:
  // `process` outlives this; `keep_alive` keeps it so (null for the inbox, which it owns itself).
  ReceiverImpl(ProcessImpl* process, std::shared_ptr<ProcessImpl> keep_alive, std::string name,
               uint64_t destination_id, std::shared_ptr<ReceiveQueue> queue,
               std::shared_ptr<const ReceiverMemory> memory, bool is_inbox);
  ~ReceiverImpl() override;

  // As Receiver; into `message`.
  absl::Status Receive(const ProcessId* only_from, absl::Time deadline, Message* message);
  absl::StatusOr<int> Descriptor();
  void set_wait_mode(WaitMode mode) { wait_mode_ = mode; }
  // From now on messages are leased; `queue` is its own.
  void LeaseFrom(std::shared_ptr<MailboxQueue> queue) { leasing_ = std::move(queue); }
  ProcessImpl* process() const { return process_; }

  // For waiting on several at once. While it is a member of a set, a message of a mailbox of
  // another node stays wanted.
  void Join() override;
  void Leave() override;
  // Whether a receive may find something (or an end) now.
  bool Ready() override;
  FutexWord Park(absl::Duration* longest) override;
  // For who waits without a set.
  // `keep_wanted`: of a mailbox of another node a message stays wanted, until the next receive has
  // returned; else one that has come may be taken back.
  void Unpark(bool keep_wanted);

  // Makes the descriptor readable when this receiver may have something.
  bool SignalOrPark(FutexWord* word, absl::Duration* longest) override;

 private:
  using Taken = ReceiveQueue::Taken;

  const ControlPage& control() const {
    return *reinterpret_cast<const ControlPage*>(memory_->control.data());
  }
  // What a look has brought.
  enum class Got {
    kMessage,
    kNothing,
    kFailure,  // failure_ says why
  };
  Got Fail(absl::Status status) {
    failure_ = std::move(status);
    return Got::kFailure;
  }
  // One try.
  Got Try(const ProcessId* only_from, absl::Time deadline, Message* message) {
    // What is left in the inbox of one that is gone is counted as lost already.
    if (ABSL_PREDICT_TRUE(!process_->gone())) {
      const Taken taken = Take(only_from, message);
      if (ABSL_PREDICT_TRUE(taken == Taken::kMessage)) return Got::kMessage;
      if (ABSL_PREDICT_TRUE(taken == Taken::kNothing)) return Got::kNothing;
      return TryAgain(taken, only_from, deadline, message);
    }
    return Fail(process_->Check());
  }
  Taken Take(const ProcessId* only_from, Message* message) {
    return ABSL_PREDICT_TRUE(leasing_ == nullptr) ? queue_->Take(control(), only_from, message)
                                                  : TakeLease(message);
  }
  Taken TakeLease(Message* message);
  // Messages had expired: the agent is to know.
  void TellExpired();
  // A try that has brought neither a message nor nothing.
  Got TryAgain(Taken taken, const ProcessId* only_from, absl::Time deadline, Message* message);
  // Queue's Take when there are lanes to be told of first; kBehind when that takes too long.
  Taken TakeBehind(const ProcessId* only_from, absl::Time deadline, Message* message);
  // The same in turn with the watcher.
  Got Look(const ProcessId* only_from, absl::Time deadline, Message* message) {
    return ABSL_PREDICT_TRUE(!watched_) ? Try(only_from, deadline, message)
                                        : LookInTurn(only_from, deadline, message);
  }
  Got LookInTurn(const ProcessId* only_from, absl::Time deadline, Message* message);
  // Announces a park, and returns the word to sleep on. Who has not the right to receive waits for
  // the agent alone: no sender is to ring for it, nor message to wake it.
  FutexWord Announce();
  // Reads notices until the queue is no more behind; false at the deadline.
  bool CatchUp(absl::Time deadline);
  // Sleeps, at most until `deadline`; or returns what came just before.
  Got Sleep(const ProcessId* only_from, absl::Time deadline, Message* message);
  // What the descriptor told of is taken: lets the watcher park again.
  void Unsignal();
  // Why a receive that found nothing cannot go on waiting; OK if it can.
  absl::Status EndStatus(const ProcessId* only_from);
  // Whether a receive may find something, or an end.
  bool MayReturn();
  // Takes over the lanes that have joined or ended since, so that those alone are no reason to
  // look.
  void TakeOver();
  // Looks some times, or until there is something.
  Got LookSometimes(const ProcessId* only_from, absl::Time deadline, Message* message);
  // Looks until `until`, or until there is something.
  Got Spin(const ProcessId* only_from, absl::Time until, absl::Time deadline, Message* message);
  Got Wait(const ProcessId* only_from, absl::Time deadline, Message* message);
  // Receive, after a first look.
  absl::Status Finish(Got got, const ProcessId* only_from, absl::Time deadline, Message* message);
  // For a mailbox of another node: says that a message is wanted, or not any more, after a receive
  // that has `taken` one or none.
  void SetWanted(bool wanted, bool taken = false);
  bool remote() const { return memory_->carrier_gate.valid(); }

  ProcessImpl* const process_;
  const std::shared_ptr<ProcessImpl> keep_alive_;
  const std::string name_;
  const uint64_t destination_id_;
  const std::shared_ptr<ReceiveQueue> queue_;
  std::shared_ptr<MailboxQueue> leasing_;  // queue_, if messages are leased; else null
  const std::shared_ptr<const ReceiverMemory> memory_;
  const bool is_inbox_;
  const absl::Status nothing_;  // kDeadlineExceeded; made once, since who polls gets it often
  absl::Status failure_;
  Parker parker_;
  WaitMode wait_mode_ = WaitMode::kAdaptive;
  uint32_t taken_over_ = 0;  // the version up to which MayReturn knows of all lanes
  AdaptiveSpin adaptive_spin_;
  bool wanted_ = false;
  uint32_t asked_ = 0;  // the last number by which it said so
  Resting resting_;

  // While its descriptor is in use, or it is in a set: other threads look too, so looks are taken
  // in turn.
  bool watched_ = false;
  int sets_ = 0;
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
