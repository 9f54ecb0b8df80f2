#ifndef MAILRAIL_CORE_BASE_NAME_H_
#define MAILRAIL_CORE_BASE_NAME_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mailrail {

// Checks one part of a name (limits.h); `what` ("mailbox", "process", "node") is for the error:
// kInvalidArgument.
absl::Status CheckName(absl::string_view what, absl::string_view name);

// A name with the node that it may carry: `orders`, `orders@alpha`.
struct QualifiedName {
  std::string name;
  std::string node;  // empty: not said

  std::string ToString() const { return node.empty() ? name : name + "@" + node; }
};

// Parses and checks both parts. kInvalidArgument.
absl::StatusOr<QualifiedName> ParseQualifiedName(absl::string_view what, absl::string_view text);

}  // namespace mailrail

#endif  // MAILRAIL_CORE_BASE_NAME_H_
