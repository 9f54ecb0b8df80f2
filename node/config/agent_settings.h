// From flags, the environment and a file to what the agent runs with.
#ifndef MAILRAIL_NODE_CONFIG_AGENT_SETTINGS_H_
#define MAILRAIL_NODE_CONFIG_AGENT_SETTINGS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "node/config/agent_config.h"

namespace mailrail {

// One thing that can be set, under its three names.
struct AgentSetting {
  const char* key;          // in the file: "socket_mode"
  const char* flag;         // "--socket-mode"
  const char* environment;  // "MAILRAIL_SOCKET_MODE"
  const char* value;        // what stands for the value in the help: "MODE"
  const char* help;
  // In a file a map; a flag that may be repeated; in the environment NAME=VALUE,NAME=VALUE.
  bool is_map;
  // Takes the value in its text form (for a map that of the environment). kInvalidArgument.
  absl::Status (*set)(absl::string_view text, AgentConfig* config);
  // The text form; empty when there is nothing to say.
  std::string (*get)(const AgentConfig& config);
};

// All settings, in the order of the help.
absl::Span<const AgentSetting> AgentSettings();

// Where values come from. A value of an earlier source replaces that of a later one as a whole,
// the peers too.
struct ConfigSources {
  // Key to text form, for the flags that were given.
  std::map<std::string, std::string> flags;
  // The value of an environment variable; null or empty when it is not set.
  std::function<const char*(const char* name)> environment = [](const char*) { return nullptr; };
  // The path of a YAML file; empty: none.
  std::string file;
  AgentConfig defaults;
};

// The defaults of this host: the node is called like the host, the socket is where programs of this
// user look for it.
AgentConfig DefaultAgentConfig();

// Puts the sources together and checks the result. kInvalidArgument; the message begins with where
// the mistake is: "agent.yaml:3: ", "MAILRAIL_LISTEN: ", "--listen: ".
absl::StatusOr<AgentConfig> LoadAgentConfig(const ConfigSources& sources);

// The flags that stand for `config` when there is neither environment nor file.
std::vector<std::string> AgentFlags(const AgentConfig& config);

// A valid name of a node made from any text: what may not be in a name becomes '-'.
std::string NodeNameFrom(absl::string_view host_name);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CONFIG_AGENT_SETTINGS_H_
