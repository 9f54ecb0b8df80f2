#include "core/process/receipts.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/mailbox/outcome.h"
#include "core/process/grants.h"
#include "core/process/process_impl.h"
#include "core/shm/futex.h"

namespace mailrail::internal {
namespace {

// How often a sender looks that waits for a receipt: whoever should have woken it may be stopped,
// and what another handle has found it is not woken for.
constexpr absl::Duration kLookAgain = absl::Milliseconds(20);

// How many names of numbers are remembered.
constexpr size_t kMostNames = 4096;

// How long the agent may take to say who has a number.
constexpr absl::Duration kAskForName = absl::Seconds(10);

bool IsDeadLetter(Receipt::Outcome outcome) {
  return outcome == Receipt::Outcome::kAttempts || outcome == Receipt::Outcome::kExpired ||
         outcome == Receipt::Outcome::kDropped;
}

}  // namespace

uint64_t Receipts::Ask(Asker asker, uint64_t receipt) {
  absl::MutexLock lock(&mutex_);
  pending_[++last_] = {asker, receipt};
  ++books_[asker].pending;
  return last_;
}

void Receipts::Withdraw(uint64_t number) {
  absl::MutexLock lock(&mutex_);
  const auto pending = pending_.find(number);
  if (pending == pending_.end()) return;
  --books_[pending->second.asker].pending;
  pending_.erase(pending);
}

void Receipts::ForgetAllOf(Asker asker) {
  absl::MutexLock lock(&mutex_);
  if (books_.erase(asker) == 0) return;
  absl::erase_if(pending_, [asker](const auto& entry) { return entry.second.asker == asker; });
}

void Receipts::Settle(uint64_t number, Ready ready) {
  const auto pending = pending_.find(number);
  // Of a handle that is no more; or it is told once more.
  if (pending == pending_.end()) return;
  Book& book = books_[pending->second.asker];
  ready.receipt.receipt = pending->second.receipt;
  --book.pending;
  book.ready.push_back(std::move(ready));
  pending_.erase(pending);
}

void Receipts::Collect(OutgoingLane* lane) {
  std::vector<CellEnd> ends;
  lane->TakeEnds(&ends);
  if (ends.empty()) return;
  absl::MutexLock lock(&mutex_);
  for (const CellEnd& end : ends) {
    Ready ready;
    ready.receipt.outcome = OutcomeOf(end);
    ready.owner = end.owner;
    Settle(end.receipt, std::move(ready));
  }
}

void Receipts::OnNotice(const control::Receipts& receipts) {
  absl::MutexLock lock(&mutex_);
  for (const proto::Receipt& told : receipts.receipts()) {
    Ready ready;
    // What a later version may say is not known here.
    if (told.outcome() <= static_cast<uint32_t>(Receipt::Outcome::kUnknown)) {
      ready.receipt.outcome = static_cast<Receipt::Outcome>(told.outcome());
    }
    ready.receipt.receiver = FromProto(told.receiver());
    Settle(told.receipt(), std::move(ready));
  }
}

void Receipts::GiveUp(Asker asker) {
  absl::MutexLock lock(&mutex_);
  std::vector<uint64_t> numbers;
  for (const auto& [number, pending] : pending_) {
    if (pending.asker == asker) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  for (const uint64_t number : numbers) Settle(number, Ready());
}

absl::StatusOr<absl::optional<Receipts::Ready>> Receipts::Take(Asker asker) {
  absl::MutexLock lock(&mutex_);
  const auto book = books_.find(asker);
  if (book == books_.end() || (book->second.pending == 0 && book->second.ready.empty())) {
    return absl::NotFoundError("no message was sent that a receipt is to come for");
  }
  if (book->second.ready.empty()) return absl::optional<Ready>();
  absl::optional<Ready> first = std::move(book->second.ready.front());
  book->second.ready.pop_front();
  return first;
}

bool Receipts::HasReady(Asker asker) {
  absl::MutexLock lock(&mutex_);
  const auto book = books_.find(asker);
  return book != books_.end() && !book->second.ready.empty();
}

void Receipts::Wait(Asker asker, OutgoingLane* lane, absl::Time deadline) {
  const absl::Time until = std::min(deadline, absl::Now() + kLookAgain);
  if (!lane->to_near_mailbox()) {
    process_->connection().ReadUntil([&] { return HasReady(asker); }, until);
    return;
  }
  // Receivers that give room back wake who waits for some, and so who waits for a receipt.
  const FutexWord word = lane->ParkForRoom();
  Collect(lane);
  if (HasReady(asker)) return;
  const absl::Duration left = until - absl::Now();
  if (left > absl::ZeroDuration()) FutexWait(word.word, word.expected, left);
}

Receipt Receipts::Complete(Ready ready, const OutgoingLane& lane) {
  Receipt receipt = std::move(ready.receipt);
  if (receipt.outcome == Receipt::Outcome::kReceived && receipt.receiver == ProcessId()) {
    receipt.receiver = NameOf(ready.owner, absl::Now() + kAskForName);
  }
  if (IsDeadLetter(receipt.outcome)) receipt.dead_letter_mailbox = lane.options().dead_letter;
  return receipt;
}

absl::StatusOr<Receipt> Receipts::Next(Asker asker, OutgoingLane* lane, absl::Time deadline) {
  while (true) {
    // What was found before; a look at the lane is a look at all that it waits for.
    absl::StatusOr<absl::optional<Ready>> ready = Take(asker);
    if (!ready.ok()) return ready.status();
    if (ready->has_value()) return Complete(*std::move(*ready), *lane);
    // First, and what has ended after: then nothing more will.
    const bool open = lane->closed_status().ok();
    if (!open) lane->PurgeAsked();
    Collect(lane);
    if (!lane->to_near_mailbox()) process_->connection().ReadNotices();
    if (!open) GiveUp(asker);
    if (HasReady(asker)) continue;
    if (absl::Status status = process_->Check(); !status.ok()) return status;
    if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("no message to ", lane->name(), " has come to an end"));
    }
    Wait(asker, lane, deadline);
  }
}

ProcessId Receipts::NameOf(uint32_t number, absl::Time deadline) {
  {
    absl::MutexLock lock(&mutex_);
    const auto known = names_.find(number);
    if (known != names_.end()) return known->second;
  }
  control::Request request;
  request.set_who_is(number);
  const absl::StatusOr<AgentReply> reply = process_->Call(std::move(request), deadline);
  if (!reply.ok()) return ProcessId();
  const ProcessId name = FromProto(reply->response.process());
  absl::MutexLock lock(&mutex_);
  if (names_.size() >= kMostNames) names_.clear();
  names_[number] = name;
  return name;
}

}  // namespace mailrail::internal
