#include "mailrail/receiver.h"

#include <algorithm>
#include <utility>

#include "absl/base/optimization.h"
#include "core/process/receiver_impl.h"

namespace mailrail {
namespace {

constexpr size_t kReservedForBatch = 256;

}  // namespace

Receiver::Receiver(std::unique_ptr<internal::ReceiverImpl> impl) : impl_(std::move(impl)) {}
Receiver::Receiver(Receiver&&) noexcept = default;
Receiver& Receiver::operator=(Receiver&&) noexcept = default;
Receiver::~Receiver() = default;

absl::StatusOr<Message> Receiver::Receive(absl::Time deadline) {
  absl::StatusOr<Message> message(absl::in_place);
  if (absl::Status status = impl_->Receive(nullptr, deadline, &*message);
      ABSL_PREDICT_FALSE(!status.ok())) {
    message = std::move(status);
  }
  return message;
}

absl::StatusOr<Message> Receiver::ReceiveFrom(const ProcessId& sender, absl::Time deadline) {
  absl::StatusOr<Message> message(absl::in_place);
  if (absl::Status status = impl_->Receive(&sender, deadline, &*message); !status.ok()) {
    message = std::move(status);
  }
  return message;
}

absl::StatusOr<std::vector<Message>> Receiver::ReceiveBatch(size_t max, absl::Time deadline) {
  std::vector<Message> messages;
  messages.reserve(std::min(max, kReservedForBatch));
  while (messages.size() < max) {
    messages.emplace_back();
    absl::Status status = impl_->Receive(nullptr, deadline, &messages.back());
    if (!status.ok()) {
      messages.pop_back();
      if (messages.empty()) return status;
      break;
    }
    deadline = absl::InfinitePast();
  }
  return messages;
}

void Receiver::set_wait_mode(WaitMode mode) { impl_->set_wait_mode(mode); }

absl::StatusOr<int> Receiver::Descriptor() { return impl_->Descriptor(); }

}  // namespace mailrail
