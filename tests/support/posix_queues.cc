#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tests/support/queues.h"

namespace mailrail {
namespace {

// How often queues were told. The kernel's thread may still come when a queue is closed, so this
// stays.
class Notifications {
 public:
  static Notifications& Get() {
    static auto* const notifications = new Notifications;
    return *notifications;
  }

  // A number for a queue.
  size_t Add() {
    absl::MutexLock lock(&mutex_);
    counts_.push_back(0);
    return counts_.size() - 1;
  }
  uint64_t Count(size_t number) {
    absl::MutexLock lock(&mutex_);
    return counts_[number];
  }
  static void OnNotice(sigval value) {
    Notifications& notifications = Get();
    absl::MutexLock lock(&notifications.mutex_);
    ++notifications.counts_[static_cast<size_t>(value.sival_int)];
  }

 private:
  absl::Mutex mutex_;
  std::vector<uint64_t> counts_ ABSL_GUARDED_BY(mutex_);
};

class PosixQueues final : public Queues {
 public:
  ~PosixQueues() override {
    for (const mqd_t queue : open_) mq_close(queue);
  }

  party::QueueResult Do(const party::QueueCall& call, absl::Time deadline) override {
    party::QueueResult result;
    errno = 0;
    if (!Carry(call, deadline, &result)) {
      result.set_error(errno);
      result.set_message(strerror(errno));
    }
    return result;
  }

 private:
  bool Carry(const party::QueueCall& call, absl::Time deadline, party::QueueResult* result) {
    const auto queue = static_cast<mqd_t>(call.queue());
    switch (call.kind()) {
      case party::QueueCall::OPEN:
        return Open(call, result);
      case party::QueueCall::CLOSE: {
        absl::MutexLock lock(&mutex_);
        open_.erase(queue);
        return mq_close(queue) == 0;
      }
      case party::QueueCall::UNLINK:
        return mq_unlink(call.name().c_str()) == 0;
      case party::QueueCall::SEND:
        return Send(queue, call, deadline);
      case party::QueueCall::RECEIVE:
        return Receive(queue, call, deadline, result);
      case party::QueueCall::ATTRIBUTES: {
        mq_attr attributes = {};
        if (mq_getattr(queue, &attributes) != 0) return false;
        result->set_nonblocking((attributes.mq_flags & O_NONBLOCK) != 0);
        result->set_max_messages(attributes.mq_maxmsg);
        result->set_max_message_bytes(attributes.mq_msgsize);
        result->set_current_messages(attributes.mq_curmsgs);
        return true;
      }
      case party::QueueCall::SET_NONBLOCKING: {
        mq_attr attributes = {};
        attributes.mq_flags = call.nonblocking() ? O_NONBLOCK : 0;
        return mq_setattr(queue, &attributes, nullptr) == 0;
      }
      case party::QueueCall::NOTIFY: {
        sigevent event = {};
        event.sigev_notify = SIGEV_THREAD;
        event.sigev_notify_function = Notifications::OnNotice;
        event.sigev_value.sival_int = static_cast<int>(Number(queue));
        return mq_notify(queue, &event) == 0;
      }
      case party::QueueCall::CANCEL_NOTIFY:
        return mq_notify(queue, nullptr) == 0;
      case party::QueueCall::NOTIFIED:
        result->set_notified(Notifications::Get().Count(Number(queue)));
        return true;
      default:
        errno = ENOSYS;
        return false;
    }
  }

  bool Open(const party::QueueCall& call, party::QueueResult* result) {
    int flags = call.access() == party::QueueCall::BOTH        ? O_RDWR
                : call.access() == party::QueueCall::SEND_ONLY ? O_WRONLY
                                                               : O_RDONLY;
    if (call.create()) flags |= O_CREAT;
    if (call.exclusive()) flags |= O_EXCL;
    if (call.nonblocking()) flags |= O_NONBLOCK;
    mq_attr attributes = {};
    attributes.mq_maxmsg = call.max_messages();
    attributes.mq_msgsize = call.max_message_bytes();
    const mqd_t queue = mq_open(call.name().c_str(), flags, 0600, &attributes);
    if (queue == static_cast<mqd_t>(-1)) return false;
    absl::MutexLock lock(&mutex_);
    open_.insert(queue);
    numbers_[queue] = Notifications::Get().Add();
    result->set_queue(static_cast<uint32_t>(queue));
    return true;
  }

  static bool Send(mqd_t queue, const party::QueueCall& call, absl::Time deadline) {
    const std::string& body = call.body();
    if (deadline == absl::InfiniteFuture()) {
      return mq_send(queue, body.data(), body.size(), call.priority()) == 0;
    }
    const timespec until = absl::ToTimespec(deadline);
    return mq_timedsend(queue, body.data(), body.size(), call.priority(), &until) == 0;
  }

  static bool Receive(mqd_t queue, const party::QueueCall& call, absl::Time deadline,
                      party::QueueResult* result) {
    std::string buffer(call.buffer_bytes(), '\0');
    unsigned priority = 0;
    const timespec until = absl::ToTimespec(deadline);
    const ssize_t bytes =
        deadline == absl::InfiniteFuture()
            ? mq_receive(queue, buffer.data(), buffer.size(), &priority)
            : mq_timedreceive(queue, buffer.data(), buffer.size(), &priority, &until);
    if (bytes < 0) return false;
    buffer.resize(static_cast<size_t>(bytes));
    result->set_body(buffer);
    result->set_priority(priority);
    return true;
  }

  size_t Number(mqd_t queue) {
    absl::MutexLock lock(&mutex_);
    return numbers_[queue];
  }

  absl::Mutex mutex_;
  std::set<mqd_t> open_ ABSL_GUARDED_BY(mutex_);
  std::map<mqd_t, size_t> numbers_ ABSL_GUARDED_BY(mutex_);  // in Notifications
};

}  // namespace

std::unique_ptr<Queues> Queues::OfPosix() { return std::make_unique<PosixQueues>(); }

}  // namespace mailrail
