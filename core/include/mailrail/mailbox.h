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
  // keeps the right whatever it does, also while it is stopped; while its node is not reached, it
  // does until the mailbox's cutoff.
  kExclusive,

  // At most two processes are associated with it, on whatever nodes: OpenMailbox and ConnectMailbox
  // (and Connect) of a third return kResourceExhausted. Associated is who has a Receiver of it
  // open, until its last one is closed, and who has a Sender to it, until its last one (and the
  // last ClaimedMessage) has gone; or until it detaches or dies. It makes room for another when the
  // mailbox's node has heard of that; between nodes, when what it had sent has arrived. Who only
  // created it is not associated. Only attached processes send to it.
  kLink,

  // Each receiver gets each message whose send was called after its OpenMailbox had returned, and
  // none whose send had returned before that was called; each Receiver by itself, also of one
  // process. (What is on its way from another node counts as sent when it has come to the mailbox's
  // node.) What is sent while there is no receiver is for nobody: OK, and not counted.
  //
  // Order per sender, and priority, hold at each receiver. Message::sequence rises from message to
  // message, from wherever it begins. Capacity, leases, attempts and dead letters are each
  // receiver's own: what a receiver gives back comes to it again. What is left for a receiver that
  // closes, detaches or dies is dropped, and counted.
  //
  // kBlock and kReject: a send waits, or is refused, while any receiver has no room, so that all
  // get it or none; a slow receiver thus holds the senders up. (What comes from another node, or
  // with MailboxOrder::kLog, each gets when it has room.) kDropOldest, kDropNewest: for each
  // receiver by
  // itself; a slow one then harms itself alone, and with kDropOldest has the latest, which is what
  // most want. Where all is held that kDropOldest could drop, that receiver does not get the new
  // one.
  //
  // Only a send that was cut off by its process's death may have reached some and not others. A
  // send copies the body for each receiver. Peek and Browse show what the agent has yet to hand to
  // the receivers; StatMailbox counts over all of them. No mailbox for dead letters.
  kBroadcast,
};

// What a mailbox promises of the order in which messages of equal priority are received for the
// first time.
enum class MailboxOrder {
  // It is one queue for the senders of its own node: of two sends, one of which had returned before
  // the other was called, the first goes first, whoever made them.
  kQueue,

  // Only each sender's own messages keep their order; the senders take turns. It costs less where
  // there are several: neither a time stamp for each message, nor a look at all senders for the
  // oldest one.
  kPerSender,

  // Of a broadcast mailbox: all receivers get the messages of one priority in one and the same
  // order, whoever sends them, from whatever node. They pass through the agent of its node, and
  // through room of the mailbox's own before they come to each receiver's. (With any other order a
  // broadcast mailbox keeps each sender's, at each receiver.)
  kLog,
};

// Which of the receivers of a competing mailbox gets a message that nobody has had, or that has
// come back. Receivers are processes here, on whatever node: all Receivers of one are one.
enum class Distribution {
  // Whichever is free takes the first.
  kLeastBusy,

  // They take turns: of each sender, at each priority, every message goes to another one than the
  // one before it, in the order in which they opened the mailbox.
  kRoundRobin,

  // All messages of a key (SendOptions::key) go to one receiver, in order; keys are spread over the
  // receivers evenly. One without a key goes to whichever is free.
  kStickyByKey,

  // Of both of the latter:
  // - While the same processes have the mailbox open this is so without exception. When one joins,
  //   closes its last Receiver or dies, turns begin anew, and some keys move: of n receivers to the
  //   one that joins a part of 1/(n+1) of them, and from one that goes its own alone. What is not
  //   handed out yet goes with them; what the former one holds still it may be working on while the
  //   new one gets what follows, unless hold_order is set.
  // - A receiver that is slow, or has the mailbox open and does not receive, holds up its own share
  //   alone, until that has used up the sender's room, or its first message is twice
  //   capacity_messages back: then the mailbox is full for that sender.
  // - A sender's messages keep their order among those that one receiver gets, not among all.
  // - At most kMostAssignedReceivers processes may have the mailbox open: kResourceExhausted.
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
  MailboxOrder order = MailboxOrder::kQueue;

  // When true, nothing of a sender is handed out at a priority while an earlier message of it at
  // that priority is leased, has been given back (also for later) or has come back otherwise: it
  // waits until that one is acknowledged, or a dead letter. So what one sender has sent is worked
  // on one after the other, by however many receivers, and in order, also when a receiver dies. A
  // message that was sent for later (SendOptions::delay) holds up none before it was handed out;
  // what `mailrail send` posts counts as one sender's. With kStickyByKey this holds for the
  // messages of each key by themselves; with kRoundRobin it is kInvalidArgument.
  bool hold_order = false;

  // With kCompeting alone; with another policy anything but kLeastBusy is kInvalidArgument.
  Distribution distribution = Distribution::kLeastBusy;

  // How long receivers of another node keep what is leased to them, and their place, while that
  // node is not reached. After it, what they hold goes back, marked as redelivered, though they may
  // be working on it; and until their node is reached again the messages that are assigned to them,
  // and the exclusive right, go to others. Then they are the last that opened it, and go on by
  // themselves. A receiver that acknowledges automatically has this long, too, to take what was
  // brought to its node. From 10 ms on; InfiniteDuration waits for ever.
  absl::Duration cutoff = absl::Seconds(30);

  // The mailbox belongs to the process that creates it, and is destroyed, as by DestroyMailbox,
  // when that process detaches or dies: who waits to send or receive is told (kUnavailable).
  bool owned = false;

  // It is a pipe (pipe.h): an empty message is an end of file. When the last process that sends to
  // it has let go of its last Sender, or is gone, the mailbox's node adds one, behind all that was
  // sent.
  bool pipe = false;
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
