#include <memory>

#include "absl/status/status.h"
#include "node/cli/agent_client.h"
#include "node/cli/commands.h"
#include "node/cli/object_rows.h"
#include "node/cli/rows.h"

namespace mailrail::cli {
namespace {

struct ListOptions {
  std::string socket;
  OutputFormat format = OutputFormat::kText;
};

using Formatter = std::string (*)(const control::Listing& listing, OutputFormat format);

absl::Status RunList(const ListOptions& options, control::ListKind kind, Formatter formatter) {
  absl::StatusOr<std::unique_ptr<AgentClient>> client =
      AgentClient::Connect(AttachOptionsFor(options.socket));
  if (!client.ok()) return client.status();
  absl::StatusOr<control::Listing> listing = (*client)->List(kind);
  if (!listing.ok()) return listing.status();
  return Print(formatter(*listing, options.format));
}

void AddListCommand(CLI::App& app, Action* action, const std::string& name, const std::string& help,
                    const std::string& example, control::ListKind kind, Formatter formatter) {
  const auto options = std::make_shared<ListOptions>();
  CLI::App* command = AddCommand(app, name, help, example);
  AddSocketFlag(*command, &options->socket);
  AddOutputFlag(*command, &options->format);
  command->callback([options, action, kind, formatter] {
    *action = [=] { return Report(RunList(*options, kind, formatter)); };
  });
}

}  // namespace

void AddListCommands(CLI::App& app, Action* action) {
  AddListCommand(
      app, action, "ps",
      "List the processes that are attached to this host's agent; dropped are messages that they "
      "had sent to other nodes, and nobody could take, expired those that came to them too late",
      "mailrail ps -o json", control::PROCESSES, FormatProcesses);
  AddListCommand(app, action, "nodes",
                 "List this node and its peers, and whether they are connected", "mailrail nodes",
                 control::NODES, FormatNodes);
  AddListCommand(app, action, "links", "List the links between processes, and lanes to other nodes",
                 "mailrail links -o json", control::LINKS, FormatLinks);
  AddListCommand(
      app, action, "locks",
      "List this node's mutexes, shared mutexes, semaphores, conditions and barriers: who "
      "holds each, and who has waited for a lock for more than a moment",
      "mailrail locks -o json", control::OBJECTS, FormatObjects);
}

}  // namespace mailrail::cli
