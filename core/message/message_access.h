#ifndef MAILRAIL_CORE_MESSAGE_MESSAGE_ACCESS_H_
#define MAILRAIL_CORE_MESSAGE_MESSAGE_ACCESS_H_

#include <memory>

#include "core/lane/record.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail::internal {

// Where a message comes from.
struct MessageOrigin {
  ProcessId sender;
  int priority = 0;
  int attempts = 0;
};

// Makes Messages out of records.
class MessageAccess {
 public:
  // Fills `message` with a copy of the record's payload; its room may be given back at once. False
  // when the prefix is not well-formed.
  static bool Copy(const Record& record, const MessageOrigin& origin, Message* message);

  // Fills `message` with a view, which calls room->Release when it dies. False, and nothing is
  // kept, when the prefix is not well-formed.
  static bool View(const Record& record, const MessageOrigin& origin,
                   std::shared_ptr<HeldRoom> room, Message* message);

  // The notice that `process` has ended.
  static Message End(const ProcessId& process, EndReason reason) {
    Message message;
    message.sender_ = process;
    message.end_ = reason;
    return message;
  }

 private:
  static bool Describe(const Record& record, const MessageOrigin& origin, Message* message,
                       absl::string_view* body);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_MESSAGE_MESSAGE_ACCESS_H_
