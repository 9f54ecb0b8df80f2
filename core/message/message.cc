#include "mailrail/message.h"

#include <cstring>
#include <utility>

#include "core/message/message_access.h"
#include "core/message/prefix.h"

namespace mailrail {

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
  if (storage_ == Storage::kInline) memcpy(inline_, other.inline_, size_);
  return *this;
}

Ended Message::ended() const {
  if (end_ == EndReason::kNone) return {};
  if (storage_ == Storage::kInline) return {Ended::Kind::kProcess, sender_.ToString()};
  // The kind, the name, and a zero.
  return {static_cast<Ended::Kind>(data_[0]), std::string(data_ + 1)};
}

void Message::LetGo() {
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
  char* const said = new char[what.name.size() + 2];
  said[0] = static_cast<char>(what.kind);
  memcpy(said + 1, what.name.c_str(), what.name.size() + 1);
  message.data_ = said;
  message.storage_ = Message::Storage::kHeap;
  return message;
}

bool MessageAccess::Describe(const Record& record, const MessageOrigin& origin, Message* message,
                             absl::string_view* body) {
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
  if (!DecodePrefix(body, &prefix)) return false;
  if (prefix.sender.has_value()) message->sender_ = *prefix.sender;
  if (prefix.sequence != 0) message->sequence_ = prefix.sequence;
  if (prefix.attempts != 0) message->attempts_ = prefix.attempts;
  return true;
}

bool MessageAccess::CopyLarge(const Record& record, const MessageOrigin& origin, Message* message) {
  absl::string_view body;
  // A prefix in memory that its sender may still change is decoded from a copy.
  std::unique_ptr<char[]> copy;
  Record stable = record;
  if (record.has_prefix) {
    copy.reset(new char[record.length]);
    memcpy(copy.get(), record.data, record.length);
    stable.data = copy.get();
  }
  if (!Describe(stable, origin, message, &body)) return false;
  message->size_ = body.size();
  if (body.size() <= Message::kInlineBytes) {
    message->storage_ = Message::Storage::kInline;
    if (!body.empty()) memcpy(message->inline_, body.data(), body.size());
    return true;
  }
  char* bytes = new char[body.size()];
  memcpy(bytes, body.data(), body.size());
  message->data_ = bytes;
  message->storage_ = Message::Storage::kHeap;
  return true;
}

bool MessageAccess::View(const Record& record, const MessageOrigin& origin,
                         std::shared_ptr<HeldRoom> room, Message* message) {
  absl::string_view body;
  if (!Describe(record, origin, message, &body)) return false;
  message->data_ = body.data();
  message->size_ = body.size();
  message->room_ = std::move(room);
  message->storage_ = Message::Storage::kView;
  return true;
}

}  // namespace internal
}  // namespace mailrail
