#include "core/objects/far_calls.h"

#include <algorithm>
#include <atomic>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/objects/thread_number.h"

namespace mailrail::internal {
namespace {

// How long the home is waited for with what does not wait there.
constexpr absl::Duration kAnswers = absl::Seconds(2);
// A longer wait is asked for in parts, so that one whose home is cut off ends.
constexpr absl::Duration kLongestPart = absl::Seconds(30);
constexpr uint32_t kNoPlace = ~0u;

// Two for each call: the second one is of what undoes it.
uint64_t NewTicket() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(2) + 2;
}

bool Waits(SyncOp op) {
  return op == SyncOp::kLock || op == SyncOp::kLockShared || op == SyncOp::kAcquire ||
         op == SyncOp::kArrive || op == SyncOp::kPass || op == SyncOp::kAwaitNotify;
}

}  // namespace

absl::Status FarCalls::Destroyed() const {
  return absl::UnavailableError(absl::StrCat("'", name_, "' was destroyed"));
}

absl::Status FarCalls::Lost() const {
  return absl::AbortedError(
      absl::StrCat("'", name_, "' was lost: its node was not reached for too long"));
}

void FarCalls::OnLost() {
  absl::MutexLock lock(&mutex_);
  ++losses_;
  for (auto& [holder, held] : held_) held.lost = true;
}

void FarCalls::Undo(const proto::ObjectOp& op) {
  const SyncOp undo = SyncCall::Undo(static_cast<SyncOp>(op.op()));
  if (undo == SyncOp::kNone) return;
  control::Request request;
  *request.mutable_settle_object() = op;
  request.mutable_settle_object()->set_op(static_cast<proto::SyncOp>(undo));
  request.mutable_settle_object()->set_ticket(op.ticket() + 1);
  process_->connection().Tell(request);
}

absl::StatusOr<proto::ObjectResult> FarCalls::AskOnce(const proto::ObjectOp& op,
                                                      absl::Time deadline) {
  control::Request request;
  *request.mutable_object_op() = op;
  absl::StatusOr<AgentReply> reply = process_->Call(std::move(request), deadline);
  if (reply.ok()) return std::move(*reply->response.mutable_object_result());
  if (absl::IsNotFound(reply.status())) return Destroyed();
  // Perhaps the agent has not answered, and so does not know that nobody waits for it any more.
  if (absl::IsDeadlineExceeded(reply.status())) Undo(op);
  return reply.status();
}

absl::StatusOr<proto::ObjectResult> FarCalls::Ask(SyncOp op, uint32_t holder, absl::Time deadline,
                                                  bool must, FarPlace place) {
  proto::ObjectOp request;
  request.set_object_id(id_);
  request.set_holder(holder);
  request.set_op(static_cast<proto::SyncOp>(op));
  request.set_place(place.place);
  request.set_generation(place.generation);
  request.set_must(must);
  while (true) {
    request.set_ticket(NewTicket());
    const absl::Time now = absl::Now();
    const bool waits = Waits(op) && deadline > now;
    const absl::Duration part = waits ? std::min(deadline - now, kLongestPart) : kAnswers;
    if (waits) {
      request.set_wait_ms(static_cast<uint64_t>(
          std::max<int64_t>(1, absl::ToInt64Milliseconds(part + absl::Microseconds(999)))));
    }
    // The answer to a wait is on its way for a while.
    const absl::Time answer_by = waits ? std::min(deadline, now + part + kAnswers) : now + part;
    absl::StatusOr<proto::ObjectResult> result = AskOnce(request, answer_by);
    if (absl::IsDeadlineExceeded(result.status()) && (!waits || absl::Now() < deadline)) {
      return absl::UnavailableError(result.status().message());
    }
    if (!result.ok() || result->had()) return result;
    if (!waits || absl::Now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat(
          "'", name_, waits ? "' was not to be had until the deadline" : "' is not to be had now"));
    }
  }
}

absl::StatusOr<proto::ObjectResult> FarCalls::Get(SyncOp op, uint32_t holder, bool must,
                                                  absl::Time deadline) {
  process_->connection().ReadNotices();
  uint64_t losses = 0;
  {
    absl::MutexLock lock(&mutex_);
    losses = losses_;
    // What was lost is nobody's any more.
    const auto held = held_.find(holder);
    if (held != held_.end() && !held->second.lost) {
      return absl::FailedPreconditionError(absl::StrCat("this thread has '", name_, "' already"));
    }
  }
  absl::StatusOr<proto::ObjectResult> result = Ask(op, holder, deadline, must);
  if (!result.ok()) return result;
  {
    absl::MutexLock lock(&mutex_);
    if (losses == losses_) {
      held_[holder] = {op == SyncOp::kLockShared, false};
      return result;
    }
  }
  // It may be had after that, or have been lost with the rest.
  AskNow(SyncCall::Undo(op), holder).IgnoreError();
  return absl::UnavailableError(absl::StrCat("the node of '", name_, "' was not reached"));
}

uint64_t FarCalls::Losses() {
  absl::MutexLock lock(&mutex_);
  return losses_;
}

absl::Status FarCalls::GiveBack(SyncOp op, uint32_t holder) {
  // That it is lost may be there to be read.
  process_->connection().ReadNotices();
  uint64_t losses = 0;
  {
    absl::MutexLock lock(&mutex_);
    const auto held = held_.find(holder);
    if (held == held_.end() || held->second.shared != (op == SyncOp::kUnlockShared)) {
      return absl::FailedPreconditionError(absl::StrCat("this thread does not have '", name_, "'"));
    }
    const bool lost = held->second.lost;
    held_.erase(held);
    if (lost) return Lost();
    losses = losses_;
  }
  const absl::Status status = AskNow(op, holder).status();
  {
    absl::MutexLock lock(&mutex_);
    if (!status.ok() && losses != losses_) return Lost();
  }
  // A destroyed one is not to be given back.
  return status == Destroyed() ? absl::OkStatus() : status;
}

