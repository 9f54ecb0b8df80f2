#include "core/queue/queue_notifier.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mailrail::internal {
namespace {

constexpr uint64_t kQueue = 1;  // the only member of the set

}  // namespace

QueueNotifier::QueueNotifier(Process* process, Receiver receiver, std::string registration)
    : process_(process),
      registration_(std::move(registration)),
      receiver_(std::move(receiver)),
      set_(*process),
      thread_([this] { Run(); }) {}

QueueNotifier::~QueueNotifier() {
  Cancel();
  {
    absl::MutexLock lock(&mutex_);
    state_ = State::kStopped;
  }
  set_.Wake();
  thread_.join();
}

void QueueNotifier::AwaitChange() {
  mutex_.Await(absl::Condition(
      +[](State* state) { return *state != State::kChanging; }, &state_));
}

absl::Status QueueNotifier::Register(std::function<void()> callback) {
  absl::MutexLock lock(&mutex_);
  AwaitChange();
  if (state_ == State::kRegistered) {
    return absl::AlreadyExistsError("this message queue is registered already");
  }
  if (absl::Status status = Claim(); !status.ok()) return status;
  callback_ = std::move(callback);
  state_ = State::kRegistered;
  return absl::OkStatus();
}

absl::Status QueueNotifier::Claim() {
  if (owns_) return absl::OkStatus();
  state_ = State::kChanging;
  mutex_.Unlock();
  const absl::Status made =
      process_->CreateMailbox(registration_, {.capacity_messages = 1, .owned = true});
  mutex_.Lock();
  state_ = State::kFree;
  owns_ = made.ok();
  if (!absl::IsAlreadyExists(made)) return made;
  return absl::AlreadyExistsError(
      absl::StrCat("a process is registered for this queue: the owner of mailbox ", registration_));
}

std::function<void()> QueueNotifier::Release() {
  std::function<void()> callback = std::exchange(callback_, nullptr);
  state_ = State::kChanging;
  mutex_.Unlock();
  const absl::Status destroyed = process_->DestroyMailbox(registration_);
  mutex_.Lock();
  state_ = State::kFree;
  // Else it is tried again; without this process it is gone.
  owns_ = !destroyed.ok() && !absl::IsNotFound(destroyed);
  return callback;
}

void QueueNotifier::Cancel() {
  const bool from_callback = std::this_thread::get_id() == thread_.get_id();
  absl::MutexLock lock(&mutex_);
  while (true) {
    AwaitChange();
    if (state_ == State::kRegistered || owns_) Release();
    set_.Wake();
    if (from_callback || !calling_) return;
    // It may register again.
    mutex_.Await(absl::Condition(
        +[](bool* calling) { return !*calling; }, &calling_));
  }
}

bool QueueNotifier::AwaitRegistration() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(
      +[](State* state) { return *state == State::kRegistered || *state == State::kStopped; },
      &state_));
  return state_ == State::kRegistered;
}

bool QueueNotifier::registered() {
  absl::MutexLock lock(&mutex_);
  return state_ == State::kRegistered;
}

void QueueNotifier::Call() {
  std::function<void()> callback;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ != State::kRegistered) return;
    calling_ = true;
    callback = Release();
  }
  callback();
  absl::MutexLock lock(&mutex_);
  calling_ = false;
}

void QueueNotifier::Run() {
  while (AwaitRegistration()) {
    set_.Add(kQueue, receiver_).IgnoreError();  // it is of this Process, and no member yet
    while (registered()) {
      if (set_.Wait().ok()) Call();
    }
    // Only now: what was fetched ahead for this process from another node stays while it is called.
    set_.Remove(kQueue).IgnoreError();
  }
}

}  // namespace mailrail::internal
