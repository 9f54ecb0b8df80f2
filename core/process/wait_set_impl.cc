#include "core/process/wait_set_impl.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace mailrail::internal {
namespace {

// Who waits sleeps on one word more, the set's own.
constexpr size_t kMostWithoutThreads = kMaxFutexWords - 1;

}  // namespace

WaitSetImpl::~WaitSetImpl() {
  // In a forked child whoever held a lock does not exist.
  if (!process_->CheckUsable().ok()) return;
  absl::MutexLock change(&change_mutex_);
  std::vector<Member*> watched;
  {
    absl::MutexLock lock(&mutex_);
    for (Member* member : order_) {
      if (member->watched) watched.push_back(member);
    }
  }
  for (Member* member : watched) process_->watcher()->Remove(member);
  absl::MutexLock lock(&mutex_);
  for (Member* member : order_) {
    if (member->waitable != nullptr) member->waitable->Leave();
  }
}

absl::Status WaitSetImpl::Insert(std::unique_ptr<Member> member) {
  member->set = this;
  Member* const added = member.get();
  if (!members_.try_emplace(added->key, std::move(member)).second) {
    return absl::AlreadyExistsError(absl::StrCat("a member has the key ", added->key));
  }
  order_.push_back(added);
  return absl::OkStatus();
}

absl::Status WaitSetImpl::Add(uint64_t key, Waitable* waitable) {
  auto member = std::make_unique<Member>();
  member->key = key;
  member->waitable = waitable;
  return AddMember(std::move(member));
}

absl::Status WaitSetImpl::Add(uint64_t key, std::unique_ptr<Waitable> waitable) {
  auto member = std::make_unique<Member>();
  member->key = key;
  member->waitable = waitable.get();
  member->owned = std::move(waitable);
  return AddMember(std::move(member));
}

absl::Status WaitSetImpl::AddMember(std::unique_ptr<Member> member) {
  if (absl::Status status = process_->CheckUsable(); !status.ok()) return status;
  Waitable* const waitable = member->waitable;
  absl::MutexLock change(&change_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    if (absl::Status status = Insert(std::move(member)); !status.ok()) return status;
    waitable->Join();
    threads_ |= ++waitables_ > kMostWithoutThreads;
    Changed();
  }
  WatchAll();
  return absl::OkStatus();
}

absl::Status WaitSetImpl::AddTimer(uint64_t key, absl::Time time, absl::Duration period) {
  if (absl::Status status = process_->CheckUsable(); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  auto member = std::make_unique<Member>();
  member->key = key;
  // Times long past are all alike, and their distance to now is a number.
  member->due = std::max(time, absl::UnixEpoch());
  member->period = period;
  if (absl::Status status = Insert(std::move(member)); !status.ok()) return status;
  Arm();
  Changed();
  return absl::OkStatus();
}

void WaitSetImpl::Erase(Member* member) {
  const auto at = std::find(order_.begin(), order_.end(), member);
  if (static_cast<size_t>(at - order_.begin()) < turn_) --turn_;
  order_.erase(at);
  members_.erase(member->key);
}

absl::Status WaitSetImpl::Remove(uint64_t key) {
  if (absl::Status status = process_->CheckUsable(); !status.ok()) return status;
  std::unique_ptr<Waitable> owned;  // which tells the agent, after the locks, that it goes
  absl::MutexLock change(&change_mutex_);
  Member* member = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = members_.find(key);
    if (found == members_.end()) {
      return absl::NotFoundError(absl::StrCat("no member has the key ", key));
    }
    member = found->second.get();
    if (member->waitable == nullptr) {
      Erase(member);
      Arm();
      return absl::OkStatus();
    }
  }
  // It stays, since only this removes such members. Without the lock, which its thread may want.
  if (member->watched) process_->watcher()->Remove(member);
  absl::MutexLock lock(&mutex_);
  owned = std::move(member->owned);
  Waitable* const waitable = member->waitable;
  Erase(member);
  --waitables_;
  waitable->Leave();
  // Whoever sleeps for it does so no more.
  Changed();
  return absl::OkStatus();
}

size_t WaitSetImpl::size() const {
  absl::MutexLock lock(&mutex_);
  return order_.size();
}

bool WaitSetImpl::IsReady(const Member& member, absl::Time now) {
  return member.waitable != nullptr ? member.waitable->Ready() : member.due <= now;
}

bool WaitSetImpl::AnyReady() {
  const absl::Time now = absl::Now();
  return std::any_of(order_.begin(), order_.end(),
                     [&](const Member* member)
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return IsReady(*member, now); });
}

size_t WaitSetImpl::TakeReady(absl::Span<uint64_t> keys) {
  const absl::Time now = absl::Now();
  const size_t members = order_.size();
  std::vector<Member*> expired;
  size_t count = 0;
  size_t next = turn_ < members ? turn_ : 0;
  for (size_t looked = 0; looked < members && count < keys.size(); ++looked) {
    Member* const member = order_[next];
    next = next + 1 < members ? next + 1 : 0;
    if (!IsReady(*member, now)) continue;
    keys[count++] = member->key;
    turn_ = next;
    member->waitable != nullptr ? member->waitable->Told() : expired.push_back(member);
  }
  for (Member* timer : expired) Expire(timer, now);
  if (!expired.empty()) Arm();
  return count;
}

