#ifndef MAILRAIL_MAILBOX_H_
#define MAILRAIL_MAILBOX_H_

#include <cstddef>
#include <cstdint>

#include "mailrail/limits.h"

namespace mailrail {

// What a send to a full mailbox does.
enum class FullPolicy {
  kBlock,   // waits for room until its deadline
  kReject,  // returns kResourceExhausted at once
};

// Fixed when a mailbox is created.
struct MailboxOptions {
  // The largest body, 0 to kLargestMaxMessageBytes.
  size_t max_message_bytes = kDefaultMaxMessageBytes;

  // When true, every body has exactly max_message_bytes; another size is kInvalidArgument.
  bool fixed_size = false;

  // How many messages each sender may have waiting at each priority, 1 to
  // kLargestCapacityMessages. Bodies also share a room of twice max_message_bytes and at least
  // 4 MiB per sender, one eighth of which is kept for urgent priorities.
  uint32_t capacity_messages = kDefaultCapacityMessages;

  FullPolicy when_full = FullPolicy::kBlock;
};

}  // namespace mailrail

#endif  // MAILRAIL_MAILBOX_H_
