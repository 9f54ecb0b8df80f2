// What looks into mailboxes, and moves dead letters, by requests to the agent: for a Process, and
// for who asks without attaching.
#ifndef MAILRAIL_CORE_PROCESS_BROWSE_H_
#define MAILRAIL_CORE_PROCESS_BROWSE_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "core/process/agent_connection.h"
#include "mailrail/mailbox.h"
#include "proto/agent.pb.h"

namespace mailrail::internal {

// Puts a request to the agent. It may be put again when the agent has died meanwhile.
using AskAgent = absl::FunctionRef<absl::StatusOr<AgentReply>(control::Request request)>;

// As Process::Peek, Browse and Redrive. Each puts as many requests as are needed.
absl::StatusOr<absl::optional<BrowsedMessage>> Peek(absl::string_view mailbox, AskAgent ask);
absl::StatusOr<std::vector<BrowsedMessage>> Browse(absl::string_view mailbox,
                                                   const BrowseOptions& options, AskAgent ask);
absl::StatusOr<Redriven> Redrive(absl::string_view dead_letters, const RedriveOptions& options,
                                 AskAgent ask);

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_BROWSE_H_
