#include "mailrail/sender.h"

#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "core/base/coarse_clock.h"
#include "core/message/prefix.h"
#include "core/process/calls.h"
#include "core/process/sender_impl.h"

namespace mailrail {
namespace {

// Longer is for ever.
constexpr absl::Duration kLongestTimeToLive = absl::Hours(24 * 365 * 100);

// Nothing stands before the body of most messages.
bool IsPlain(const SendOptions& options) {
  return options.headers.empty() && options.reply_to.empty() &&
         options.time_to_live == absl::InfiniteDuration();
}

absl::StatusOr<std::string> PrefixOf(const SendOptions& options, internal::ProcessImpl* process,
                                     OutgoingLane* lane, uint64_t call = 0) {
  if (IsPlain(options) && call == 0) return std::string();
  size_t bytes = options.reply_to.size();
  for (const Header& header : options.headers) bytes += header.name.size() + header.value.size();
  if (bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("headers of ", bytes, " bytes; a message has at most ", kMaxHeaderBytes));
  }
  Prefix prefix = {.headers = options.headers, .reply_to = options.reply_to, .call = call};
  if (options.time_to_live < kLongestTimeToLive) {
    if (options.time_to_live <= absl::ZeroDuration()) {
      return absl::InvalidArgumentError("a time to live is more than 0");
    }
    process->LaneExpires(lane);
    prefix.expires_ns = MonotonicTime() + absl::ToInt64Nanoseconds(options.time_to_live);
  }
  return EncodePrefix(prefix);
}

}  // namespace

absl::Status internal::SendWithOptions(ProcessImpl* process, OutgoingLane* lane,
                                       absl::string_view body, const SendOptions& options,
                                       uint64_t call, absl::Time deadline) {
  const absl::StatusOr<std::string> prefix = PrefixOf(options, process, lane, call);
  if (!prefix.ok()) return prefix.status();
  return lane->Send(options.priority, {*prefix, body}, deadline);
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
  if (!state->room.has_value()) {
    return state->lane->Send(state->priority, {state->prefix, {state->data(), state->size}},
                             deadline);
  }
  const SlabRoom room = *state->room;
  state->room.reset();  // Commit uses it up, whatever comes of it
  return state->lane->Commit(state->priority, room, state->size, deadline, state->prefix.size());
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
                                   /*call=*/0, deadline);
}

absl::StatusOr<Message> Sender::Call(absl::string_view body, const SendOptions& options,
                                     absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  return impl_->process->calls().Call(impl_->lane.get(), body, options, deadline);
}

absl::StatusOr<size_t> Sender::SendBatch(absl::Span<const absl::string_view> bodies,
                                         const SendOptions& options, absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  const absl::StatusOr<std::string> prefix =
      PrefixOf(options, impl_->process.get(), impl_->lane.get());
  if (!prefix.ok()) return prefix.status();
  return impl_->lane->SendBatch(options.priority, bodies, deadline, *prefix);
}

absl::StatusOr<ClaimedMessage> Sender::Claim(size_t size, const SendOptions& options,
                                             absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  absl::StatusOr<std::string> prefix = PrefixOf(options, impl_->process.get(), impl_->lane.get());
  if (!prefix.ok()) return prefix.status();
  absl::StatusOr<absl::optional<SlabRoom>> room =
      impl_->lane->Claim(options.priority, size, deadline, prefix->size());
  if (!room.ok()) return room.status();
  auto state = std::make_unique<internal::ClaimState>(impl_->process, impl_->lane);
  state->priority = options.priority;
  state->prefix = *std::move(prefix);
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
