#include "core/process/receiver_impl.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "core/process/watcher.h"
#include "core/shm/stamp.h"

namespace mailrail::internal {
namespace {

// How long an adaptive receive looks before it sleeps: longer than a hand-over between two awake
// processes takes, shorter than a sleep and wake-up costs.
constexpr absl::Duration kSpin = absl::Microseconds(20);

// A mailbox of another node is asked when it is received from. A call that does not wait gives the
// answer this long to come.
constexpr absl::Duration kRemoteTry = absl::Milliseconds(100);

// How long a receiver waits for lanes that have joined while it did not look; see kBehind.
constexpr absl::Duration kCatchUp = absl::Seconds(1);

}  // namespace

ReceiverImpl::ReceiverImpl(ProcessImpl* process, std::shared_ptr<ProcessImpl> keep_alive,
                           std::string name, uint64_t destination_id,
                           std::shared_ptr<ReceiveQueue> queue,
                           std::shared_ptr<const ReceiverMemory> memory, bool is_inbox)
    : process_(process),
      keep_alive_(std::move(keep_alive)),
      name_(std::move(name)),
      destination_id_(destination_id),
      queue_(std::move(queue)),
      memory_(std::move(memory)),
      is_inbox_(is_inbox),
      parker_(reinterpret_cast<BellWords*>(memory_->bell.data()),
              reinterpret_cast<GateWord*>(memory_->gate.data())) {}

ReceiverImpl::~ReceiverImpl() {
  if (watched_) process_->watcher()->Remove(this);
  if (!process_->CheckUsable().ok()) return;
  // What was received is then not counted as lost.
  queue_->Flush();
  if (is_inbox_) return;
  SetWanted(0);
  process_->CloseReceiver(destination_id_, queue_.get());
}

absl::StatusOr<Message> ReceiverImpl::Nothing() const {
  return absl::DeadlineExceededError(absl::StrCat("no message in ", name_));
}

void ReceiverImpl::SetWanted(uint32_t count) {
  if (!memory_->carrier_gate.valid() || wanted_ == count) return;
  wanted_ = count;
  reinterpret_cast<BellWords*>(memory_->bell.data())->wanted.exchange(count);
  RingGate(reinterpret_cast<GateWord*>(memory_->carrier_gate.data()));
}

absl::Status ReceiverImpl::EndStatus(const ProcessId* only_from) {
  const auto closed = static_cast<CloseReason>(control().closed.load());
  if (closed != CloseReason::kOpen) return ClosedStatus(name_, closed);
  if (only_from != nullptr && !queue_->HasLaneOf(*only_from) && !process_->LinkedWith(*only_from)) {
    return absl::UnavailableError(
        absl::StrCat("process ", only_from->ToString(), " is gone or was never linked"));
  }
  if (!process_->connection().connected()) {
    return absl::AbortedError("detached: the agent closed the connection; attach again");
  }
  return absl::OkStatus();
}

absl::StatusOr<Message> ReceiverImpl::Try(const ProcessId* only_from, absl::Time deadline) {
  Message message;
  while (true) {
    switch (queue_->Take(control(), only_from, &message)) {
      case Taken::kMessage:
        return message;
      case Taken::kNothing:
        return Nothing();
      case Taken::kCorrupt:
        return queue_->error();
      case Taken::kVoid:
        return absl::AbortedError("detached: declared gone by the agent; attach again");
      case Taken::kBehind: {
        // Normally the notices wait in the socket already, and this costs one read.
        const absl::Time until =
            std::min(std::max(deadline, absl::Now() + kCatchUp), absl::Now() + kCatchUp);
        const uint32_t target = control().members_version.load();
        if (!process_->connection().ReadUntil(
                [&] { return static_cast<int32_t>(queue_->version() - target) >= 0; }, until)) {
          if (absl::Status status = EndStatus(only_from); !status.ok()) return status;
          return Nothing();
        }
      }
    }
  }
}

absl::StatusOr<Message> ReceiverImpl::Receive(const ProcessId* only_from, absl::Time deadline) {
  if (absl::Status status = process_->CheckUsable(); !status.ok()) return status;
  if (only_from != nullptr && !is_inbox_) {
    return absl::FailedPreconditionError("ReceiveFrom is for inboxes");
  }
  absl::optional<absl::MutexLock> lock;
  if (watched_) lock.emplace(&watch_mutex_);
  absl::StatusOr<Message> message = Try(only_from, deadline);
  if (!absl::IsDeadlineExceeded(message.status())) return message;
  if (watched_ && signaled_) {
    // What the descriptor told of is taken: let the watcher park again.
    uint64_t count;
    while (read(event_.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    signaled_ = false;
    process_->watcher()->Wake();
  }
  if (absl::Status status = EndStatus(only_from); !status.ok()) return status;
  const bool remote = memory_->carrier_gate.valid() && !watched_;
  if (remote && deadline < absl::Now() + kRemoteTry) deadline = absl::Now() + kRemoteTry;
  if (deadline <= absl::Now()) return message;
  lock.reset();
  if (remote) SetWanted(1);
  message = Wait(only_from, deadline);
  if (remote) SetWanted(0);
  return message;
}

absl::StatusOr<Message> ReceiverImpl::Wait(const ProcessId* only_from, absl::Time deadline) {
  const auto look = [&]() -> absl::StatusOr<Message> {
    absl::optional<absl::MutexLock> lock;
    if (watched_) lock.emplace(&watch_mutex_);
    return Try(only_from, deadline);
  };
  bool spin = wait_mode_ != WaitMode::kBlock;
  while (true) {
    const absl::Time spin_until = wait_mode_ == WaitMode::kSpin
                                      ? std::min(deadline, absl::Now() + kLookAgain)
                                      : std::min(deadline, absl::Now() + kSpin);
    while (spin) {
      absl::StatusOr<Message> message = look();
      if (!absl::IsDeadlineExceeded(message.status())) return message;
      for (int i = 0; i < 16; ++i) SpinPause();
      if (absl::Now() >= spin_until) break;
    }
    queue_->Flush();
    const FutexWord word = parker_.Park();
    absl::StatusOr<Message> message = look();
    const absl::Duration left = deadline - absl::Now();
    const bool found = !absl::IsDeadlineExceeded(message.status());
    if (!found && left > absl::ZeroDuration() && wait_mode_ != WaitMode::kSpin) {
      FutexWait(word.word, word.expected, std::min(left, kLookAgain));
    }
    parker_.Unpark(is_inbox_ && !watched_);
    if (found) return message;
    // Woken, or time for the look that a lost ring, a death or a new agent may need.
    message = look();
    if (!absl::IsDeadlineExceeded(message.status())) return message;
    process_->connection().ReadNotices();
    if (absl::Status status = EndStatus(only_from); !status.ok()) return status;
    if (absl::Now() >= deadline) return message;
    spin = wait_mode_ == WaitMode::kSpin;
  }
}

bool ReceiverImpl::Ready() {
  absl::optional<absl::MutexLock> lock;
  if (watched_) lock.emplace(&watch_mutex_);
  return queue_->MayHave(control()) || !process_->connection().connected();
}

FutexWord ReceiverImpl::Park() {
  queue_->Flush();
  SetWanted(1);
  return parker_.Park();
}

void ReceiverImpl::Unpark() { SetWanted(0); }

absl::StatusOr<int> ReceiverImpl::Descriptor() {
  if (absl::Status status = process_->CheckUsable(); !status.ok()) return status;
  if (watched_) return event_.get();
  event_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_.valid()) return absl::ErrnoToStatus(errno, "eventfd");
  watched_ = true;
  process_->watcher()->Add(this);
  return event_.get();
}

bool ReceiverImpl::SignalOrPark(FutexWord* word) {
  absl::MutexLock lock(&watch_mutex_);
  if (signaled_) return true;
  process_->connection().ReadNotices();
  *word = parker_.Park();
  SetWanted(1);
  if (!queue_->MayHave(control()) && process_->connection().connected()) return false;
  const uint64_t one = 1;
  while (write(event_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  signaled_ = true;
  return true;
}

}  // namespace mailrail::internal
