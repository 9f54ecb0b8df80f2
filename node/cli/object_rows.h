// How named objects (mutexes, semaphores, ...) are printed. In JSON the keys are stable: scripts
// read them.
#ifndef MAILRAIL_NODE_CLI_OBJECT_ROWS_H_
#define MAILRAIL_NODE_CLI_OBJECT_ROWS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "node/cli/command.h"
#include "proto/agent.pb.h"

namespace mailrail::cli {

// "mutex", "shared-mutex", "semaphore", "condition", "barrier".
absl::string_view NameOf(proto::ObjectKind kind);

// A table, or an array with an object for each row: who holds what, and who waits for it.
std::string FormatObjects(const control::Listing& listing, OutputFormat format);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_OBJECT_ROWS_H_
