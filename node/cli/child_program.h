#ifndef MAILRAIL_NODE_CLI_CHILD_PROGRAM_H_
#define MAILRAIL_NODE_CLI_CHILD_PROGRAM_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mailrail::cli {

// What came of a program.
struct ChildOutcome {
  std::string output;
  int exit_code = 0;  // 128 and the signal's number when one has killed it, as of a shell
};

// Runs a program, found in PATH, to its end: `input` is its standard input, `variables`
// (NAME=VALUE) are added to the environment. kNotFound when it cannot be started, kInvalidArgument
// when it prints more than `most_bytes`.
absl::StatusOr<ChildOutcome> RunChild(const std::vector<std::string>& command,
                                      absl::string_view input,
                                      const std::vector<std::string>& variables, size_t most_bytes);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_CHILD_PROGRAM_H_
