#ifndef MAILRAIL_SENDER_H_
#define MAILRAIL_SENDER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mailrail/limits.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail {

namespace internal {
class SenderAccess;
class SenderImpl;
class ClaimState;
}  // namespace internal

struct SendOptions {
  // 0 to 31; higher is received first. kInvalidArgument outside.
  int priority = 0;

  // How long it is of use, from the call of Send, SendBatch or Claim on; the time on the way
  // counts. After that nobody receives it: from a mailbox it goes to the dead letters
  // (MailboxOptions::dead_letter), or is dropped and counted; from an inbox it is dropped and
  // counted. One that was received in time may be handed out again in time only.
  absl::Duration time_to_live = absl::InfiniteDuration();

  // How long it is not to be received yet, up to six days, to within 100 ms; then it takes the
  // place that it was sent to, before what was sent later and is still there. Mailboxes only
  // (kInvalidArgument for a process): it waits there, and takes room of its sender. It outlives its
  // sender.
  absl::Duration delay = absl::ZeroDuration();

  // What the receiver is told beside the body, in this order; names need not differ. Names and
  // values together, with reply_to and key, are at most kMaxHeaderBytes (kInvalidArgument).
  std::vector<Header> headers = {};

  // Where answers are to go, as a name for Process::Connect.
  std::string reply_to = {};

  // What it is about: an order's number, say. A mailbox may see to it that one receiver gets all
  // messages of a key (Distribution::kStickyByKey). It counts as a header does.
  std::string key = {};

  // Not 0: its sender asks for a receipt, which says this number (Sender::NextReceipt). Mailboxes
  // only: who receives from an inbox is known (kInvalidArgument for a process).
  uint64_t receipt = 0;
};

// What became of a message whose sender had asked (SendOptions::receipt).
struct Receipt {
  enum class Outcome : uint8_t {
    kReceived = 0,  // by `receiver`; where that acknowledges by hand: and acknowledged
    kAttempts = 1,  // it was handed out as often as its mailbox allows (MailboxOptions)
    kExpired = 2,   // nobody had received it in its time
    kDropped = 3,   // by the mailbox, which was full (FullPolicy)
    kPurged = 4,    // with the mailbox's other messages, or with the mailbox
    kUnknown = 5,   // the mailbox, or its node, has gone, and it cannot be told any more
  };

  uint64_t receipt = 0;  // as in SendOptions
  Outcome outcome = Outcome::kUnknown;

  // With kReceived. Its pid is 0 when it is not known any more who that was: its process ended long
  // before this was asked for.
  ProcessId receiver = {};

  // Where it went instead: the mailbox's dead letters, with kAttempts, kExpired and kDropped, if
  // that has any.
  std::string dead_letter_mailbox = {};
};

// Room for one message, to be written in place. Commit sends it; dying without Commit gives the
// room back. An open claim holds up nobody: its place in the order is taken by Commit.
//
// Move-only. Thread-compatible. Must not outlive its Sender.
class ClaimedMessage {
 public:
  ClaimedMessage(ClaimedMessage&& other) noexcept;
  ClaimedMessage& operator=(ClaimedMessage&& other) noexcept;
  ~ClaimedMessage();

  // The room, of exactly the claimed size; its contents are undefined until written.
  absl::Span<char> body() const;

  // Makes the message shorter before it is committed. REQUIRES: size <= body().size().
  void Truncate(size_t size);

  // Sends the message; errors as Sender::Send. The claim is used up either way.
  absl::Status Commit(absl::Time deadline = absl::InfiniteFuture());

 private:
  friend class Sender;
  explicit ClaimedMessage(std::unique_ptr<internal::ClaimState> state);
  std::unique_ptr<internal::ClaimState> state_;
};

// The sending end of a channel: to a process (direct) or to a mailbox (indirect), on this node or
// on another; the calls are the same. Messages sent through one process's handles to one
// destination at one priority are received in the order of their sends.
//
// Move-only. Thread-compatible: one thread at a time per handle; open as many handles to one
// destination as there are threads. Must not outlive its Process.
//
// OK from a send means that the message is where neither this process's death nor the agent's can
// take it. Errors of all sends:
//   kInvalidArgument    priority out of range; body larger than the destination's maximum, or of
//                       another size than the mailbox fixes
//   kDeadlineExceeded   no room until the deadline; nothing was sent
//   kResourceExhausted  no room, and the mailbox rejects when full
//   kUnavailable        the process is gone, or the mailbox was destroyed
//   kAborted            this process is detached from its agent: nobody will receive what it sends.
//                       Said at once where the agent says so, within about 50 ms where the agent
//                       and its keeper were killed; a receiver that is not told yet may still have
//                       received the message
class Sender {
 public:
  Sender(Sender&&) noexcept;
  Sender& operator=(Sender&&) noexcept;
  ~Sender();

  // Sends a copy of `body`, which may be empty. Waits for room until `deadline`, an absolute time;
  // absl::InfinitePast() does not wait.
  absl::Status Send(absl::string_view body, const SendOptions& options = {},
                    absl::Time deadline = absl::InfiniteFuture());

  // Sends the bodies in order. Returns how many were sent: all of them, or those before the first
  // that had no room until the deadline, or that came too late for a destination that has ended. An
  // error only when none was sent; so none is sent when one of them is too large
  // (kInvalidArgument). With SendOptions::receipt each of them gets one.
  absl::StatusOr<size_t> SendBatch(absl::Span<const absl::string_view> bodies,
                                   const SendOptions& options = {},
                                   absl::Time deadline = absl::InfiniteFuture());

  // Sends a request, and waits for its answer: what whoever received it gave Process::Reply. The
  // first answer counts; one that comes later is dropped. A request that is not received until the
  // deadline has expired (time_to_live). options.reply_to is to be empty, and so is
  // options.receipt. Any number of threads may call, each by a Sender of its own. Errors as Send,
  // and
  //   kDeadlineExceeded  no answer until the deadline; the request may have been, or be, served
  //   kUnavailable       at once: no process receives from the mailbox. Or the process, or the
  //                      mailbox, went while this waited: the request may have been served
  absl::StatusOr<Message> Call(absl::string_view body, const SendOptions& options = {},
                               absl::Time deadline = absl::Now() + absl::Seconds(10));

  // What became of the next message, in any order, that was sent by this handle with
  // SendOptions::receipt. The outcome is exact: it is read where the receivers claim their
  // messages. Of
  // a mailbox of another node it comes when that tells it, which it does for at most 65,536
  // messages whose receipts this process has not read; later ones have none. Receipts that are not
  // taken take a little memory, and end with the handle.
  //   kDeadlineExceeded    no message that was sent so has an end yet
  //   kNotFound            there is none to wait for
  //   kAborted             as of Send
  absl::StatusOr<Receipt> NextReceipt(absl::Time deadline = absl::InfiniteFuture());

  // Reserves room for `size` bytes, to be written in place. Large bodies are written straight into
  // shared memory.
  absl::StatusOr<ClaimedMessage> Claim(size_t size, const SendOptions& options = {},
                                       absl::Time deadline = absl::InfiniteFuture());

  // The largest body that this destination takes, in bytes.
  size_t max_message_bytes() const;

 private:
  friend class Process;
  friend class internal::SenderAccess;
  explicit Sender(std::unique_ptr<internal::SenderImpl> impl);
  absl::StatusOr<size_t> SendEach(absl::Span<const absl::string_view> bodies,
                                  const SendOptions& options, absl::Time deadline);
  std::unique_ptr<internal::SenderImpl> impl_;
};

}  // namespace mailrail

#endif  // MAILRAIL_SENDER_H_
