#include "mailrail/sender.h"

#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/message/message_extras.h"
#include "core/message/prefix.h"
#include "core/process/calls.h"
#include "core/process/receipts.h"
#include "core/process/sender_impl.h"

namespace mailrail {
namespace {

// Longer is for ever.
constexpr absl::Duration kLongestTimeToLive = absl::Hours(24 * 365 * 100);

// Nothing stands before the body of most messages, and they are for now.
bool IsPlain(const SendOptions& options) {
  return options.headers.empty() && options.reply_to.empty() && options.key.empty() &&
         options.time_to_live == absl::InfiniteDuration() &&
         options.delay == absl::ZeroDuration() && options.receipt == 0;
}

// What a lane is told of a message besides its body.
struct Prepared {
  std::string prefix;
  CellOptions cell;
  uint64_t receipt = 0;  // its number (Receipts::Ask), if there is to be one
};

absl::Status PrepareDelay(absl::Duration delay, OutgoingLane* lane, Prefix* prefix,
                          Prepared* prepared) {
  if (delay < absl::ZeroDuration() || delay > internal::kLongestDelay) {
    return absl::InvalidArgumentError("a delay is from 0 to six days");
  }
  if (!lane->to_mailbox()) {
    return absl::InvalidArgumentError("only a mailbox keeps a message for later");
  }
  const int64_t now = MonotonicTime();
  if (lane->to_near_mailbox()) {
    prepared->cell.due_tick = DueTick::After(now, absl::ToInt64Nanoseconds(delay));
  } else {
    prefix->due_ns = now + absl::ToInt64Nanoseconds(delay);
  }
  return absl::OkStatus();
}

// `sender`: whose handle it is sent by, for receipts.
absl::StatusOr<Prepared> Prepare(const SendOptions& options, internal::ProcessImpl* process,
                                 OutgoingLane* lane, internal::Receipts::Asker sender,
                                 const internal::CallOptions& call = {}) {
  Prepared prepared;
  if (IsPlain(options) && call.call == 0) return prepared;
  if (options.receipt != 0 &&
      (!lane->to_mailbox() || lane->options().policy == ReceivePolicy::kBroadcast)) {
    return absl::InvalidArgumentError(
        "there are receipts for messages to mailboxes only, of which one receives each");
  }
  size_t bytes = options.reply_to.size() + options.key.size();
  for (const Header& header : options.headers) bytes += header.name.size() + header.value.size();
  if (bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("headers of ", bytes, " bytes; a message has at most ", kMaxHeaderBytes));
  }
  Prefix prefix = {.headers = options.headers,
                   .reply_to = options.reply_to,
                   .key = options.key,
                   .call = call.call};
  if (options.time_to_live < kLongestTimeToLive) {
    if (options.time_to_live <= absl::ZeroDuration()) {
      return absl::InvalidArgumentError("a time to live is more than 0");
    }
    prefix.expires_ns = MonotonicTime() + absl::ToInt64Nanoseconds(options.time_to_live);
  }
  if (call.expires_ns != 0 && (prefix.expires_ns == 0 || call.expires_ns < prefix.expires_ns)) {
    prefix.expires_ns = call.expires_ns;
  }
  if (options.delay != absl::ZeroDuration()) {
    const absl::Status status = PrepareDelay(options.delay, lane, &prefix, &prepared);
    if (!status.ok()) return status;
  }
  if (options.receipt != 0) {
    prepared.receipt = process->receipts().Ask(sender, options.receipt);
    (lane->to_near_mailbox() ? prepared.cell.receipt : prefix.receipt) = prepared.receipt;
  }
  if (prefix.expires_ns != 0 || prepared.cell.due_tick != DueTick::kAtOnce)
    process->LaneExpires(lane);
  prepared.prefix = EncodePrefix(prefix);
  return prepared;
}

// After a send: the agent is to know of what is for later; and there is no receipt for what was not
// sent.
void Conclude(const CellOptions& cell, uint64_t receipt, bool sent, internal::ProcessImpl* process,
              const OutgoingLane& lane) {
  if (cell.due_tick != DueTick::kAtOnce) process->AskToLookAt(lane);
  if (receipt != 0 && !sent) process->receipts().Withdraw(receipt);
}

}  // namespace

absl::Status internal::SendWithOptions(ProcessImpl* process, OutgoingLane* lane,
                                       absl::string_view body, const SendOptions& options,
                                       const CallOptions& call, absl::Time deadline,
                                       const SenderImpl* sender) {
  const absl::StatusOr<Prepared> prepared = Prepare(options, process, lane, sender, call);
  if (!prepared.ok()) return prepared.status();
  const absl::Status status =
      lane->Send(options.priority, {prepared->prefix, body}, deadline, prepared->cell);
  Conclude(prepared->cell, prepared->receipt, status.ok(), process, *lane);
  return status;
}

ClaimedMessage::ClaimedMessage(std::unique_ptr<internal::ClaimState> state)
    : state_(std::move(state)) {}
