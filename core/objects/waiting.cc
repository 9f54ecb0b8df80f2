#include "core/objects/waiting.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/shm/adaptive_spin.h"

namespace mailrail::internal {
namespace {

// So often it looks before it sleeps: some microseconds.
constexpr int kLooks = 200;
constexpr absl::Duration kTellAfter = absl::Milliseconds(10);
constexpr absl::Duration kTellAgain = absl::Seconds(1);
// How long an agent that does not answer holds a wait up.
constexpr absl::Duration kAgentAnswers = absl::Milliseconds(50);

AdaptiveSpin& SpinOfThread() {
  thread_local AdaptiveSpin spin;
  return spin;
}

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Waiting::~Waiting() {
  if (looks_ > 0) looks_ < kLooks ? SpinOfThread().Succeeded() : SpinOfThread().Failed();
  if (!registered_) return;
  control::Request request;
  request.set_wait_ended(object_->ThisThread().thread);
  AgentConnection& connection = object_->process().connection();
  if (!answers_) {
    connection.Tell(request);
    return;
  }
  // An answer, so that it is known to be over: from here on this thread may get what others wait
  // for.
  connection.Call(std::move(request), absl::Now() + kAgentAnswers, {}, absl::ZeroDuration())
      .IgnoreError();
}

bool Waiting::Spin() {
  if (deadline_ == absl::InfinitePast()) return false;
  if (looks_ == 0 && !SpinOfThread().Pays()) return false;
  if (looks_ >= kLooks) return false;
  ++looks_;
  Pause();
  return true;
}

absl::Status Waiting::TellAgent(absl::Time now) {
  tell_at_ = now + kTellAgain;
  control::Request request;
  control::WaitForObject* const wait = request.mutable_wait_for_object();
  wait->set_object_id(object_->id());
  wait->set_thread(object_->ThisThread().thread);
  wait->set_shared(shared_);
  wait->set_must(told_ == Told::kMust);
  registered_ = true;
  const absl::Status status =
      object_->process()
          .connection()
          .Call(std::move(request), std::min(now + kAgentAnswers, deadline_), {},
                absl::ZeroDuration())
          .status();
  answers_ = !absl::IsDeadlineExceeded(status);
  if (absl::IsFailedPrecondition(status) || absl::IsAborted(status)) return status;
  // Without an agent waits go on. That it was destroyed its memory says.
  return absl::OkStatus();
}

absl::Status Waiting::Sleep(FutexWord word) {
  if (deadline_ == absl::InfinitePast()) {
    return absl::DeadlineExceededError(
        absl::StrCat("'", object_->name(), "' is not to be had now"));
  }
  const absl::Time now = absl::Now();
  if (now >= deadline_) {
    return absl::DeadlineExceededError(
        absl::StrCat("'", object_->name(), "' was not to be had until the deadline"));
  }
  if (!has_slept_) {
    has_slept_ = true;
    checked_ = now;
    tell_at_ = told_ != Told::kNothing ? now + kTellAfter : absl::InfiniteFuture();
  } else if (now - checked_ >= kLookAgain) {
    if (absl::Status status = object_->process().Check(); !status.ok()) return status;
    checked_ = now;
  }
  if (now >= tell_at_) {
    if (absl::Status status = TellAgent(now); !status.ok()) return status;
  }
  FutexWait(word.word, word.expected, std::min({kLookAgain, deadline_ - now, tell_at_ - now}));
  return absl::OkStatus();
}

}  // namespace mailrail::internal
