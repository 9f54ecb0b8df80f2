#ifndef MAILRAIL_MESSAGE_QUEUE_H_
#define MAILRAIL_MESSAGE_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mailrail/message.h"
#include "mailrail/process.h"
#include "mailrail/receiver.h"

namespace mailrail {

namespace internal {
class MessageQueueImpl;
}  // namespace internal

// What a message queue is opened for.
enum class QueueAccess {
  kReceive,         // O_RDONLY
  kSend,            // O_WRONLY
  kReceiveAndSend,  // O_RDWR
};

// How to open a message queue. The numbers hold for one that this call makes, and are Linux's.
struct QueueOptions {
  QueueAccess access = QueueAccess::kReceiveAndSend;

  // O_CREAT: makes the queue, on this node, when the cluster has none of its name.
  bool create = false;

  // O_EXCL, with `create`: kAlreadyExists when there is one.
  bool exclusive = false;

  // O_NONBLOCK: no send or receive waits, whatever its deadline.
  bool nonblocking = false;

  // mq_maxmsg, 1 to kLargestCapacityMessages. It is the capacity of the mailbox, and so counts for
  // each sending process and each priority: exact where one process sends at one priority, and else
  // more messages than that may wait. Bodies share the room that MailboxOptions says.
  uint32_t max_messages = 10;

  // mq_msgsize, 1 to kLargestMaxMessageBytes.
  size_t max_message_bytes = 8192;
};

// What mq_getattr tells.
struct QueueAttributes {
  bool nonblocking = false;       // mq_flags, of this MessageQueue
  uint32_t max_messages = 0;      // mq_maxmsg
  size_t max_message_bytes = 0;   // mq_msgsize
  uint64_t current_messages = 0;  // mq_curmsgs
};

// A message queue as POSIX has it, for programs that used the mq_* calls: a mailbox with their
// calls, which README.md maps one by one. The queue `/jobs` is the mailbox `jobs`: every other call
// and command takes it too, any mailbox can be opened as a queue, and it is used from all nodes
// alike (`/jobs@alpha` says where it is). It stays until it is unlinked; sender and receiver need
// never run at the same time.
//
// Move-only. Thread-compatible, but that one thread may send while another one receives: open it in
// each thread that does the same. It keeps its Process attached. In the child of a fork it refuses
// every call (kFailedPrecondition); open it there anew.
//
// Errors, beside those of Sender, Receiver and, where the agent is asked, Process:
//   kDeadlineExceeded    EAGAIN of one that is nonblocking, ETIMEDOUT of any other
//   kInvalidArgument     EINVAL, EMSGSIZE
//   kFailedPrecondition  EBADF: it is not open for that
//   kUnavailable         it was unlinked (and, of a receive, nothing that reached us is left in it)
class MessageQueue {
 public:
  // mq_open. `name` with or without the slash in front, else as a mailbox's (limits.h). kNotFound,
  // kAlreadyExists and kInvalidArgument as ENOENT, EEXIST and EINVAL; kUnavailable when it is to be
  // made, and another node does not say whether it has one of that name.
  static absl::StatusOr<MessageQueue> Open(Process& process, absl::string_view name,
                                           const QueueOptions& options = {},
                                           absl::Time deadline = absl::Now() + absl::Seconds(10));

  // mq_unlink. Unlike there, the queue ends at once also for those who have it open: their sends
  // fail, and receives too when they have what had reached their process. kNotFound as ENOENT.
  static absl::Status Unlink(Process& process, absl::string_view name,
                             absl::Time deadline = absl::Now() + absl::Seconds(10));

  MessageQueue(MessageQueue&&) noexcept;
  MessageQueue& operator=(MessageQueue&&) noexcept;
  // mq_close. A registration by Notify ends.
  ~MessageQueue();

  // mq_send and mq_timedsend. OK as of Sender::Send: nobody's death can take it. `priority` 0 to
  // 31, as many as POSIX grants.
  absl::Status Send(absl::string_view body, int priority = 0,
                    absl::Time deadline = absl::InfiniteFuture());

  // mq_receive and mq_timedreceive: the oldest of the highest priority, which the Message tells.
  absl::StatusOr<Message> Receive(absl::Time deadline = absl::InfiniteFuture());

  // The same into a buffer of at least max_message_bytes (else kInvalidArgument, and the message
  // stays); returns how many bytes there are. `priority` may be null.
  absl::StatusOr<size_t> Receive(absl::Span<char> buffer, int* priority,
                                 absl::Time deadline = absl::InfiniteFuture());

  // mq_getattr. Asks the queue's node: current_messages are those that wait there at this moment;
  // what is on its way from another node is not there yet. kNotFound once it was unlinked.
  absl::StatusOr<QueueAttributes> GetAttributes(absl::Time deadline = absl::Now() +
                                                                      absl::Seconds(10)) const;

  // What mq_setattr changes. While no other thread uses it.
  void set_nonblocking(bool nonblocking);

  // mq_notify: registers this process, of all the only one, to be told once when a message is there
  // to be received. Then the registration is over, and `callback` runs in a thread of this
  // MessageQueue's, where it may register again; it must not destroy this MessageQueue.
  //   kAlreadyExists       EBUSY: a process is registered; its end, wherever it is, ends that
  //   kFailedPrecondition  it is not open to receive
  //
  // Unlike mq_notify it tells too of a message that was there before, so none is missed by who
  // registers late; and when the message may be gone already, as another receiver waited for it;
  // and of the queue's end. So follow with receives that do not wait, until kDeadlineExceeded.
  //
  // receiver().Descriptor() and WaitSet do better: they tell any number of processes, again and
  // again, beside other things that are waited for, and without a thread that calls back. The
  // registration is an owned mailbox, named as the queue with `.notify` behind it.
  absl::Status Notify(std::function<void()> callback);

  // mq_notify with a null pointer: this MessageQueue is not registered any more. When it returns
  // `callback` does not run, unless it was called from there.
  void CancelNotify();

  // What it receives by, for WaitSet, WaitAny and Descriptor. REQUIRES: it is open to receive.
  Receiver& receiver();

 private:
  explicit MessageQueue(std::unique_ptr<internal::MessageQueueImpl> impl);
  std::unique_ptr<internal::MessageQueueImpl> impl_;
};

}  // namespace mailrail

#endif  // MAILRAIL_MESSAGE_QUEUE_H_
