#ifndef MAILRAIL_MAILBOX_H_
#define MAILRAIL_MAILBOX_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "mailrail/limits.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail {

// What a send to a full mailbox does.
enum class FullPolicy {
  // It waits for room until its deadline.
  kBlock,

  // It returns kResourceExhausted at once.
  kReject,

  // It drops the oldest message of this sender and priority that nobody holds, and takes its room.
  // When there is none, since all of them are held, it returns kResourceExhausted. With a mailbox
  // for dead letters the dropped one goes there first, and the send waits until it has.
  kDropOldest,

  // It drops the message that was to be sent, and returns OK. (A Claim that finds no room returns
  // kResourceExhausted.) Not with a mailbox for dead letters: kInvalidArgument.
  kDropNewest,

  // What is dropped is counted as the mailbox's. A sender on another node drops nothing: what it
  // sends is dropped where the mailbox is full; while the way there is full it waits for room.
};

// Who may receive from a mailbox.
enum class ReceivePolicy {
  // Any number of processes; each message goes to one of them.
  kCompeting,

  // Any number of processes may open it, and one of them at a time receives: the first that opened
  // it, until it has closed its last Receiver of it, has detached or has died; then the next, in
  // the order in which they opened it, on whatever node. What the one before had claimed and not
  // received goes back to its place first. The others' receives wait; a TryReceive returns
  // kDeadlineExceeded (at once; on another node than the mailbox's after up to 100 ms), and neither
  // WaitAny nor a descriptor tells them of messages that they may not take. A process that lives
  // keeps the right whatever it does: also while it is stopped, and while its node is not reached.
  kExclusive,

  // At most two processes are associated with it, on whatever nodes: OpenMailbox and ConnectMailbox
  // (and Connect) of a third return kResourceExhausted. Associated is who has a Receiver of it
  // open, until its last one is closed, and who has a Sender to it, until its last one (and the
  // last ClaimedMessage) has gone; or until it detaches or dies. It makes room for another when the
  // mailbox's node has heard of that; between nodes, when what it had sent has arrived. Who only
  // created it is not associated. Only attached processes send to it.
  kLink,
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
  // created, and no link. When it is empty, or was destroyed, they are dropped, and counted.
  std::string dead_letter = "";
  ReceivePolicy policy = ReceivePolicy::kCompeting;

  // The mailbox belongs to the process that creates it, and is destroyed, as by DestroyMailbox,
  // when that process detaches or dies: who waits to send or receive is told (kUnavailable).
  bool owned = false;
};

// What a mailbox is, and how many messages are in it, at one moment (Process::StatMailbox).
struct MailboxState {
  MailboxOptions options;
  uint64_t waiting = 0;  // for a receiver
  uint64_t leased = 0;   // handed out, and neither received for good nor given back
  uint64_t delayed = 0;  // given back or sent for later
};

// A message as it stood in a mailbox when somebody looked (Process::Peek, Process::Browse): a copy.
struct BrowsedMessage {
  enum class State : uint8_t {
    kWaiting,  // a receive may get it
    kLeased,   // a receiver has it, and has not acknowledged it
    kDelayed,  // nobody gets it before its time
  };

  // The first bytes of the body, as many as were asked for, and how many the whole body has.
  std::string body = {};
  size_t body_bytes = 0;

  // As in Message; `attempts` not with the lease that it is out on.
  ProcessId sender = {};
  int priority = 0;
  uint64_t sequence = 0;
  int attempts = 0;
  std::vector<Header> headers = {};
  std::string reply_to = {};
  DeadLetterReason dead_letter_reason = DeadLetterReason::kNone;
  std::string dead_letter_mailbox = {};
  absl::Time expires = absl::InfiniteFuture();

  State state = State::kWaiting;
  // With kLeased: who has it; its pid is 0 when that is not known.
  ProcessId leased_by = {};
  // With kLeased: when the lease ends, if this is known, to within an eighth of
  // MailboxOptions::lease_time; with kDelayed: when it is due.
  absl::Time until = absl::InfiniteFuture();
};

struct BrowseOptions {
  // How many messages at most.
  size_t limit = 1000;

  // How much of each body, 0 to kMostBrowsedBytes.
  size_t max_body_bytes = 1024;

  // When it is not empty: only dead letters that were sent to this mailbox.
  std::string dead_letters_of = {};
};

struct RedriveOptions {
  // The mailbox that gets the dead letters, of the same node; when it is empty: the one that each
  // was sent to.
  std::string to = {};

  // How many at most; the first in the order of receive.
  size_t limit = static_cast<size_t>(-1);

  // Only those that are dead letters for this reason; kNone: for any.
  DeadLetterReason reason = DeadLetterReason::kNone;
};

// What became of dead letters (Process::Redrive).
struct Redriven {
  size_t moved = 0;
  // What should have been moved, and is where it was.
  size_t left = 0;
  // Not OK: why the first of these is left (the mailbox that it was sent to was destroyed, has no
  // room now, or does not take it), or else why there was an end before the last.
  absl::Status why = absl::OkStatus();
};

}  // namespace mailrail

#endif  // MAILRAIL_MAILBOX_H_
