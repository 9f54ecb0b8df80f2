#ifndef MAILRAIL_MESSAGE_H_
#define MAILRAIL_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "mailrail/process_id.h"

namespace mailrail {

// Why a process, a mailbox or a node is not there any more.
enum class EndReason : uint8_t {
  kNone = 0,         // it is; or this is no notice of an end
  kExited = 1,       // a process: it has exited
  kKilled = 2,       // a process: a signal has killed it
  kEnded = 3,        // it has ended; how is not known, or its node came back without its state
  kDetached = 4,     // a process: it may live, and is not attached any more
  kUnreachable = 5,  // it may live: a node that is not reached, a process whose link was closed
  kDestroyed = 6,    // a mailbox: it was destroyed
};

// What has ended, as the notice of an end tells (Process::Watch and its kin).
struct Ended {
  enum class Kind : uint8_t { kNothing, kProcess, kMailbox, kNode };
  Kind kind = Kind::kNothing;
  std::string name;  // `4711.3@alpha`, `orders@alpha`, `beta`
};

// What a message says beside its body.
struct Header {
  std::string name;
  std::string value;

  friend bool operator==(const Header&, const Header&) = default;
};

// Why a message is in a dead-letter mailbox.
enum class DeadLetterReason : uint8_t {
  kNone = 0,      // it is not there for any reason: it was sent there
  kAttempts = 1,  // it was handed out as often as its mailbox allows (MailboxOptions::max_attempts)
  kExpired = 2,   // nobody had received it in its time (SendOptions::time_to_live)
  kDropped = 3,   // its sender needed its room (FullPolicy::kDropOldest)
};

namespace internal {
class MessageAccess;
struct MessageExtras;

// The room of a received body that is still in its sender's memory. Thread-safe.
class HeldRoom {
 public:
  virtual ~HeldRoom() = default;
  // Gives the room of `cell`, used for the message `sequence`, back to the sender.
  virtual void Release(int priority, uint32_t cell, uint64_t sequence) = 0;
};
}  // namespace internal

// A received message. A small body is a copy; a large one is a view of shared memory, whose room
// goes back to the sender when the Message dies. So keep large messages no longer than they are
// needed: a held body takes part of its sender's room, and nothing else.
//
// A message of a receiver that acknowledges by hand (ReceiveOptions) is leased: it is handed to no
// other until it is given back, its lease ends (MailboxOptions::lease_time), or this process does.
// When it dies without having been acknowledged, it is given back. So Acknowledge comes last: what
// an error, an exception or a death has left undone is done again by another, who sees
// redelivered().
//
// Move-only. Thread-compatible. May outlive its Receiver and its Process. In the child of a fork a
// copy of it may be destroyed, but its body not be read.
class Message {
 public:
  Message() {}  // an empty one; not defaulted, which would write zeros over the room for the body
  Message(Message&& other) noexcept;
  Message& operator=(Message&& other) noexcept;
  ~Message() { ReleaseRoom(); }

  // The bytes that were sent. Valid as long as this Message lives and is not moved.
  absl::string_view body() const { return {storage_ == Storage::kInline ? inline_ : data_, size_}; }

  // The process that sent it.
  const ProcessId& sender() const { return sender_; }

  // 0 to 31, higher first.
  int priority() const { return priority_; }

  // Counts from 1 the messages of this sender to this destination at this priority.
  uint64_t sequence() const { return sequence_; }

  // True when it was handed out before, to a receiver that died or gave it back.
  bool redelivered() const { return attempts_ > 0; }

  // How often it was handed out before.
  int attempts() const { return attempts_; }

  // Not kNone: a notice, without a body, that what ended() says has ended; it was watched. When it
  // is a process that is sender(), and this is the last that comes from it.
  EndReason end() const { return end_; }

  // What it was sent with (SendOptions), in that order.
  const std::vector<Header>& headers() const;
  // The value of the first header of this name; nothing when there is none. As body().
  absl::optional<absl::string_view> header(absl::string_view name) const;

  // Where its answers are to go, as a name for Process::Connect; empty: nowhere. As body().
  absl::string_view reply_to() const;

  // What it was sent with (SendOptions); empty: without one. As body().
  absl::string_view key() const;

  // What has ended; kNothing for any other message.
  Ended ended() const;

  // Whether it was leased, and neither acknowledged nor given back since. The lease may have ended.
  bool leased() const;

  // It is done with: nobody gets it again. kFailedPrecondition when it is not leased(), or when the
  // lease has ended: then it is another's, or will be. When it is of a mailbox of another node, OK
  // says that the acknowledgement is on its way; of one that comes after the end of the lease that
  // node is not told, and the message is handed out again.
  absl::Status Acknowledge();

  // Gives it back to its place, before all that was sent after it, for whoever receives next, this
  // one too; after `delay` (up to six days), to within 100 ms. It counts as an attempt. Errors as
  // Acknowledge, and kInvalidArgument.
  absl::Status GiveBack(absl::Duration delay = absl::ZeroDuration());

  // The lease ends `time` from now, earlier or later than it would have. Asks the agent; errors as
  // Acknowledge, and as all calls that do (Process).
  absl::Status Extend(absl::Duration time, absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Of a message in a dead-letter mailbox: why it is there, and the mailbox that it was sent to.
  // sender() and the body are as they were; priority() too; sequence() counts in this mailbox.
  DeadLetterReason dead_letter_reason() const;
  absl::string_view dead_letter_mailbox() const;

 private:
  friend class internal::MessageAccess;
  enum class Storage : uint8_t { kInline, kHeap, kView };
  static constexpr size_t kInlineBytes = 96;

  void ReleaseRoom() {
    if (storage_ != Storage::kInline) LetGo();
  }
  void LetGo();

  const char* data_ = nullptr;
  size_t size_ = 0;
  ProcessId sender_;
  uint64_t sequence_ = 0;
  std::shared_ptr<internal::HeldRoom> room_;
  internal::MessageExtras* extras_ = nullptr;  // what few have; only where storage_ is not kInline
  uint64_t room_sequence_ = 0;  // what the room was used for; another lane's number than sequence_
  uint32_t cell_ = 0;
  uint8_t priority_ = 0;
  uint8_t attempts_ = 0;
  // Of a notice what has ended is its sender, or is said at data_, behind the body of no bytes.
  EndReason end_ = EndReason::kNone;
  Storage storage_ = Storage::kInline;
  char inline_[kInlineBytes];
};

}  // namespace mailrail

#endif  // MAILRAIL_MESSAGE_H_
