#ifndef MAILRAIL_TESTS_SUPPORT_EVENTUALLY_H_
#define MAILRAIL_TESTS_SUPPORT_EVENTUALLY_H_

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace mailrail {

// How long a test waits for what must happen, before it takes it for a failure. No test expects
// anything to be as quick as this.
inline absl::Time Patience() { return absl::Now() + absl::Seconds(60); }

// Looks again and again until `condition` holds; false when it does not within Patience().
bool Eventually(absl::FunctionRef<bool()> condition);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_EVENTUALLY_H_
