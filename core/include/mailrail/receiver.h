#ifndef MAILRAIL_RECEIVER_H_
#define MAILRAIL_RECEIVER_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail {

namespace internal {
class ReceiverImpl;
class ReceiverAccess;
}  // namespace internal

// How a blocking receive waits for a message.
enum class WaitMode {
  kAdaptive,  // spins for a short while, then sleeps
  kSpin,      // never sleeps: lowest latency, one processor busy
  kBlock,     // sleeps at once
};

// When a received message is done with.
enum class Acknowledgement {
  kAutomatic,  // when it is received
  kManual,     // when Message::Acknowledge says so; until then it is leased to this process
};

// How to receive from a mailbox. Who acknowledges by hand may have any number of messages leased.
// Of a mailbox of another node a Receiver has at most kMostFarLeases of them, and
// kMostFarLeaseBytes (mailrail/limits.h); when it has, its receives wait until one is acknowledged,
// given back or destroyed, whether or not the lease of one has ended; and when that Receiver is
// destroyed, what it has goes back.
struct ReceiveOptions {
  Acknowledgement acknowledgement = Acknowledgement::kAutomatic;
};

// The receiving end of a mailbox, or of a process's inbox. No receive returns a message while a
// better one (higher priority), whose send had returned before the receive was called, is left to
// be taken. Several receivers of one mailbox compete: each message goes to one of them. Of an
// exclusive mailbox (ReceivePolicy) one process receives, and the others wait for their turn; of a
// broadcast mailbox each receiver gets each message.
//
// Move-only. Thread-compatible. Must not outlive its Process.
//
// Errors of all receives:
//   kDeadlineExceeded   no message until the deadline
//   kUnavailable        the mailbox was destroyed, and nothing is left in it
//   kDataLoss           a sender's memory is not well-formed: its lane is closed, the others go on
//   kAborted            this process is detached from its agent. What was sent before the agent
//   ended
//                       is received first; nothing is when it was this process that was cut off
class Receiver {
 public:
  Receiver(Receiver&&) noexcept;
  Receiver& operator=(Receiver&&) noexcept;
  ~Receiver();

  // The best message: highest priority first, then in queue order. Waits until `deadline`, an
  // absolute time.
  absl::StatusOr<Message> Receive(absl::Time deadline = absl::InfiniteFuture());

  // The same without waiting: kDeadlineExceeded when there is none. Only where it may be that the
  // agent has yet to pass on a message or a sender's lane (a mailbox of another node; many new
  // senders) it gives it 100 or 20 ms.
  absl::StatusOr<Message> TryReceive() { return Receive(absl::InfinitePast()); }

  // Waits for the first message, then returns up to `max` in order, as many as are there.
  absl::StatusOr<std::vector<Message>> ReceiveBatch(size_t max,
                                                    absl::Time deadline = absl::InfiniteFuture());

  // The best message from `sender`; the others' stay where they are. Inboxes only
  // (kFailedPrecondition else). kUnavailable when nothing of it is left and this process is not
  // linked with it: it is gone, or neither has connected to the other yet.
  absl::StatusOr<Message> ReceiveFrom(const ProcessId& sender,
                                      absl::Time deadline = absl::InfiniteFuture());

  void set_wait_mode(WaitMode mode);

  // A descriptor that polls readable while a message may be waiting, for epoll and event loops.
  // After it polls readable call TryReceive until kDeadlineExceeded. Owned by this Receiver. For
  // each 126 receivers whose descriptors are in use the process has one thread.
  absl::StatusOr<int> Descriptor();

 private:
  friend class Process;
  friend class internal::ReceiverAccess;
  explicit Receiver(std::unique_ptr<internal::ReceiverImpl> impl);
  std::unique_ptr<internal::ReceiverImpl> impl_;
};

}  // namespace mailrail

#endif  // MAILRAIL_RECEIVER_H_
