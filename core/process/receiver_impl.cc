#include "core/process/receiver_impl.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "core/message/message_access.h"
#include "core/process/process_lease.h"
#include "core/shm/stamp.h"

namespace mailrail::internal {
namespace {

// How long an adaptive receive looks before it sleeps: longer than a hand-over between two awake
// processes takes, shorter than a sleep and wake-up costs.
constexpr absl::Duration kSpin = absl::Microseconds(20);
constexpr int kLooksBetweenTimes = 32;

void Rest(uint64_t rests) {
  if (rests == 0) return;
  const uint64_t start = Stamp();
  while (Stamp() - start < rests * StampsOfARest()) SpinPause();
}

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
      nothing_(absl::DeadlineExceededError(absl::StrCat("no message in ", name_))),
      parker_(reinterpret_cast<BellWords*>(memory_->bell.data()),
              reinterpret_cast<GateWord*>(memory_->gate.data())) {}

ReceiverImpl::~ReceiverImpl() {
  // First: in a forked child whoever held a lock, or was in the watcher, does not exist.
  if (!process_->CheckUsable().ok()) return;
  if (event_.valid()) process_->watcher()->Remove(this);
  // What was received is then not counted as lost.
  queue_->Flush();
  if (is_inbox_) return;
  SetWanted(false);
  process_->CloseReceiver(destination_id_, queue_.get());
}

void ReceiverImpl::SetWanted(bool wanted, bool taken) {
  if (!remote()) return;
  // Once more for the next one: the carrier sees that the last is taken only when it looks.
  if (wanted_ == wanted && !(taken && wanted)) return;
  wanted_ = wanted;
  if (wanted && ++asked_ == 0) ++asked_;
  reinterpret_cast<BellWords*>(memory_->bell.data())->wanted.exchange(wanted ? asked_ : 0);
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

ReceiverImpl::Got ReceiverImpl::TryAgain(Taken taken, const ProcessId* only_from,
                                         absl::Time deadline, Message* message) {
  if (taken == Taken::kBehind) taken = TakeBehind(only_from, deadline, message);
  switch (taken) {
    case Taken::kMessage:
      return Got::kMessage;
    case Taken::kNothing:
      return Got::kNothing;
    case Taken::kCorrupt:
      return Fail(queue_->error());
    case Taken::kVoid:
      return Fail(process_->Check());
    case Taken::kBehind:
      break;
  }
  absl::Status status = EndStatus(only_from);
  return status.ok() ? Got::kNothing : Fail(std::move(status));
}

ReceiverImpl::Taken ReceiverImpl::TakeBehind(const ProcessId* only_from, absl::Time deadline,
                                             Message* message) {
  absl::Time now = absl::Now();
  const absl::Time until = std::clamp(deadline, now + kCatchUpTry, now + kCatchUp);
  Taken taken = Taken::kBehind;
  // Again and again: more may join meanwhile.
  for (; taken == Taken::kBehind && now < until; now = absl::Now()) {
    if (!CatchUp(until)) break;
    taken = Take(only_from, message);
  }
  return taken;
}

void ReceiverImpl::TellExpired() {
  control::Request request;
  const uint64_t expired = queue_->TakeExpired();
  if (is_inbox_) {
    request.set_expired(expired);
  } else if (remote()) {
    // It goes back, and its home finds out.
    return RingGate(reinterpret_cast<GateWord*>(memory_->carrier_gate.data()));
  } else {
    request.set_look_at_mailbox(destination_id_);
  }
  process_->connection().Tell(request);
}

ReceiverImpl::Taken ReceiverImpl::TakeLease(Message* message) {
  Lease lease;
  const Taken taken = leasing_->TakeLease(control(), &lease, message);
  if (taken == Taken::kMessage) {
    MessageAccess::Lease(std::make_unique<ProcessLease>(process_->shared_from_this(),
                                                        destination_id_, memory_, lease),
                         message);
  }
  return taken;
}

ReceiverImpl::Got ReceiverImpl::LookInTurn(const ProcessId* only_from, absl::Time deadline,
                                           Message* message) {
  absl::MutexLock lock(&watch_mutex_);
  const Got got = Try(only_from, deadline, message);
  // The watcher goes on waiting for more.
  if (got == Got::kMessage) SetWanted(wanted_, /*taken=*/true);
  return got;
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

absl::Status ReceiverImpl::Receive(const ProcessId* only_from, absl::Time deadline,
                                   Message* message) {
  if (absl::Status status = process_->CheckUsable(); ABSL_PREDICT_FALSE(!status.ok())) {
    return status;
  }
  if (ABSL_PREDICT_FALSE(only_from != nullptr && !is_inbox_)) {
    return absl::FailedPreconditionError("ReceiveFrom is for inboxes");
  }
  const Got got = Look(only_from, deadline, message);
  if (ABSL_PREDICT_TRUE(got == Got::kMessage && !remote())) {
    resting_.OnMessage();
    return absl::OkStatus();
  }
  return Finish(got, only_from, deadline, message);
}

absl::Status ReceiverImpl::Finish(Got got, const ProcessId* only_from, absl::Time deadline,
                                  Message* message) {
  const bool asks = remote() && !watched_;
  if (ABSL_PREDICT_FALSE(queue_->found_expired())) TellExpired();
  if (got == Got::kNothing && deadline != absl::InfinitePast() && wait_mode_ != WaitMode::kBlock) {
    // Before anything that takes time: what is awaited is often on its way already.
    Rest(resting_.Rests());
    got = LookSometimes(only_from, deadline, message);
  }
  if (got == Got::kNothing) {
    if (watched_) Unsignal();
    if (absl::Status status = EndStatus(only_from); !status.ok()) return status;
    if (asks && deadline < absl::Now() + kRemoteTry) deadline = absl::Now() + kRemoteTry;
    if (deadline == absl::InfinitePast() || deadline <= absl::Now()) return nothing_;
    if (asks) SetWanted(true);
    got = Wait(only_from, deadline, message);
  }
  if (asks) SetWanted(false);
  switch (got) {
    case Got::kMessage:
      return absl::OkStatus();
    case Got::kNothing:
      return nothing_;
    case Got::kFailure:
      break;
  }
  return std::exchange(failure_, absl::OkStatus());
}

FutexWord ReceiverImpl::Announce() {
  // Read before: the agent changes it after the right.
  const uint32_t rings = control().rings.load();
  if (queue_->MayTake(control())) return parker_.Park();
  return {&control().rings, rings};
}

ReceiverImpl::Got ReceiverImpl::Sleep(const ProcessId* only_from, absl::Time deadline,
                                      Message* message) {
  FutexWord word;
  {
    absl::optional<absl::MutexLock> lock;
    if (watched_) lock.emplace(&watch_mutex_);
    queue_->Flush();
    word = Announce();
  }
  const Got got = Look(only_from, deadline, message);
  const absl::Duration left = deadline - absl::Now();
  if (got == Got::kNothing && left > absl::ZeroDuration() && wait_mode_ != WaitMode::kSpin) {
    FutexWait(word.word, word.expected, std::min(left, parker_.LookAgainAfter()));
  }
  // With a watcher, this is not the only one who parks.
  if (!watched_) parker_.Unpark(/*sole=*/is_inbox_);
  return got;
}

ReceiverImpl::Got ReceiverImpl::LookSometimes(const ProcessId* only_from, absl::Time deadline,
                                              Message* message) {
  for (int looks = 0; looks < kLooksBetweenTimes; ++looks) {
    const Got got = Look(only_from, deadline, message);
    if (got != Got::kNothing) return got;
    if (wait_mode_ != WaitMode::kSpin) SpinPause();
  }
  return Got::kNothing;
}

ReceiverImpl::Got ReceiverImpl::Spin(const ProcessId* only_from, absl::Time until,
                                     absl::Time deadline, Message* message) {
  Got got = Got::kNothing;
  do {
    got = LookSometimes(only_from, deadline, message);
  } while (got == Got::kNothing && absl::Now() < until);
  return got;
}

ReceiverImpl::Got ReceiverImpl::Wait(const ProcessId* only_from, absl::Time deadline,
                                     Message* message) {
  bool spin =
      wait_mode_ == WaitMode::kSpin || (wait_mode_ == WaitMode::kAdaptive && adaptive_spin_.Pays());
  while (true) {
    if (spin) {
      const absl::Duration time = wait_mode_ == WaitMode::kSpin ? kLookAgain : kSpin;
      const Got got = Spin(only_from, std::min(deadline, absl::Now() + time), deadline, message);
      if (got != Got::kNothing) {
        adaptive_spin_.Succeeded();
        return got;
      }
      adaptive_spin_.Failed();
    }
    Got got = Sleep(only_from, deadline, message);
    if (got != Got::kNothing) return got;
    // Woken, or time for the look that a lost ring, a death or a new agent may need.
    got = Look(only_from, deadline, message);
    if (got != Got::kNothing) return got;
    process_->connection().ReadNotices();
    if (absl::Status status = EndStatus(only_from); !status.ok()) return Fail(std::move(status));
    if (absl::Now() >= deadline) return Got::kNothing;
    spin = wait_mode_ == WaitMode::kSpin;
  }
}

bool ReceiverImpl::Ready() {
  absl::optional<absl::MutexLock> lock;
  if (watched_) lock.emplace(&watch_mutex_);
  return MayReturn();
}

void ReceiverImpl::TakeOver() {
  const uint32_t version = control().members_version.load();
  if (version == taken_over_) return;
  process_->connection().ReadNotices();
  if (!queue_->ReadUpTo(control())) return;
  if (is_inbox_) {
    static_cast<InboxQueue&>(*queue_).TakeOverChanges();
  } else {
    static_cast<MailboxQueue&>(*queue_).TakeOverChanges();
  }
  taken_over_ = version;
}

bool ReceiverImpl::MayReturn() {
  TakeOver();
  return queue_->MayHave(control()) || process_->gone() || !process_->connection().connected();
}

FutexWord ReceiverImpl::Park(absl::Duration* longest) {
  absl::optional<absl::MutexLock> lock;
  if (watched_) lock.emplace(&watch_mutex_);
  queue_->Flush();
  SetWanted(true);
  const FutexWord word = Announce();
  *longest = std::min(*longest, parker_.LookAgainAfter());
  return word;
}

void ReceiverImpl::Join() {
  absl::MutexLock lock(&watch_mutex_);
  ++sets_;
  watched_ = true;
  SetWanted(true);
}

void ReceiverImpl::Leave() {
  absl::MutexLock lock(&watch_mutex_);
  if (--sets_ > 0 || event_.valid()) return;
  watched_ = false;
  SetWanted(false);
}

void ReceiverImpl::Unpark(bool keep_wanted) {
  if (!keep_wanted && !watched_) SetWanted(false);
}

absl::StatusOr<int> ReceiverImpl::Descriptor() {
  if (absl::Status status = process_->CheckUsable(); !status.ok()) return status;
  if (event_.valid()) return event_.get();
  Fd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return absl::ErrnoToStatus(errno, "eventfd");
  {
    absl::MutexLock lock(&watch_mutex_);
    event_ = std::move(event);
    watched_ = true;
  }
  process_->watcher()->Add(this);
  return event_.get();
}

bool ReceiverImpl::SignalOrPark(FutexWord* word, absl::Duration* longest) {
  absl::MutexLock lock(&watch_mutex_);
  if (signaled_) return true;
  *word = Announce();
  *longest = std::min(*longest, parker_.LookAgainAfter());
  SetWanted(true);
  if (!MayReturn()) return false;
  const uint64_t one = 1;
  while (write(event_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  signaled_ = true;
  return true;
}

}  // namespace mailrail::internal
