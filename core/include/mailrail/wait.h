#ifndef MAILRAIL_WAIT_H_
#define MAILRAIL_WAIT_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "mailrail/receiver.h"

namespace mailrail {

// Waits until one of `receivers` may have a message (or its mailbox is gone), and returns its
// index; the first, when several have. "May", because another receiver of the same mailbox may be
// quicker: follow with TryReceive. kDeadlineExceeded when none has until `deadline`.
// REQUIRES: 1 to 126 receivers, none null, all of one Process, none in use by another thread.
absl::StatusOr<size_t> WaitAny(absl::Span<Receiver* const> receivers,
                               absl::Time deadline = absl::InfiniteFuture());

}  // namespace mailrail

#endif  // MAILRAIL_WAIT_H_
