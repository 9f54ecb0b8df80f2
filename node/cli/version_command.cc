#include <memory>
#include <string>

#include "core/process/find_agent.h"
#include "node/cli/agent_client.h"
#include "node/cli/commands.h"
#include "node/cli/rows.h"
#include "node/config/version.h"

namespace mailrail::cli {
namespace {

struct VersionArguments {
  std::string socket;
  OutputFormat format = OutputFormat::kText;
};

absl::Status RunVersion(const VersionArguments& arguments) {
  AttachOptions options = AttachOptionsFor(arguments.socket);
  options.autostart = false;
  std::string agent_version;
  absl::StatusOr<std::unique_ptr<AgentClient>> client = AgentClient::Connect(options);
  if (client.ok()) {
    absl::StatusOr<control::Listing> listing = (*client)->List(control::VERSION);
    if (!listing.ok()) return listing.status();
    agent_version = listing->version();
  }
  return Print(FormatVersion(kVersion, agent_version, internal::AgentSocketPath(arguments.socket),
                             arguments.format));
}

}  // namespace

void AddVersionCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<VersionArguments>();
  CLI::App* command =
      AddCommand(app, "version", "Tell the version of this program and of the agent",
                 "mailrail version -o json");
  AddSocketFlag(*command, &arguments->socket);
  AddOutputFlag(*command, &arguments->format);
  command->callback(
      [arguments, action] { *action = [arguments] { return Report(RunVersion(*arguments)); }; });
}

}  // namespace mailrail::cli
