#ifndef MAILRAIL_TESTS_SUPPORT_QUEUES_H_
#define MAILRAIL_TESTS_SUPPORT_QUEUES_H_

#include <memory>

#include "absl/time/time.h"
#include "mailrail/process.h"
#include "tests/support/party.pb.h"

namespace mailrail {

// The message queues that a party has open, POSIX's or Mailrail's: the same calls, with the same
// errors, so that one test shows that both mean the same. Thread-safe; one call at a time on one
// queue, but that one thread may send while another one receives. Closes them when it goes.
class Queues {
 public:
  virtual ~Queues() = default;

  static std::unique_ptr<Queues> OfPosix();
  // `process` is not owned, and outlives it.
  static std::unique_ptr<Queues> OfMailrail(Process* process);

  // A deadline of absl::InfiniteFuture() is the call without one.
  virtual party::QueueResult Do(const party::QueueCall& call, absl::Time deadline) = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_QUEUES_H_
