#ifndef MAILRAIL_MAILBOX_H_
#define MAILRAIL_MAILBOX_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
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

  // How long a receiver that acknowledges by hand (ReceiveOptions) may keep a message before it
  // goes back to its place, for any receiver; Message::Extend changes it. From 10 ms on, to within
  // an eighth of it; InfiniteDuration leaves messages leased until they are given back or the
  // receiver's process ends.
  absl::Duration lease_time = absl::Seconds(30);

  // How often a message is handed out at most, 1 to kMostAttempts; 0: without limit. One that comes
  // back after the last time, since its receiver gave it back, died or let its lease end, is a dead
  // letter.
  uint32_t max_attempts = 0;

  // The mailbox of the same node that gets the dead letters; it must be there when this one is
  // created. When it is empty, or was destroyed, they are dropped, and counted.
  std::string dead_letter = "";
};

}  // namespace mailrail

#endif  // MAILRAIL_MAILBOX_H_
