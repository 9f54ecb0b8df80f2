#include "mailrail/receiver.h"

#include <utility>

#include "core/process/receiver_impl.h"

namespace mailrail {

Receiver::Receiver(std::unique_ptr<internal::ReceiverImpl> impl) : impl_(std::move(impl)) {}
Receiver::Receiver(Receiver&&) noexcept = default;
Receiver& Receiver::operator=(Receiver&&) noexcept = default;
Receiver::~Receiver() = default;

absl::StatusOr<Message> Receiver::Receive(absl::Time deadline) {
  return impl_->Receive(nullptr, deadline);
}

absl::StatusOr<Message> Receiver::ReceiveFrom(const ProcessId& sender, absl::Time deadline) {
  return impl_->Receive(&sender, deadline);
}

absl::StatusOr<std::vector<Message>> Receiver::ReceiveBatch(size_t max, absl::Time deadline) {
  std::vector<Message> messages;
  while (messages.size() < max) {
    absl::StatusOr<Message> message =
        impl_->Receive(nullptr, messages.empty() ? deadline : absl::InfinitePast());
    if (!message.ok()) {
      if (messages.empty()) return message.status();
      break;
    }
    messages.push_back(*std::move(message));
  }
  return messages;
}

void Receiver::set_wait_mode(WaitMode mode) { impl_->set_wait_mode(mode); }

absl::StatusOr<int> Receiver::Descriptor() { return impl_->Descriptor(); }

}  // namespace mailrail
