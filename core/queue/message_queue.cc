#include "mailrail/message_queue.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/fork.h"
#include "core/base/name.h"
#include "core/queue/queue_notifier.h"

namespace mailrail {
namespace internal {

class MessageQueueImpl {
 public:
  MessageQueueImpl(Process process, QualifiedName name, const QueueOptions& options)
      : process_(std::move(process)), name_(std::move(name)), options_(options) {}
  // A forked child leaves the thread of its parent, and what it uses, alone.
  ~MessageQueueImpl() {
    if (!CheckUsable().ok()) notifier_.release();
  }

  absl::Status Open(absl::Time deadline);

  absl::Status Send(absl::string_view body, int priority, absl::Time deadline) {
    if (!sender_.has_value()) return NotOpen("send");
    return sender_->Send(body, {.priority = priority}, Bounded(deadline));
  }
  absl::StatusOr<Message> Receive(absl::Time deadline) {
    if (!receiver_.has_value()) return NotOpen("receive");
    return receiver_->Receive(Bounded(deadline));
  }
  absl::StatusOr<size_t> Receive(absl::Span<char> buffer, int* priority, absl::Time deadline);
  absl::StatusOr<QueueAttributes> GetAttributes(absl::Time deadline);
  void set_nonblocking(bool nonblocking) { options_.nonblocking = nonblocking; }
  absl::Status Notify(std::function<void()> callback);
  void CancelNotify() {
    if (notifier_ != nullptr && CheckUsable().ok()) notifier_->Cancel();
  }
  Receiver& receiver() { return *receiver_; }

 private:
  absl::Status CheckUsable() const {
    if (fork_generation_ == ForkGeneration()) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "this message queue is the parent's: attach and open it in the child of a fork anew");
  }
  static absl::Status NotOpen(absl::string_view what) {
    return absl::FailedPreconditionError(
        absl::StrCat("this message queue was not opened to ", what));
  }
  absl::Time Bounded(absl::Time deadline) const {
    return options_.nonblocking ? absl::InfinitePast() : deadline;
  }
  // Makes it, if there is none yet or if it has to be new.
  absl::Status Create(absl::Time deadline);
  // kNotFound when there is none.
  absl::Status Connect(absl::Time deadline);

  const uint32_t fork_generation_ = ForkGeneration();
  Process process_;  // the same as the caller's
  const QualifiedName name_;
  QueueOptions options_;
  size_t max_message_bytes_ = 0;
  std::optional<Sender> sender_;
  std::optional<Receiver> receiver_;
  std::unique_ptr<QueueNotifier> notifier_;
};

absl::Status MessageQueueImpl::Create(absl::Time deadline) {
  const std::string name = name_.ToString();
  if (!options_.exclusive) {
    const absl::Status found = process_.StatMailbox(name, deadline).status();
    if (!absl::IsNotFound(found)) return found;
  }
  if (options_.max_message_bytes == 0) {
    return absl::InvalidArgumentError("max_message_bytes of a message queue is at least 1");
  }
  absl::Status made = process_.CreateMailbox(
      name,
      {.max_message_bytes = options_.max_message_bytes, .capacity_messages = options_.max_messages},
      deadline);
  // Somebody else was quicker.
  if (absl::IsAlreadyExists(made) && !options_.exclusive) return absl::OkStatus();
  return made;
}

absl::Status MessageQueueImpl::Connect(absl::Time deadline) {
  const std::string name = name_.ToString();
  const absl::StatusOr<MailboxState> state = process_.StatMailbox(name, deadline);
  if (!state.ok()) return state.status();
  max_message_bytes_ = state->options.max_message_bytes;
  if (options_.access != QueueAccess::kReceive) {
    absl::StatusOr<Sender> sender = process_.ConnectMailbox(name, deadline);
    if (!sender.ok()) return sender.status();
    sender_ = *std::move(sender);
  }
  if (options_.access != QueueAccess::kSend) {
    absl::StatusOr<Receiver> receiver = process_.OpenMailbox(name, deadline);
    if (!receiver.ok()) return receiver.status();
    receiver_ = *std::move(receiver);
  }
  return absl::OkStatus();
}

absl::Status MessageQueueImpl::Open(absl::Time deadline) {
  while (true) {
    if (options_.create) {
      if (absl::Status made = Create(deadline); !made.ok()) return made;
    }
    absl::Status status = Connect(deadline);
    // It may have been unlinked since it was found: then it is made after all.
    const bool again = absl::IsNotFound(status) && options_.create && !options_.exclusive;
    if (!again || absl::Now() >= deadline) return status;
  }
}

absl::StatusOr<size_t> MessageQueueImpl::Receive(absl::Span<char> buffer, int* priority,
                                                 absl::Time deadline) {
  if (buffer.size() < max_message_bytes_) {
    return absl::InvalidArgumentError(absl::StrCat("a buffer of ", buffer.size(),
                                                   " bytes; messages of this queue have up to ",
                                                   max_message_bytes_));
  }
  const absl::StatusOr<Message> message = Receive(deadline);
  if (!message.ok()) return message.status();
  const absl::string_view body = message->body();
  // Only when the queue was unlinked, and another one made, while this one was opened.
  if (body.size() > buffer.size()) {
    return absl::DataLossError("the message is larger than this queue's largest");
  }
  body.copy(buffer.data(), body.size());
  if (priority != nullptr) *priority = message->priority();
  return body.size();
}

absl::StatusOr<QueueAttributes> MessageQueueImpl::GetAttributes(absl::Time deadline) {
  const absl::StatusOr<MailboxState> state = process_.StatMailbox(name_.ToString(), deadline);
  if (!state.ok()) return state.status();
  return QueueAttributes{.nonblocking = options_.nonblocking,
                         .max_messages = state->options.capacity_messages,
                         .max_message_bytes = state->options.max_message_bytes,
                         .current_messages = state->waiting};
}

absl::Status MessageQueueImpl::Notify(std::function<void()> callback) {
  if (absl::Status status = CheckUsable(); !status.ok()) return status;
  if (!receiver_.has_value()) return NotOpen("receive");
  if (callback == nullptr) return absl::InvalidArgumentError("there is nothing to be called");
  if (notifier_ == nullptr) {
    absl::StatusOr<Receiver> receiver = process_.OpenMailbox(name_.ToString());
    if (!receiver.ok()) return receiver.status();
    notifier_ = std::make_unique<QueueNotifier>(&process_, *std::move(receiver),
                                                absl::StrCat(name_.name, ".notify"));
  }
  return notifier_->Register(std::move(callback));
}

}  // namespace internal