ClaimedMessage::ClaimedMessage(ClaimedMessage&& other) noexcept = default;
ClaimedMessage& ClaimedMessage::operator=(ClaimedMessage&& other) noexcept = default;
ClaimedMessage::~ClaimedMessage() = default;

absl::Span<char> ClaimedMessage::body() const { return {state_->data(), state_->size}; }

void ClaimedMessage::Truncate(size_t size) {
  if (size < state_->size) state_->size = size;
}

absl::Status ClaimedMessage::Commit(absl::Time deadline) {
  if (state_ == nullptr) return absl::FailedPreconditionError("this claim was committed before");
  const std::unique_ptr<internal::ClaimState> state = std::move(state_);
  if (absl::Status status = state->process->CheckUsable(); !status.ok()) return status;
  absl::Status status;
  const uint64_t receipt = std::exchange(state->receipt, 0);
  if (state->room.has_value()) {
    const SlabRoom room = *state->room;
    state->room.reset();  // Commit uses it up, whatever comes of it
    status = state->lane->Commit(state->priority, room, state->size, deadline, state->prefix.size(),
                                 state->cell);
  } else {
    status = state->lane->Send(state->priority, {state->prefix, {state->data(), state->size}},
                               deadline, state->cell);
  }
  Conclude(state->cell, receipt, status.ok(), state->process.get(), *state->lane);
  return status;
}

Sender::Sender(std::unique_ptr<internal::SenderImpl> impl) : impl_(std::move(impl)) {}
Sender::Sender(Sender&&) noexcept = default;
Sender& Sender::operator=(Sender&&) noexcept = default;
Sender::~Sender() = default;

absl::Status Sender::Send(absl::string_view body, const SendOptions& options, absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  if (ABSL_PREDICT_TRUE(IsPlain(options))) {
    return impl_->lane->Send(options.priority, {{}, body}, deadline);
  }
  return internal::SendWithOptions(impl_->process.get(), impl_->lane.get(), body, options,
                                   /*call=*/{}, deadline, impl_.get());
}

absl::StatusOr<Receipt> Sender::NextReceipt(absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  return impl_->process->receipts().Next(impl_.get(), impl_->lane.get(), deadline);
}

absl::StatusOr<Message> Sender::Call(absl::string_view body, const SendOptions& options,
                                     absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  return impl_->process->calls().Call(impl_->lane.get(), body, options, deadline);
}

absl::StatusOr<size_t> Sender::SendBatch(absl::Span<const absl::string_view> bodies,
                                         const SendOptions& options, absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  if (options.receipt != 0) return SendEach(bodies, options, deadline);
  const absl::StatusOr<Prepared> prepared =
      Prepare(options, impl_->process.get(), impl_->lane.get(), impl_.get());
  if (!prepared.ok()) return prepared.status();
  absl::StatusOr<size_t> sent =
      impl_->lane->SendBatch(options.priority, bodies, deadline, prepared->prefix, prepared->cell);
  Conclude(prepared->cell, /*receipt=*/0, sent.ok(), impl_->process.get(), *impl_->lane);
  return sent;
}

// Each has a number of its own, and so what stands before it differs.
absl::StatusOr<size_t> Sender::SendEach(absl::Span<const absl::string_view> bodies,
                                        const SendOptions& options, absl::Time deadline) {
  for (const absl::string_view body : bodies) {
    const absl::Status fits = impl_->lane->CheckMessage(body.size(), options.priority);
    if (!fits.ok()) return fits;
  }
  size_t sent = 0;
  while (sent < bodies.size()) {
    const absl::Status status = Send(bodies[sent], options, deadline);
    if (!status.ok() && sent == 0) return status;
    if (!status.ok()) break;
    ++sent;
  }
  return sent;
}

absl::StatusOr<ClaimedMessage> Sender::Claim(size_t size, const SendOptions& options,
                                             absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  absl::StatusOr<Prepared> prepared =
      Prepare(options, impl_->process.get(), impl_->lane.get(), impl_.get());
  if (!prepared.ok()) return prepared.status();
  absl::StatusOr<absl::optional<SlabRoom>> room =
      impl_->lane->Claim(options.priority, size, deadline, prepared->prefix.size());
  if (!room.ok()) {
    if (prepared->receipt != 0) impl_->process->receipts().Withdraw(prepared->receipt);
    return room.status();
  }
  auto state = std::make_unique<internal::ClaimState>(impl_->process, impl_->lane);
  state->priority = options.priority;
  state->prefix = std::move(prepared->prefix);
  state->cell = prepared->cell;
  state->receipt = prepared->receipt;
  state->size = size;
  state->room = *room;
  if (room->has_value()) {
    state->prefix.copy((*room)->data, state->prefix.size());
  } else {
    state->buffer.reset(new char[size]);
  }
  return ClaimedMessage(std::move(state));
}

size_t Sender::max_message_bytes() const { return impl_->lane->options().max_message_bytes; }

}  // namespace mailrail
