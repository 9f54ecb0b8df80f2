#include "core/process/calls.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/coarse_clock.h"
#include "core/message/message_access.h"
#include "core/process/grants.h"
#include "core/process/process_impl.h"
#include "core/process/receiver_impl.h"
#include "core/process/sender_impl.h"

namespace mailrail::internal {
namespace {

// How often a caller looks whether its request can still be answered: nobody wakes it when not.
constexpr absl::Duration kLookAgain = absl::Milliseconds(20);

// What was answered before the end is on its way; so long it may take to be here.
constexpr absl::Duration kLastAnswer = absl::Milliseconds(100);

constexpr uint32_t kAnswersOfASender = 4096;

// Longer is for ever.
constexpr absl::Duration kLongestWait = absl::Hours(24 * 365 * 100);

}  // namespace

absl::Status Calls::Open(absl::Time deadline) {
  if (answers_ != nullptr) return absl::OkStatus();
  const std::string name = ReplyMailboxOf(process_->id());
  MailboxOptions options;
  options.owned = true;
  options.capacity_messages = kAnswersOfASender;
  // Who answers is not held up by a caller that does not listen.
  options.when_full = FullPolicy::kReject;
  control::Request request;
  request.mutable_create_mailbox()->set_name(name);
  ToProto(options, request.mutable_create_mailbox()->mutable_spec());
  const absl::Status created = process_->Call(std::move(request), deadline).status();
  // It is there when it could not be opened the last time.
  if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
  absl::StatusOr<ProcessImpl::OpenedMailbox> opened =
      process_->OpenMailbox(name, /*leases=*/false, deadline);
  if (!opened.ok()) return opened.status();
  reply_to_ = absl::StrCat(name, "@", process_->id().node());
  answers_ = ReceiverAccess::Make(
      std::make_unique<ReceiverImpl>(process_, nullptr, "answers", opened->destination_id,
                                     opened->queue, std::move(opened->memory), /*is_inbox=*/false));
  return absl::OkStatus();
}

absl::StatusOr<Message> Calls::Call(OutgoingLane* lane, absl::string_view body, SendOptions options,
                                    absl::Time deadline) {
  if (!options.reply_to.empty()) {
    return absl::InvalidArgumentError("the answer to a call comes to its caller");
  }
  if (options.receipt != 0) {
    return absl::InvalidArgumentError("the answer to a call is its receipt");
  }
  if (lane->receivers() == 0u) {
    return absl::UnavailableError(absl::StrCat("nobody receives from ", lane->name()));
  }
  if (deadline <= absl::Now()) return absl::DeadlineExceededError("no time to call");

  Waiting waiting;
  CallOptions call;
  {
    absl::MutexLock lock(&mutex_);
    if (absl::Status status = Open(deadline); !status.ok()) return status;
    options.reply_to = reply_to_;
    call.call = ++last_call_;
    waiting_[call.call] = &waiting;
  }
  // Nobody is to work for a caller that has given up. In this order of the clocks it is no later.
  const int64_t now_ns = MonotonicTime();
  const absl::Duration left = std::min(deadline - absl::Now(), kLongestWait);
  if (left < kLongestWait) {
    call.expires_ns = now_ns + std::max<int64_t>(absl::ToInt64Nanoseconds(left), 0);
  }
  const absl::Status sent = SendWithOptions(process_, lane, body, options, call, deadline);
  absl::MutexLock lock(&mutex_);
  absl::StatusOr<Message> answer = sent.ok() ? Await(*lane, &waiting, deadline) : sent;
  waiting_.erase(call.call);
  HandOver();
  return answer;
}

absl::StatusOr<Message> Calls::Await(const OutgoingLane& lane, Waiting* waiting,
                                     absl::Time deadline) {
  absl::Time give_up = absl::InfiniteFuture();
  absl::Status why;
  while (!waiting->answer.has_value()) {
    const absl::Time now = absl::Now();
    if (now >= give_up) return why;
    if (now >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat(lane.name(), " gave no answer in time"));
    }
    if (give_up == absl::InfiniteFuture()) {
      why = lane.closed_status();
      if (!why.ok()) give_up = now + kLastAnswer;
    }
    const absl::Time until = std::min({deadline, give_up, now + kLookAgain});
    if (receiving_) {
      waiting->wake.WaitWithDeadline(&mutex_, until);
      continue;
    }
    if (absl::Status status = ReceiveOne(until); !status.ok()) return status;
  }
  return *std::move(waiting->answer);
}

absl::Status Calls::ReceiveOne(absl::Time deadline) {
  if (answers_ == nullptr) return absl::UnavailableError("the mailbox for answers was destroyed");
  receiving_ = true;
  Receiver* const answers = answers_.get();
  mutex_.Unlock();
  absl::StatusOr<Message> answer = answers->Receive(deadline);
  mutex_.Lock();
  receiving_ = false;
  if (answer.ok()) {
    // One that comes too late, or once more, is for nobody.
    const auto waiting = waiting_.find(MessageAccess::CallOf(*answer));
    if (waiting == waiting_.end() || waiting->second->answer.has_value()) return absl::OkStatus();
    waiting->second->answer = *std::move(answer);
    waiting->second->wake.Signal();
    return absl::OkStatus();
  }
  if (absl::IsDeadlineExceeded(answer.status()) || absl::IsDataLoss(answer.status())) {
    return absl::OkStatus();
  }
  // The next call makes another one.
  if (absl::IsUnavailable(answer.status())) answers_.reset();
  return answer.status();
}

void Calls::HandOver() {
  if (receiving_) return;
  for (const auto& [call, waiting] : waiting_) {
    if (!waiting->answer.has_value()) return waiting->wake.Signal();
  }
}

}  // namespace mailrail::internal
