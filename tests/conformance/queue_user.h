// For tests of message queues: a party's queues, by calls with the errors of errno.
#ifndef MAILRAIL_TESTS_CONFORMANCE_QUEUE_USER_H_
#define MAILRAIL_TESTS_CONFORMANCE_QUEUE_USER_H_

#include <cerrno>
#include <cstring>
#include <string>

#include "tests/conformance/conformance.h"

namespace mailrail {

// What a queue is opened for, as of QueueOptions.
struct OpenAs {
  bool create = false;
  bool exclusive = false;
  bool nonblocking = false;
  party::QueueCall::Access access = party::QueueCall::BOTH;
  int64_t max_messages = 10;
  int64_t max_message_bytes = 1000;
};

inline OpenAs Create() { return {.create = true}; }

// One queue that a party has open.
class OpenQueue {
 public:
  OpenQueue() = default;
  OpenQueue(Party* party, const party::QueueCall& like, int64_t max_message_bytes)
      : party_(party), like_(like), max_message_bytes_(max_message_bytes) {}

  party::QueueResult Send(const std::string& body, int priority = 0,
                          absl::Time deadline = Patience()) {
    party::QueueCall call = Call(party::QueueCall::SEND);
    call.set_body(body);
    call.set_priority(static_cast<uint32_t>(priority));
    return party_->CallQueue(call, deadline);
  }
  // `buffer_bytes` 0: as many as it must be.
  party::QueueResult Receive(absl::Time deadline = Patience(), int64_t buffer_bytes = 0) {
    party::QueueCall call = Call(party::QueueCall::RECEIVE);
    call.set_buffer_bytes(
        static_cast<uint64_t>(buffer_bytes != 0 ? buffer_bytes : max_message_bytes_));
    return party_->CallQueue(call, deadline);
  }
  party::QueueResult Attributes() { return Do(party::QueueCall::ATTRIBUTES); }
  party::QueueResult SetNonblocking(bool nonblocking) {
    party::QueueCall call = Call(party::QueueCall::SET_NONBLOCKING);
    call.set_nonblocking(nonblocking);
    return party_->CallQueue(call);
  }
  party::QueueResult Notify() { return Do(party::QueueCall::NOTIFY); }
  party::QueueResult CancelNotify() { return Do(party::QueueCall::CANCEL_NOTIFY); }
  uint64_t Notified() { return Do(party::QueueCall::NOTIFIED).notified(); }
  party::QueueResult Close() { return Do(party::QueueCall::CLOSE); }

  // Whether so many messages wait in it, soon.
  bool Holds(int64_t count) {
    return Eventually([&] { return Attributes().current_messages() == count; });
  }

 private:
  party::QueueCall Call(party::QueueCall::Kind kind) const {
    party::QueueCall call = like_;
    call.set_kind(kind);
    return call;
  }
  party::QueueResult Do(party::QueueCall::Kind kind) { return party_->CallQueue(Call(kind)); }

  Party* party_ = nullptr;
  party::QueueCall like_;
  int64_t max_message_bytes_ = 0;
};

inline party::QueueResult TryOpen(Party& party, bool posix, const std::string& name,
                                  const OpenAs& as = {}) {
  party::QueueCall call;
  call.set_posix(posix);
  call.set_kind(party::QueueCall::OPEN);
  call.set_name(name);
  call.set_access(as.access);
  call.set_create(as.create);
  call.set_exclusive(as.exclusive);
  call.set_nonblocking(as.nonblocking);
  call.set_max_messages(as.max_messages);
  call.set_max_message_bytes(as.max_message_bytes);
  return party.CallQueue(call);
}

// The test has failed when the queue cannot be opened.
inline OpenQueue Open(Party& party, bool posix, const std::string& name, const OpenAs& as = {}) {
  const party::QueueResult opened = TryOpen(party, posix, name, as);
  EXPECT_EQ(opened.error(), 0) << "opening " << name << ": " << opened.message();
  party::QueueCall like;
  like.set_posix(posix);
  like.set_queue(opened.queue());
  return OpenQueue(&party, like, as.max_message_bytes);
}

inline party::QueueResult Unlink(Party& party, bool posix, const std::string& name) {
  party::QueueCall call;
  call.set_posix(posix);
  call.set_kind(party::QueueCall::UNLINK);
  call.set_name(name);
  return party.CallQueue(call);
}

// Matchers of a QueueResult.
MATCHER(Works, "") {
  *result_listener << strerror(arg.error()) << " " << arg.message();
  return arg.error() == 0;
}
MATCHER_P(FailsWith, error, strerror(error)) {
  *result_listener << strerror(arg.error()) << " " << arg.message();
  return arg.error() == error;
}
MATCHER_P2(Brings, body, priority, "") {
  *result_listener << strerror(arg.error()) << " '" << arg.body() << "' of priority "
                   << arg.priority();
  return arg.error() == 0 && arg.body() == body &&
         arg.priority() == static_cast<uint32_t>(priority);
}

// Soon over, for what is not to happen.
inline absl::Time Soon() { return absl::Now() + absl::Milliseconds(200); }

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_CONFORMANCE_QUEUE_USER_H_
