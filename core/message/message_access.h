#ifndef MAILRAIL_CORE_MESSAGE_MESSAGE_ACCESS_H_
#define MAILRAIL_CORE_MESSAGE_MESSAGE_ACCESS_H_

#include <cstring>
#include <memory>

#include "absl/base/optimization.h"
#include "core/lane/record.h"
#include "core/message/message_extras.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail::internal {

// Where a message comes from.
struct MessageOrigin {
  const ProcessId& sender;
  int priority = 0;
  int attempts = 0;
  bool by_agent = false;  // the agent writes the lane: what a prefix says of the sender is true
};

// Makes Messages out of records.
class MessageAccess {
 public:
  // Fills `message` with a copy of the record's payload; its room may be given back at once. False
  // when the prefix is not well-formed.
  static bool Copy(const Record& record, const MessageOrigin& origin, Message* message) {
    if (ABSL_PREDICT_FALSE(record.has_prefix || record.in_slab ||
                           record.length > Message::kInlineBytes)) {
      return CopyLarge(record, origin, message);
    }
    // In steps of 16 bytes: what stands in a lane has at least that much room.
    char* to = SmallBody(message);
    for (uint32_t at = 0; at < record.length; at += 16) memcpy(to + at, record.data + at, 16);
    SetSmall(origin, record.sequence, record.length, message);
    return true;
  }

  // The same for a small body in two steps: where to write it, with room for kInlineBytes; then
  // what it is. Until then `message` is an empty one.
  static char* SmallBody(Message* message) {
    message->ReleaseRoom();
    message->size_ = 0;
    return message->inline_;
  }
  static void SetSmall(const MessageOrigin& origin, uint64_t sequence, size_t size,
                       Message* message) {
    message->size_ = size;
    message->sender_ = origin.sender;
    message->sequence_ = sequence;
    message->priority_ = static_cast<uint8_t>(origin.priority);
    message->attempts_ = static_cast<uint8_t>(origin.attempts);
    message->end_ = EndReason::kNone;
  }

  // Fills `message` with a view, which calls room->Release when it dies. False, and nothing is
  // kept, when the prefix is not well-formed.
  static bool View(const Record& record, const MessageOrigin& origin,
                   std::shared_ptr<HeldRoom> room, Message* message);

  // Makes a copy a leased one.
  static void Lease(std::unique_ptr<HeldLease> lease, Message* message);

  // Of a request or an answer: its number (Prefix); else 0.
  static uint64_t CallOf(const Message& message) {
    return message.extras_ == nullptr ? 0 : message.extras_->call;
  }

  // The notice that something has ended; `process`, when it is one.
  static Message End(const Ended& what, const ProcessId& process, EndReason reason);

 private:
  static bool CopyLarge(const Record& record, const MessageOrigin& origin, Message* message);
  static bool Describe(const Record& record, const MessageOrigin& origin, Message* message,
                       absl::string_view* body, std::unique_ptr<MessageExtras>* extras);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_MESSAGE_MESSAGE_ACCESS_H_
