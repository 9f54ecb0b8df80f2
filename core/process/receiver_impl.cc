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

// How long a receiver waits for lanes that have joined while it did not look; see kBehind. One that
// does not wait for messages either gives them a round trip to the agent.
constexpr absl::Duration kCatchUp = absl::Seconds(1);
constexpr absl::Duration kCatchUpTry = absl::Milliseconds(20);

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
  // First: in a forked child whoever held a lock, or was in the watcher, does not exist.
  if (!process_->CheckUsable().ok()) return;
  if (watched_) process_->watcher()->Remove(this);
  // What was received is then not counted as lost.
  queue_->Flush();
  if (is_inbox_) return;
  SetWanted(0);
  process_->CloseReceiver(destination_id_, queue_.get());
}

absl::StatusOr<Message> ReceiverImpl::Nothing() const {
  return absl::DeadlineExceededError(absl::StrCat("no message in ", name_));
}

void ReceiverImpl::SetWanted(uint32_t count, bool taken) {
  if (!remote()) return;
  // Once more for the next one: the carrier sees that the last is taken only when it looks.
  if (wanted_ == count && !(taken && count > 0)) return;
  wanted_ = count;
  reinterpret_cast<BellWords*>(memory_->bell.data())->wanted.exchange(count);
  RingGate(reinterpret_cast<GateWord*>(memory_->carrier_gate.data()));
}

absl::Status ReceiverImpl::EndStatus(const ProcessId* only_from) {
  if (process_->gone()) return process_->Check();
  const auto closed = static_cast<CloseReason>(control().closed.load());
  if (closed != CloseReason::kOpen) return ClosedStatus(name_, closed);
  if (!process_->connection().connected()) return process_->Check();
  if (only_from != nullptr && !queue_->HasLaneOf(*only_from) && !process_->LinkedWith(*only_from)) {
    return absl::UnavailableError(
        absl::StrCat("process ", only_from->ToString(), " is gone or was never linked"));
  }
  return absl::OkStatus();
}

bool ReceiverImpl::CatchUp(absl::Time deadline) {
  // Normally the notices wait in the socket already, and this costs one read.
  return process_->connection().ReadUntil([&] { return queue_->ReadUpTo(control()); }, deadline);
}

absl::StatusOr<Message> ReceiverImpl::Try(const ProcessId* only_from, absl::Time deadline) {
  absl::Time catch_up_until = absl::InfinitePast();
  while (true) {
    // What is left in the inbox of one that is gone is counted as lost already.
    if (process_->gone()) return process_->Check();
    Message message;
    switch (queue_->Take(control(), only_from, &message)) {
      case Taken::kMessage:
        return message;
      case Taken::kNothing:
        return Nothing();
      case Taken::kCorrupt:
        return queue_->error();
      case Taken::kVoid:
        return process_->Check();
      case Taken::kBehind: {
        if (catch_up_until == absl::InfinitePast()) {
          const absl::Time now = absl::Now();
          catch_up_until = std::clamp(deadline, now + kCatchUpTry, now + kCatchUp);
        } else if (absl::Now() >= catch_up_until) {
          return Nothing();
        }
        if (CatchUp(catch_up_until)) continue;
        if (absl::Status status = EndStatus(only_from); !status.ok()) return status;
        return Nothing();
      }
    }
  }
}

absl::StatusOr<Message> ReceiverImpl::Look(const ProcessId* only_from, absl::Time deadline) {
  if (!watched_) return Try(only_from, deadline);
  absl::MutexLock lock(&watch_mutex_);
  absl::StatusOr<Message> message = Try(only_from, deadline);
  // The watcher goes on waiting for more.
  if (message.ok()) SetWanted(wanted_, /*taken=*/true);
  return message;
}

void ReceiverImpl::Unsignal() {
  {
    absl::MutexLock lock(&watch_mutex_);
    if (!signaled_) return;
    uint64_t count;
    while (read(event_.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    signaled_ = false;
  }
  process_->watcher()->Wake();
}

absl::StatusOr<Message> ReceiverImpl::Receive(const ProcessId* only_from, absl::Time deadline) {
  if (absl::Status status = process_->CheckUsable(); !status.ok()) return status;
  if (only_from != nullptr && !is_inbox_) {
    return absl::FailedPreconditionError("ReceiveFrom is for inboxes");
  }
  absl::StatusOr<Message> message = Look(only_from, deadline);
  const bool asks = remote() && !watched_;
  if (absl::IsDeadlineExceeded(message.status())) {
    if (watched_) Unsignal();
    if (absl::Status status = EndStatus(only_from); !status.ok()) return status;
    if (asks && deadline < absl::Now() + kRemoteTry) deadline = absl::Now() + kRemoteTry;
    if (deadline <= absl::Now()) return message;
    if (asks) SetWanted(1);
    message = Wait(only_from, deadline);
  }
  if (asks) SetWanted(0);
  return message;
}

absl::StatusOr<Message> ReceiverImpl::Sleep(const ProcessId* only_from, absl::Time deadline) {
  FutexWord word;
  {
    absl::optional<absl::MutexLock> lock;
    if (watched_) lock.emplace(&watch_mutex_);
    queue_->Flush();
    word = parker_.Park();
  }
  absl::StatusOr<Message> message = Look(only_from, deadline);
  const absl::Duration left = deadline - absl::Now();
  if (absl::IsDeadlineExceeded(message.status()) && left > absl::ZeroDuration() &&
      wait_mode_ != WaitMode::kSpin) {
    FutexWait(word.word, word.expected, std::min(left, kLookAgain));
  }
  // With a watcher, this is not the only one who parks.
  if (!watched_) parker_.Unpark(/*sole=*/is_inbox_);
  return message;
}

absl::StatusOr<Message> ReceiverImpl::Wait(const ProcessId* only_from, absl::Time deadline) {
  bool spin = wait_mode_ != WaitMode::kBlock;
  while (true) {
    const absl::Time spin_until = wait_mode_ == WaitMode::kSpin
                                      ? std::min(deadline, absl::Now() + kLookAgain)
                                      : std::min(deadline, absl::Now() + kSpin);
    while (spin) {
      absl::StatusOr<Message> message = Look(only_from, deadline);
      if (!absl::IsDeadlineExceeded(message.status())) return message;
      for (int i = 0; i < 16; ++i) SpinPause();
      if (absl::Now() >= spin_until) break;
    }
    absl::StatusOr<Message> message = Sleep(only_from, deadline);
    if (!absl::IsDeadlineExceeded(message.status())) return message;
    // Woken, or time for the look that a lost ring, a death or a new agent may need.
    message = Look(only_from, deadline);
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
  return MayReturn();
}

bool ReceiverImpl::MayReturn() {
  return queue_->MayHave(control()) || process_->gone() || !process_->connection().connected();
}

FutexWord ReceiverImpl::Park() {
  absl::optional<absl::MutexLock> lock;
  if (watched_) lock.emplace(&watch_mutex_);
  queue_->Flush();
  SetWanted(1);
  return parker_.Park();
}

void ReceiverImpl::Unpark(bool keep_wanted) {
  if (!keep_wanted && !watched_) SetWanted(0);
}

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
  if (!MayReturn()) return false;
  const uint64_t one = 1;
  while (write(event_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  signaled_ = true;
  return true;
}

}  // namespace mailrail::internal