absl::StatusOr<Grant> FarCalls::Lock(SyncOp lock, bool must, absl::Time deadline) {
  const absl::StatusOr<proto::ObjectResult> result = Get(lock, ThreadNumber(), must, deadline);
  if (!result.ok()) return result.status();
  return Grant{result->fence(), result->owner_died()};
}

absl::Status FarCalls::Unlock(SyncOp unlock) { return GiveBack(unlock, ThreadNumber()); }

bool FarCalls::HeldBy(uint32_t holder) {
  process_->connection().ReadNotices();
  if (!process_->connection().connected()) return false;
  absl::MutexLock lock(&mutex_);
  const auto held = held_.find(holder);
  return held != held_.end() && !held->second.lost;
}

uint32_t FarCalls::NewPermit() {
  absl::MutexLock lock(&mutex_);
  if (free_permits_.empty()) return ++last_permit_;
  const uint32_t permit = *free_permits_.begin();
  free_permits_.erase(free_permits_.begin());
  return permit;
}

void FarCalls::FreePermit(uint32_t holder) {
  absl::MutexLock lock(&mutex_);
  free_permits_.insert(holder);
}

absl::StatusOr<FarCalls::Permit> FarCalls::Acquire(absl::Time deadline) {
  const uint32_t holder = NewPermit();
  const absl::StatusOr<proto::ObjectResult> result =
      Get(SyncOp::kAcquire, holder, /*must=*/false, deadline);
  if (!result.ok()) {
    FreePermit(holder);
    return result.status();
  }
  return Permit{holder, result->fence()};
}

absl::Status FarCalls::Release(uint32_t holder) {
  const absl::Cleanup free = [&] { FreePermit(holder); };
  return GiveBack(SyncOp::kRelease, holder);
}

absl::Status FarCalls::UseUp(absl::Time deadline) {
  const uint32_t holder = NewPermit();
  const absl::Cleanup free = [&] { FreePermit(holder); };
  const uint64_t losses = Losses();
  absl::Status status = Ask(SyncOp::kAcquire, holder, deadline).status();
  if (status.ok()) status = AskNow(SyncOp::kConsume, holder).status();
  if (losses == Losses()) return status;
  AskNow(SyncOp::kRelease, holder).IgnoreError();
  return absl::UnavailableError(absl::StrCat("the node of '", name_, "' was not reached"));
}

absl::Status FarCalls::Add() {
  const uint32_t holder = NewPermit();
  const absl::Cleanup free = [&] { FreePermit(holder); };
  const absl::Status status = AskNow(SyncOp::kReserve, holder).status();
  return status.ok() ? AskNow(SyncOp::kRelease, holder).status() : status;
}

absl::StatusOr<uint32_t> FarCalls::Pass(absl::Time deadline) {
  const uint32_t me = ThreadNumber();
  const uint64_t losses = Losses();
  const absl::StatusOr<proto::ObjectResult> run = AskNow(SyncOp::kReadValue, me);
  if (!run.ok()) return run.status();
  const absl::StatusOr<proto::ObjectResult> arrived =
      Ask(SyncOp::kArrive, me, deadline, /*must=*/false, {kNoPlace, run->generation()});
  if (!arrived.ok()) return arrived.status();
  const FarPlace place = {arrived->place(), arrived->generation()};
  const absl::Status passed = Ask(SyncOp::kPass, me, deadline, /*must=*/false, place).status();
  // Whose place was taken away has not passed when the others have.
  if (passed.ok() && losses == Losses()) return place.generation;
  const absl::StatusOr<proto::ObjectResult> left = AskNow(SyncOp::kLeave, me, place);
  if (losses != Losses()) return Lost();
  if (left.ok() && left->value() == 1) return place.generation;
  return passed;
}

absl::StatusOr<bool> FarCalls::AwaitNotify(const std::function<absl::Status()>& unlock,
                                           absl::Time deadline, absl::Status* why) {
  const uint32_t me = ThreadNumber();
  const absl::StatusOr<proto::ObjectResult> enlisted = AskNow(SyncOp::kEnlist, me);
  if (!enlisted.ok()) return enlisted.status();
  const FarPlace place = {enlisted->place(), 0};
  if (absl::Status status = unlock(); !status.ok()) {
    const absl::StatusOr<proto::ObjectResult> left = AskNow(SyncOp::kDelist, me, place);
    // Handed on, if it was notified.
    if (left.ok() && left->value() == 1) Notify(SyncOp::kNotifyOne).IgnoreError();
    return status;
  }
  *why = Ask(SyncOp::kAwaitNotify, me, deadline, /*must=*/false, place).status();
  const absl::StatusOr<proto::ObjectResult> left = AskNow(SyncOp::kDelist, me, place);
  return why->ok() || (left.ok() && left->value() == 1);
}

absl::Status FarCalls::Notify(SyncOp notify) { return AskNow(notify, ThreadNumber()).status(); }

uint32_t FarCalls::Value() {
  const absl::StatusOr<proto::ObjectResult> result = AskNow(SyncOp::kReadValue, ThreadNumber());
  return result.ok() ? result->value() : 0;
}

}  // namespace mailrail::internal
