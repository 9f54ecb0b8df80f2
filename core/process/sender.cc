#include "mailrail/sender.h"

#include <utility>

#include "core/process/sender_impl.h"

namespace mailrail {

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
    return state->lane->Send(state->priority, {{}, {state->data(), state->size}}, deadline);
  }
  const SlabRoom room = *state->room;
  state->room.reset();  // Commit uses it up, whatever comes of it
  return state->lane->Commit(state->priority, room, state->size, deadline);
}

Sender::Sender(std::unique_ptr<internal::SenderImpl> impl) : impl_(std::move(impl)) {}
Sender::Sender(Sender&&) noexcept = default;
Sender& Sender::operator=(Sender&&) noexcept = default;
Sender::~Sender() = default;

absl::Status Sender::Send(absl::string_view body, const SendOptions& options, absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  return impl_->lane->Send(options.priority, {{}, body}, deadline);
}

absl::StatusOr<size_t> Sender::SendBatch(absl::Span<const absl::string_view> bodies,
                                         const SendOptions& options, absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  return impl_->lane->SendBatch(options.priority, bodies, deadline);
}

absl::StatusOr<ClaimedMessage> Sender::Claim(size_t size, const SendOptions& options,
                                             absl::Time deadline) {
  if (absl::Status status = impl_->process->CheckUsable(); !status.ok()) return status;
  absl::StatusOr<absl::optional<SlabRoom>> room =
      impl_->lane->Claim(options.priority, size, deadline);
  if (!room.ok()) return room.status();
  auto state = std::make_unique<internal::ClaimState>(impl_->process, impl_->lane);
  state->priority = options.priority;
  state->size = size;
  state->room = *room;
  if (!room->has_value()) state->buffer.reset(new char[size]);
  return ClaimedMessage(std::move(state));
}

size_t Sender::max_message_bytes() const { return impl_->lane->options().max_message_bytes; }

}  // namespace mailrail
