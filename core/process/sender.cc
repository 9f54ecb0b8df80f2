#include "mailrail/sender.h"

#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/message/message_extras.h"
#include "core/message/prefix.h"
#include "core/process/calls.h"
#include "core/process/sender_impl.h"

namespace mailrail {
namespace {

// Longer is for ever.
constexpr absl::Duration kLongestTimeToLive = absl::Hours(24 * 365 * 100);

// Nothing stands before the body of most messages, and they are for now.
bool IsPlain(const SendOptions& options) {
  return options.headers.empty() && options.reply_to.empty() &&
         options.time_to_live == absl::InfiniteDuration() && options.delay == absl::ZeroDuration();
}

// What a lane is told of a message besides its body.
struct Prepared {
  std::string prefix;
  uint32_t due_tick = DueTick::kAtOnce;
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
    prepared->due_tick = DueTick::After(now, absl::ToInt64Nanoseconds(delay));
  } else {
    prefix->due_ns = now + absl::ToInt64Nanoseconds(delay);
  }
  return absl::OkStatus();
}

absl::StatusOr<Prepared> Prepare(const SendOptions& options, internal::ProcessImpl* process,
                                 OutgoingLane* lane, const internal::CallOptions& call = {}) {
  Prepared prepared;
  if (IsPlain(options) && call.call == 0) return prepared;
  size_t bytes = options.reply_to.size();
  for (const Header& header : options.headers) bytes += header.name.size() + header.value.size();
  if (bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("headers of ", bytes, " bytes; a message has at most ", kMaxHeaderBytes));
  }
  Prefix prefix = {.headers = options.headers, .reply_to = options.reply_to, .call = call.call};
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
  if (prefix.expires_ns != 0 || prepared.due_tick != DueTick::kAtOnce) process->LaneExpires(lane);
  prepared.prefix = EncodePrefix(prefix);
  return prepared;
}

// After a send: the agent is to know of what is for later.
void TellOfDelay(const Prepared& prepared, const internal::ProcessImpl& process,
                 const OutgoingLane& lane) {
  if (prepared.due_tick != DueTick::kAtOnce) process.AskToLookAt(lane);
}

}  // namespace

absl::Status internal::SendWithOptions(ProcessImpl* process, OutgoingLane* lane,
                                       absl::string_view body, const SendOptions& options,
                                       const CallOptions& call, absl::Time deadline) {
  const absl::StatusOr<Prepared> prepared = Prepare(options, process, lane, call);
  if (!prepared.ok()) return prepared.status();
  const absl::Status status =
      lane->Send(options.priority, {prepared->prefix, body}, deadline, prepared->due_tick);
  TellOfDelay(*prepared, *process, *lane);
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
  if (state->room.has_value()) {
    const SlabRoom room = *state->room;
    state->room.reset();  // Commit uses it up, whatever comes of it
    status = state->lane->Commit(state->priority, room, state->size, deadline, state->prefix.size(),
                                 state->due_tick);
  } else {
    status = state->lane->Send(state->priority, {state->prefix, {state->data(), state->size}},
                               deadline, state->due_tick);
  }
  if (state->due_tick != DueTick::kAtOnce) state->process->AskToLookAt(*state->lane);
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
                                   /*call=*/{}, deadline);
}

absl::StatusOr<Message> Sender::Call(absl::string_view body, const SendOptions& options,
                                     absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  return impl_->process->calls().Call(impl_->lane.get(), body, options, deadline);
}

absl::StatusOr<size_t> Sender::SendBatch(absl::Span<const absl::string_view> bodies,
                                         const SendOptions& options, absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  const absl::StatusOr<Prepared> prepared =
      Prepare(options, impl_->process.get(), impl_->lane.get());
  if (!prepared.ok()) return prepared.status();
  absl::StatusOr<size_t> sent = impl_->lane->SendBatch(options.priority, bodies, deadline,
                                                       prepared->prefix, prepared->due_tick);
  TellOfDelay(*prepared, *impl_->process, *impl_->lane);
  return sent;
}

absl::StatusOr<ClaimedMessage> Sender::Claim(size_t size, const SendOptions& options,
                                             absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  absl::StatusOr<Prepared> prepared = Prepare(options, impl_->process.get(), impl_->lane.get());
  if (!prepared.ok()) return prepared.status();
  absl::StatusOr<absl::optional<SlabRoom>> room =
      impl_->lane->Claim(options.priority, size, deadline, prepared->prefix.size());
  if (!room.ok()) return room.status();
  auto state = std::make_unique<internal::ClaimState>(impl_->process, impl_->lane);
  state->priority = options.priority;
  state->prefix = std::move(prepared->prefix);
  state->due_tick = prepared->due_tick;
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
