#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "node/agent/agent.h"
#include "node/cli/background.h"
#include "node/cli/commands.h"
#include "node/config/agent_settings.h"
#include "node/keeper/keeper.h"

namespace mailrail::cli {
namespace {

constexpr absl::Duration kBackgroundIdleExit = absl::Seconds(60);

struct AgentArguments {
  std::map<std::string, std::string> settings;  // key to text form, for the flags that were given
  std::string file;
  bool background = false;
  bool no_keeper = false;
  // How the keeper calls the agent proper.
  bool proper = false;
  int keeper_fd = -1;
};

absl::StatusOr<AgentConfig> Load(const AgentArguments& arguments) {
  ConfigSources sources;
  sources.flags = arguments.settings;
  sources.defaults = DefaultAgentConfig();
  // The agent proper is told all by its keeper: what changed since then is for the next start.
  if (arguments.proper) return LoadAgentConfig(sources);
  sources.environment = getenv;
  sources.file = arguments.file;
  if (const char* file = getenv("MAILRAIL_CONFIG"); sources.file.empty() && file != nullptr) {
    sources.file = file;
  }
  if (arguments.background) sources.defaults.idle_exit = kBackgroundIdleExit;
  absl::StatusOr<AgentConfig> config = LoadAgentConfig(sources);
  if (config.ok() && arguments.background) {
    std::error_code error;
    const std::string path = std::filesystem::absolute(config->socket, error).string();
    if (!error) config->socket = path;
  }
  return config;
}

// Makes the socket's folder, so that the agent does not fail at that again and again.
absl::Status MakeSocketFolder(const AgentConfig& config) {
  const std::string folder = std::filesystem::path(config.socket).parent_path().string();
  if (folder.empty() || mkdir(folder.c_str(), 0755) == 0 || errno == EEXIST) {
    return absl::OkStatus();
  }
  return Annotate(absl::StrCat("the socket's folder ", folder),
                  absl::ErrnoToStatus(errno, "cannot be made; choose another --socket"));
}

// The agent proper's command line; the keeper appends its descriptor.
std::vector<std::string> ProperCommand(const AgentConfig& config) {
  std::vector<std::string> command = {"mailrail", "agent", "--proper"};
  for (std::string& flag : AgentFlags(config)) command.push_back(std::move(flag));
  return command;
}

int RunAgentCommand(const AgentArguments& arguments) {
  // The agent says itself what goes wrong, in one line each. Whoever wants gRPC's own lines sets
  // it.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  const absl::StatusOr<AgentConfig> config = Load(arguments);
  if (!config.ok()) return Report(config.status());
  if (arguments.proper) return RunAgent(*config, arguments.keeper_fd, ProperCommand(*config));
  if (absl::Status status = MakeSocketFolder(*config); !status.ok()) return Report(status);
  const auto serve = [&arguments, &config] {
    if (arguments.no_keeper) return RunAgent(*config, -1, {});
    KeeperOptions options;
    options.agent_command = ProperCommand(*config);
    return RunKeeper(options);
  };
  return arguments.background ? RunInBackground(*config, serve) : serve();
}

void AddSettingFlag(CLI::App& command, const AgentSetting& setting,
                    const std::shared_ptr<AgentArguments>& arguments) {
  const auto store = [arguments, key = std::string(setting.key)](const CLI::results_t& texts) {
    arguments->settings[key] = absl::StrJoin(texts, ",");
    return true;
  };
  CLI::Option* option = command.add_option(
      setting.flag, store, absl::StrCat(setting.help, " [$", setting.environment, "]"));
  option->type_name(setting.value);
  if (!setting.is_map) return;
  option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  option->allow_extra_args(false);
}

}  // namespace

void AddAgentCommand(CLI::App& app, Action* action) {
  const auto arguments = std::make_shared<AgentArguments>();
  CLI::App* command =
      AddCommand(app, "agent", "Run this host's agent, until SIGTERM",
                 "mailrail agent --node alpha --listen 10.0.0.1:7400 --peer beta=10.0.0.2:7400");
  for (const AgentSetting& setting : AgentSettings()) AddSettingFlag(*command, setting, arguments);
  command
      ->add_option("--config", arguments->file,
                   "a YAML file with the same settings, as 'node: alpha', and 'peers:' as a map "
                   "of NODE: HOST:PORT; a flag goes before the environment, and that before "
                   "the file [$MAILRAIL_CONFIG]")
      ->type_name("FILE");
  command->add_flag("--background", arguments->background,
                    "return when the agent answers at its socket; --idle-exit is then 60s unless "
                    "set, and the log $XDG_STATE_HOME/mailrail/agent.log, by default "
                    "~/.local/state/mailrail/agent.log");
  command->add_flag("--no-keeper", arguments->no_keeper,
                    "run without the keeper, which starts a killed agent again with all it had");
  command->add_flag("--proper", arguments->proper)->group("");
  command->add_option("--keeper-fd", arguments->keeper_fd)->group("");
  command->callback(
      [arguments, action] { *action = [arguments] { return RunAgentCommand(*arguments); }; });
}

}  // namespace mailrail::cli
