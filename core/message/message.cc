#include "mailrail/message.h"

#include <cstring>
#include <utility>

#include "core/message/message_access.h"
#include "core/message/message_extras.h"
#include "core/message/prefix.h"

namespace mailrail {
namespace {

absl::Status NotLeased() {
  return absl::FailedPreconditionError(
      "this message is not leased: its receiver acknowledges by itself, or it was acknowledged or "
      "given back before");
}

}  // namespace

Message::Message(Message&& other) noexcept { *this = std::move(other); }

Message& Message::operator=(Message&& other) noexcept {
  if (this == &other) return *this;
  ReleaseRoom();
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  sender_ = other.sender_;
  sequence_ = other.sequence_;
  if (other.storage_ == Storage::kView) room_ = std::move(other.room_);
  room_sequence_ = other.room_sequence_;
  cell_ = other.cell_;
  priority_ = other.priority_;
  attempts_ = other.attempts_;
  end_ = other.end_;
  storage_ = std::exchange(other.storage_, Storage::kInline);
  if (storage_ == Storage::kInline) {
    memcpy(inline_, other.inline_, size_);
  } else {
    extras_ = std::exchange(other.extras_, nullptr);
  }
  return *this;
}

bool Message::leased() const { return extras_ != nullptr && extras_->lease != nullptr; }

absl::Status Message::Acknowledge() {
  if (!leased()) return NotLeased();
  return std::exchange(extras_->lease, nullptr)->Acknowledge();
}

absl::Status Message::GiveBack(absl::Duration delay) {
  if (!leased()) return NotLeased();
  if (delay < absl::ZeroDuration() || delay > internal::kLongestDelay) {
    return absl::InvalidArgumentError("a delay is from 0 to six days");
  }
  return std::exchange(extras_->lease, nullptr)->GiveBack(delay);
}

absl::Status Message::Extend(absl::Duration time, absl::Time deadline) {
  return leased() ? extras_->lease->Extend(time, deadline) : NotLeased();
}

const std::vector<Header>& Message::headers() const {
  static const std::vector<Header>* const kNone = new std::vector<Header>();
  return extras_ == nullptr ? *kNone : extras_->headers;
}

absl::optional<absl::string_view> Message::header(absl::string_view name) const {
  for (const Header& header : headers()) {
    if (header.name == name) return absl::string_view(header.value);
  }
  return absl::nullopt;
}

absl::string_view Message::reply_to() const {
  return extras_ == nullptr ? absl::string_view() : extras_->reply_to;
}

absl::string_view Message::key() const {
  return extras_ == nullptr ? absl::string_view() : extras_->key;
}

DeadLetterReason Message::dead_letter_reason() const {
  return extras_ == nullptr ? DeadLetterReason::kNone : extras_->dead_letter_reason;
}

absl::string_view Message::dead_letter_mailbox() const {
  return extras_ == nullptr ? absl::string_view() : extras_->dead_letter_mailbox;
}

Ended Message::ended() const {
  if (end_ == EndReason::kNone) return {};
  return extras_ == nullptr ? Ended{Ended::Kind::kProcess, sender_.ToString()} : extras_->ended;
}

void Message::LetGo() {
  if (extras_ != nullptr) {
    // First the lease: the room of its body may be its own.
    delete std::exchange(extras_, nullptr);
  }
  if (storage_ == Storage::kHeap) delete[] data_;
  if (storage_ == Storage::kView) {
    room_->Release(priority_, cell_, room_sequence_);
    room_ = nullptr;
  }
  storage_ = Storage::kInline;
}

namespace internal {

Message MessageAccess::End(const Ended& what, const ProcessId& process, EndReason reason) {
  Message message;
  message.end_ = reason;
  if (what.kind == Ended::Kind::kProcess) {
    message.sender_ = process;
    return message;
  }
  message.data_ = new char[0];
  message.storage_ = Message::Storage::kHeap;
  message.extras_ = new MessageExtras();
  message.extras_->ended = what;
  return message;
}

bool MessageAccess::Describe(const Record& record, const MessageOrigin& origin, Message* message,
                             absl::string_view* body, std::unique_ptr<MessageExtras>* extras) {
  message->ReleaseRoom();
  message->end_ = EndReason::kNone;
  message->sender_ = origin.sender;
  message->priority_ = static_cast<uint8_t>(origin.priority);
  message->attempts_ = static_cast<uint8_t>(origin.attempts);
  message->sequence_ = message->room_sequence_ = record.sequence;
  message->cell_ = record.cell;
  *body = absl::string_view(record.data, record.length);
  if (!record.has_prefix) return true;
  Prefix prefix;
  if (!DecodeCopyOfPrefix(body, &prefix)) return false;
  // Nobody but the agent may say such things.
  if (!origin.by_agent && prefix.NeedsAgent()) return false;
  if (prefix.sender.has_value()) message->sender_ = *prefix.sender;
  if (prefix.sequence != 0) message->sequence_ = prefix.sequence;
  if (prefix.attempts != 0) message->attempts_ = prefix.attempts;
  if (prefix.HasExtras()) {
    *extras = std::make_unique<MessageExtras>();
    (*extras)->dead_letter_reason = prefix.dead_letter_reason;
    (*extras)->dead_letter_mailbox = std::move(prefix.dead_letter_mailbox);
    (*extras)->headers = std::move(prefix.headers);
    (*extras)->reply_to = std::move(prefix.reply_to);
    (*extras)->key = std::move(prefix.key);
    (*extras)->call = prefix.call;
  }
  return true;
}

bool MessageAccess::CopyLarge(const Record& record, const MessageOrigin& origin, Message* message) {
  absl::string_view body;
  std::unique_ptr<MessageExtras> extras;
  if (!Describe(record, origin, message, &body, &extras)) return false;
  message->size_ = body.size();
  if (body.size() <= Message::kInlineBytes && extras == nullptr) {
    message->storage_ = Message::Storage::kInline;
    if (!body.empty()) memcpy(message->inline_, body.data(), body.size());
    return true;
  }
  char* bytes = new char[body.size()];
  if (!body.empty()) memcpy(bytes, body.data(), body.size());
  message->data_ = bytes;
  message->storage_ = Message::Storage::kHeap;
  message->extras_ = extras.release();
  return true;
}

void MessageAccess::Lease(std::unique_ptr<HeldLease> lease, Message* message) {
  if (message->storage_ == Message::Storage::kInline) {
    char* bytes = new char[message->size_];
    if (message->size_ > 0) memcpy(bytes, message->inline_, message->size_);
    message->data_ = bytes;
    message->storage_ = Message::Storage::kHeap;
  }
  if (message->extras_ == nullptr) message->extras_ = new MessageExtras();
  message->extras_->lease = std::move(lease);
}

bool MessageAccess::View(const Record& record, const MessageOrigin& origin,
                         std::shared_ptr<HeldRoom> room, Message* message) {
  absl::string_view body;
  std::unique_ptr<MessageExtras> extras;
  if (!Describe(record, origin, message, &body, &extras)) return false;
  message->extras_ = extras.release();
  message->data_ = body.data();
  message->size_ = body.size();
  message->room_ = std::move(room);
  message->storage_ = Message::Storage::kView;
  return true;
}

}  // namespace internal
}  // namespace mailrail