void WaitSetImpl::Expire(Member* timer, absl::Time now) {
  if (timer->period <= absl::ZeroDuration()) return Erase(timer);
  absl::Duration since = now - timer->due;
  const int64_t missed = absl::IDivDuration(since, timer->period, &since);
  timer->due += (missed + 1) * timer->period;
}

absl::Time WaitSetImpl::NextDue() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Member* member : order_) {
    if (member->waitable == nullptr) next = std::min(next, member->due);
  }
  return next;
}

void WaitSetImpl::Arm() {
  if (!timer_.valid()) return;
  itimerspec when = {};  // none
  const absl::Time next = NextDue();
  if (next != absl::InfiniteFuture()) {
    when.it_value = absl::ToTimespec(std::max(next, absl::UnixEpoch() + absl::Nanoseconds(1)));
  }
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void WaitSetImpl::Changed() {
  changes_.fetch_add(1);
  FutexWakeAll(&changes_);
}

void WaitSetImpl::Signal() {
  if (std::exchange(signaled_, true)) return;
  const uint64_t one = 1;
  while (event_.valid() && write(event_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  Changed();
}

void WaitSetImpl::Unsignal() {
  if (!std::exchange(signaled_, false)) return;
  uint64_t count;
  while (event_.valid() && read(event_.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
  }
  if (threads_) process_->watcher()->Wake();
}

bool WaitSetImpl::SignalOrPark(Member* member, FutexWord* word, absl::Duration* longest) {
  absl::MutexLock lock(&mutex_);
  if (signaled_) return true;
  *word = member->waitable->Park(longest);
  if (!member->waitable->Ready()) return false;
  Signal();
  return true;
}

void WaitSetImpl::WatchAll() {
  std::vector<Member*> members;
  {
    absl::MutexLock lock(&mutex_);
    if (!threads_) return;
    for (Member* member : order_) {
      if (member->waitable == nullptr || member->watched) continue;
      member->watched = true;
      members.push_back(member);
    }
  }
  for (Member* member : members) process_->watcher()->Add(member);
}

void WaitSetImpl::Wake() {
  if (!process_->CheckUsable().ok()) return;
  absl::MutexLock lock(&mutex_);
  woken_ = true;
  Signal();
  Changed();
}

void WaitSetImpl::Sleep(absl::Time deadline) {
  std::vector<FutexWord> words = {{&changes_, changes_.load()}};
  absl::Duration longest = std::min(deadline, NextDue()) - absl::Now();
  longest = std::min(longest, kLookAgain);
  if (threads_) {
    Unsignal();
  } else {
    for (Member* member : order_) {
      if (member->waitable != nullptr) words.push_back(member->waitable->Park(&longest));
    }
  }
  // What became ready before they were told to look, or before the park.
  if (woken_ || AnyReady()) return;
  mutex_.Unlock();
  if (longest > absl::ZeroDuration()) FutexWaitAny(words, longest);
  mutex_.Lock();
  if (woken_ || AnyReady()) return;
  mutex_.Unlock();
  process_->connection().ReadNotices();
  mutex_.Lock();
}

absl::StatusOr<size_t> WaitSetImpl::Wait(absl::Span<uint64_t> keys, absl::Time deadline) {
  if (absl::Status status = process_->CheckUsable(); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  if (waiting_) return absl::FailedPreconditionError("another thread waits for this set");
  waiting_ = true;
  const absl::Cleanup done = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { waiting_ = false; };
  while (true) {
    if (std::exchange(woken_, false)) return absl::CancelledError("the wait was ended by Wake");
    if (const size_t count = TakeReady(keys); count > 0) return count;
    if (deadline <= absl::Now()) {
      // What becomes ready from now on is signaled.
      Unsignal();
      return absl::DeadlineExceededError("no member is ready");
    }
    Sleep(deadline);
  }
}

absl::StatusOr<int> WaitSetImpl::Descriptor() {
  if (absl::Status status = process_->CheckUsable(); !status.ok()) return status;
  absl::MutexLock change(&change_mutex_);
  int descriptor = -1;
  {
    absl::MutexLock lock(&mutex_);
    if (epoll_.valid()) return epoll_.get();
    Fd epoll(epoll_create1(EPOLL_CLOEXEC));
    Fd event(eventfd(signaled_ ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK));
    Fd timer(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
    epoll_event readable = {.events = EPOLLIN, .data = {}};
    if (!epoll.valid() || !event.valid() || !timer.valid() ||
        epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.get(), &readable) != 0 ||
        epoll_ctl(epoll.get(), EPOLL_CTL_ADD, timer.get(), &readable) != 0) {
      return absl::ErrnoToStatus(errno, "a wait set's descriptor");
    }
    epoll_ = std::move(epoll);
    event_ = std::move(event);
    timer_ = std::move(timer);
    threads_ = true;
    descriptor = epoll_.get();
    Arm();
  }
  WatchAll();
  return descriptor;
}

}  // namespace mailrail::internal
