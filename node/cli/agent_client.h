#ifndef MAILRAIL_NODE_CLI_AGENT_CLIENT_H_
#define MAILRAIL_NODE_CLI_AGENT_CLIENT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/process/agent_connection.h"
#include "mailrail/process.h"
#include "proto/agent.pb.h"

namespace mailrail::cli {

// Asks this host's agent without attaching. One thread at a time.
class AgentClient {
 public:
  // Whether asking twice is as good as asking once.
  enum class Repeat { kMay, kMustNot };

  // Connects, and starts an agent if `options` say so. kUnavailable when there is none.
  static absl::StatusOr<std::unique_ptr<AgentClient>> Connect(const AttachOptions& options);

  // Asks. When the agent dies meanwhile, a request that may be repeated is put to the next one;
  // for another it is kUnavailable, and not known whether it was carried out.
  absl::StatusOr<internal::AgentReply> Call(const control::Request& request, Repeat repeat,
                                            absl::Time deadline, absl::Span<const int> fds = {});

  // All pages of a list; `name` leaves the rows of that name.
  absl::StatusOr<control::Listing> List(control::ListKind kind, const std::string& name = "");

  // The name of the agent's node.
  absl::StatusOr<std::string> Node();

 private:
  explicit AgentClient(const AttachOptions& options) : options_(options) {}
  absl::Status Reconnect();

  const AttachOptions options_;
  std::unique_ptr<internal::AgentConnection> connection_;
};

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_AGENT_CLIENT_H_
