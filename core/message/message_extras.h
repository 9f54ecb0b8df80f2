// What few messages have.
#ifndef MAILRAIL_CORE_MESSAGE_MESSAGE_EXTRAS_H_
#define MAILRAIL_CORE_MESSAGE_MESSAGE_EXTRAS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mailrail/message.h"

namespace mailrail::internal {

inline constexpr absl::Duration kLongestDelay = absl::Hours(6 * 24);

// The lease of a message. When it dies without a call of Acknowledge or GiveBack, which are the
// last, the message is given back. Thread-compatible.
class HeldLease {
 public:
  virtual ~HeldLease() = default;

  // As Message.
  virtual absl::Status Acknowledge() = 0;
  virtual absl::Status GiveBack(absl::Duration delay) = 0;
  virtual absl::Status Extend(absl::Duration time, absl::Time deadline) = 0;
};

struct MessageExtras {
  std::unique_ptr<HeldLease> lease;
  Ended ended;  // of a notice; unless it is a process
  std::vector<Header> headers;
  std::string reply_to;
  std::string key;
  uint64_t call = 0;  // of a request or an answer (Prefix)
  DeadLetterReason dead_letter_reason = DeadLetterReason::kNone;
  std::string dead_letter_mailbox;
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_MESSAGE_MESSAGE_EXTRAS_H_