namespace {

absl::StatusOr<QualifiedName> NameOfMailbox(absl::string_view queue) {
  return ParseQualifiedName("mailbox", absl::StripPrefix(queue, "/"));
}

}  // namespace

MessageQueue::MessageQueue(std::unique_ptr<internal::MessageQueueImpl> impl)
    : impl_(std::move(impl)) {}
MessageQueue::MessageQueue(MessageQueue&&) noexcept = default;
MessageQueue& MessageQueue::operator=(MessageQueue&&) noexcept = default;
MessageQueue::~MessageQueue() = default;

absl::StatusOr<MessageQueue> MessageQueue::Open(Process& process, absl::string_view name,
                                                const QueueOptions& options, absl::Time deadline) {
  absl::StatusOr<QualifiedName> mailbox = NameOfMailbox(name);
  if (!mailbox.ok()) return mailbox.status();
  auto impl = std::make_unique<internal::MessageQueueImpl>(Process(process.impl_),
                                                           *std::move(mailbox), options);
  if (absl::Status status = impl->Open(deadline); !status.ok()) return status;
  return MessageQueue(std::move(impl));
}

absl::Status MessageQueue::Unlink(Process& process, absl::string_view name, absl::Time deadline) {
  const absl::StatusOr<QualifiedName> mailbox = NameOfMailbox(name);
  if (!mailbox.ok()) return mailbox.status();
  return process.DestroyMailbox(mailbox->ToString(), deadline);
}

absl::Status MessageQueue::Send(absl::string_view body, int priority, absl::Time deadline) {
  return impl_->Send(body, priority, deadline);
}

absl::StatusOr<Message> MessageQueue::Receive(absl::Time deadline) {
  return impl_->Receive(deadline);
}

absl::StatusOr<size_t> MessageQueue::Receive(absl::Span<char> buffer, int* priority,
                                             absl::Time deadline) {
  return impl_->Receive(buffer, priority, deadline);
}

absl::StatusOr<QueueAttributes> MessageQueue::GetAttributes(absl::Time deadline) const {
  return impl_->GetAttributes(deadline);
}

void MessageQueue::set_nonblocking(bool nonblocking) { impl_->set_nonblocking(nonblocking); }

absl::Status MessageQueue::Notify(std::function<void()> callback) {
  return impl_->Notify(std::move(callback));
}

void MessageQueue::CancelNotify() { impl_->CancelNotify(); }

Receiver& MessageQueue::receiver() { return impl_->receiver(); }

}  // namespace mailrail
