#include "tests/support/queues.h"

#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "mailrail/message_queue.h"
#include "tests/support/require.h"

namespace mailrail {
namespace {

// What errno would be, where a status is not told in another way.
int ErrorOf(const absl::Status& status, bool nonblocking) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kDeadlineExceeded:
      return nonblocking ? EAGAIN : ETIMEDOUT;
    case absl::StatusCode::kInvalidArgument:
      return EINVAL;
    case absl::StatusCode::kNotFound:
      return ENOENT;
    case absl::StatusCode::kAlreadyExists:
      return EEXIST;
    case absl::StatusCode::kFailedPrecondition:
      return EBADF;
    case absl::StatusCode::kUnavailable:
      return EPIPE;  // it was unlinked: POSIX has nothing like that
    default:
      return EIO;
  }
}

class MailrailQueues final : public Queues {
 public:
  explicit MailrailQueues(Process* process) : process_(process) {}

  party::QueueResult Do(const party::QueueCall& call, absl::Time deadline) override {
    party::QueueResult result;
    bool nonblocking = false;
    const absl::Status status = Carry(call, deadline, &result, &nonblocking);
    int error = ErrorOf(status, nonblocking);
    const bool sends = call.kind() == party::QueueCall::SEND;
    if (error == EINVAL && (sends || call.kind() == party::QueueCall::RECEIVE)) {
      error = sends && call.priority() > kMaxPriority ? EINVAL : EMSGSIZE;
    }
    if (error == EEXIST && call.kind() == party::QueueCall::NOTIFY) error = EBUSY;
    result.set_error(error);
    result.set_message(status.ToString());
    return result;
  }

 private:
  struct Entry {
    explicit Entry(MessageQueue opened, bool nonblocks)
        : queue(std::move(opened)), nonblocking(nonblocks) {}
    absl::Mutex mutex;
    uint64_t notified ABSL_GUARDED_BY(mutex) = 0;
    MessageQueue queue;  // goes first: then nothing notifies any more
    bool nonblocking;
  };

  absl::Status Open(const party::QueueCall& call, absl::Time deadline, party::QueueResult* result) {
    const QueueOptions options = {
        .access = call.access() == party::QueueCall::BOTH        ? QueueAccess::kReceiveAndSend
                  : call.access() == party::QueueCall::SEND_ONLY ? QueueAccess::kSend
                                                                 : QueueAccess::kReceive,
        .create = call.create(),
        .exclusive = call.exclusive(),
        .nonblocking = call.nonblocking(),
        .max_messages = static_cast<uint32_t>(call.max_messages()),
        .max_message_bytes = static_cast<size_t>(call.max_message_bytes())};
    absl::StatusOr<MessageQueue> queue =
        MessageQueue::Open(*process_, call.name(), options, deadline);
    if (!queue.ok()) return queue.status();
    absl::MutexLock lock(&mutex_);
    entries_.push_back(std::make_unique<Entry>(*std::move(queue), call.nonblocking()));
    result->set_queue(static_cast<uint32_t>(entries_.size() - 1));
    return absl::OkStatus();
  }

  Entry& Find(uint32_t number) {
    absl::MutexLock lock(&mutex_);
    Require(number < entries_.size() && entries_[number] != nullptr, "a queue that is not open");
    return *entries_[number];
  }

  absl::Status Carry(const party::QueueCall& call, absl::Time deadline, party::QueueResult* result,
                     bool* nonblocking) {
    if (call.kind() == party::QueueCall::OPEN) return Open(call, deadline, result);
    if (call.kind() == party::QueueCall::UNLINK) {
      return MessageQueue::Unlink(*process_, call.name(), deadline);
    }
    Entry& entry = Find(call.queue());
    *nonblocking = entry.nonblocking;
    switch (call.kind()) {
      case party::QueueCall::CLOSE: {
        std::unique_ptr<Entry> closed;
        absl::MutexLock lock(&mutex_);
        closed.swap(entries_[call.queue()]);
        return absl::OkStatus();
      }
      case party::QueueCall::SEND:
        return entry.queue.Send(call.body(), static_cast<int>(call.priority()), deadline);
      case party::QueueCall::RECEIVE: {
        std::string buffer(call.buffer_bytes(), '\0');
        int priority = 0;
        const absl::StatusOr<size_t> bytes =
            entry.queue.Receive(absl::MakeSpan(buffer.data(), buffer.size()), &priority, deadline);
        if (!bytes.ok()) return bytes.status();
        result->set_body(buffer.substr(0, *bytes));
        result->set_priority(static_cast<uint32_t>(priority));
        return absl::OkStatus();
      }
      case party::QueueCall::ATTRIBUTES:
        return Describe(entry, deadline, result);
      case party::QueueCall::SET_NONBLOCKING:
        entry.queue.set_nonblocking(call.nonblocking());
        entry.nonblocking = call.nonblocking();
        return absl::OkStatus();
      case party::QueueCall::NOTIFY:
        return entry.queue.Notify([&entry] {
          absl::MutexLock lock(&entry.mutex);
          ++entry.notified;
        });
      case party::QueueCall::CANCEL_NOTIFY:
        entry.queue.CancelNotify();
        return absl::OkStatus();
      default: {
        absl::MutexLock lock(&entry.mutex);
        result->set_notified(entry.notified);
        return absl::OkStatus();
      }
    }
  }

  static absl::Status Describe(const Entry& entry, absl::Time deadline,
                               party::QueueResult* result) {
    const absl::StatusOr<QueueAttributes> attributes = entry.queue.GetAttributes(deadline);
    if (!attributes.ok()) return attributes.status();
    result->set_nonblocking(attributes->nonblocking);
    result->set_max_messages(attributes->max_messages);
    result->set_max_message_bytes(static_cast<int64_t>(attributes->max_message_bytes));
    result->set_current_messages(static_cast<int64_t>(attributes->current_messages));
    return absl::OkStatus();
  }

  Process* const process_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);  // null: closed
};

}  // namespace

std::unique_ptr<Queues> Queues::OfMailrail(Process* process) {
  return std::make_unique<MailrailQueues>(process);
}

}  // namespace mailrail
