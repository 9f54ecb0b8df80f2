#ifndef MAILRAIL_TESTS_SUPPORT_HEALTH_H_
#define MAILRAIL_TESTS_SUPPORT_HEALTH_H_

#include <string>

#include "absl/status/statusor.h"

namespace mailrail {

// What the standard health service says of the server at `address`, as its protocol counts.
enum class Health { kUnknown, kServing, kNotServing };

// Asks it, on a connection of its own. An error when there is no answer.
absl::StatusOr<Health> HealthOf(const std::string& address);

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_HEALTH_H_
