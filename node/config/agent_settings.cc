#include "node/config/agent_settings.h"

#include <limits.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/name.h"
#include "core/process/find_agent.h"
#include "mailrail/limits.h"
#include "node/config/settings_file.h"
#include "node/config/units.h"

namespace mailrail {
namespace {

constexpr uint32_t kMostProcesses = 60000;

// Stores a value that was read; else says why not.
template <typename From, typename To>
absl::Status Store(absl::StatusOr<From> value, To* to) {
  if (value.ok()) *to = static_cast<To>(*std::move(value));
  return value.status();
}

absl::Status SetNode(absl::string_view text, AgentConfig* config) {
  config->node = std::string(text);
  return CheckName("node", text);
}
std::string GetNode(const AgentConfig& config) { return config.node; }

absl::Status SetCluster(absl::string_view text, AgentConfig* config) {
  config->cluster = std::string(text);
  return CheckName("cluster", text);
}
std::string GetCluster(const AgentConfig& config) { return config.cluster; }

absl::Status SetListen(absl::string_view text, AgentConfig* config) {
  return Store(ReadAddress(text, /*any_port=*/true), &config->listen);
}
std::string GetListen(const AgentConfig& config) { return config.listen; }

absl::Status SetAdvertise(absl::string_view text, AgentConfig* config) {
  return Store(ReadAddress(text, /*any_port=*/true), &config->advertise);
}
std::string GetAdvertise(const AgentConfig& config) { return config.advertise; }

absl::Status SetPeers(absl::string_view text, AgentConfig* config) {
  config->peers.clear();
  for (const absl::string_view peer : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(absl::StripAsciiWhitespace(peer), absl::MaxSplits('=', 1));
    if (parts.second.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", peer, "' is no peer; write NODE=HOST:PORT, as beta=10.0.0.2:7400"));
    }
    if (absl::Status status = CheckName("node", parts.first); !status.ok()) return status;
    const std::string node(parts.first);
    if (config->peers.contains(node)) {
      return absl::InvalidArgumentError(absl::StrCat("peer ", node, " comes twice"));
    }
    if (absl::Status status =
            Store(ReadAddress(parts.second, /*any_port=*/false), &config->peers[node]);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}
std::string GetPeers(const AgentConfig& config) {
  return absl::StrJoin(config.peers, ",", absl::PairFormatter("="));
}

absl::Status SetSocket(absl::string_view text, AgentConfig* config) {
  config->socket = std::string(text);
  if (text.empty() || text.size() >= sizeof(sockaddr_un::sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("the path of a socket has 1 to ",
                                                   sizeof(sockaddr_un::sun_path) - 1, " bytes"));
  }
  return absl::OkStatus();
}
std::string GetSocket(const AgentConfig& config) { return config.socket; }

absl::Status SetSocketMode(absl::string_view text, AgentConfig* config) {
  return Store(ReadMode(text), &config->socket_mode);
}
std::string GetSocketMode(const AgentConfig& config) { return FormatMode(config.socket_mode); }

absl::Status SetIdleExit(absl::string_view text, AgentConfig* config) {
  return Store(ReadDuration(text), &config->idle_exit);
}
std::string GetIdleExit(const AgentConfig& config) {
  return absl::FormatDuration(config.idle_exit);
}

absl::Status SetDrainTimeout(absl::string_view text, AgentConfig* config) {
  return Store(ReadDuration(text), &config->drain_timeout);
}
std::string GetDrainTimeout(const AgentConfig& config) {
  return absl::FormatDuration(config.drain_timeout);
}

absl::Status SetObjectLease(absl::string_view text, AgentConfig* config) {
  absl::Duration lease;
  if (absl::Status status = Store(ReadDuration(text), &lease); !status.ok()) return status;
  if (lease < absl::Milliseconds(600) || lease > absl::Hours(24)) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not 600ms to 24h"));
  }
  config->object_lease = lease;
  return absl::OkStatus();
}
std::string GetObjectLease(const AgentConfig& config) {
  return absl::FormatDuration(config.object_lease);
}

absl::Status SetMaxProcesses(absl::string_view text, AgentConfig* config) {
  return Store(ReadNumber(text, 1, kMostProcesses), &config->max_processes);
}
std::string GetMaxProcesses(const AgentConfig& config) {
  return absl::StrCat(config.max_processes);
}

absl::Status SetMemoryBytes(absl::string_view text, AgentConfig* config) {
  return Store(ReadSize(text), &config->memory_bytes);
}
std::string GetMemoryBytes(const AgentConfig& config) { return FormatSize(config.memory_bytes); }

absl::Status SetProcessMemoryBytes(absl::string_view text, AgentConfig* config) {
  return Store(ReadSize(text), &config->process_memory_bytes);
}
std::string GetProcessMemoryBytes(const AgentConfig& config) {
  return FormatSize(config.process_memory_bytes);
}

constexpr AgentSetting kSettings[] = {
    {"node", "--node", "MAILRAIL_NODE", "NAME",
     "this node's name in the cluster (default: the host's)", false, SetNode, GetNode},
    {"cluster", "--cluster", "MAILRAIL_CLUSTER", "ID",
     "agents of other clusters are refused (default: default)", false, SetCluster, GetCluster},
    {"listen", "--listen", "MAILRAIL_LISTEN", "HOST:PORT",
     "where other agents connect (default: nowhere)", false, SetListen, GetListen},
    {"advertise", "--advertise", "MAILRAIL_ADVERTISE", "HOST:PORT",
     "what peers are told to dial (default: as --listen)", false, SetAdvertise, GetAdvertise},
    {"peers", "--peer", "MAILRAIL_PEERS", "NODE=HOST:PORT",
     "another node and its agent's address; may be repeated", true, SetPeers, GetPeers},
    {"socket", "--socket", "MAILRAIL_SOCKET", "PATH", "the socket that programs attach at", false,
     SetSocket, GetSocket},
    {"socket_mode", "--socket-mode", "MAILRAIL_SOCKET_MODE", "MODE",
     "who may attach, as permissions of the socket (default: 0600)", false, SetSocketMode,
     GetSocketMode},
    {"idle_exit", "--idle-exit", "MAILRAIL_IDLE_EXIT", "DURATION",
     "leave when nothing was attached and no message waited for so long (default: inf)", false,
     SetIdleExit, GetIdleExit},
    {"drain_timeout", "--drain-timeout", "MAILRAIL_DRAIN_TIMEOUT", "DURATION",
     "how long SIGTERM waits for what is on its way to other nodes (default: 5s)", false,
     SetDrainTimeout, GetDrainTimeout},
    {"object_lease", "--object-lease", "MAILRAIL_OBJECT_LEASE", "DURATION",
     "how long a node that does not answer keeps what its processes hold of this node's locks "
     "(default: 30s)",
     false, SetObjectLease, GetObjectLease},
    {"max_processes", "--max-processes", "MAILRAIL_MAX_PROCESSES", "N",
     "how many processes may be attached (default: 20000)", false, SetMaxProcesses,
     GetMaxProcesses},
    {"memory_bytes", "--memory-bytes", "MAILRAIL_MEMORY_BYTES", "SIZE",
     "shared memory for messages, as 512M (default: half of the host's memory, or of the agent's "
     "cgroup's limit)",
     false, SetMemoryBytes, GetMemoryBytes},
    {"process_memory_bytes", "--process-memory-bytes", "MAILRAIL_PROCESS_MEMORY_BYTES", "SIZE",
     "the most of that for what one process sends (default: a share of what is left)", false,
     SetProcessMemoryBytes, GetProcessMemoryBytes},
};

absl::Status At(absl::string_view place, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat(place, ": ", status.message()));
}

absl::Status ApplyFileSetting(const std::string& file, const FileSetting& setting,
                              AgentConfig* config) {
  const std::string place = absl::StrCat(file, ":", setting.line);
  const auto known =
      std::find_if(std::begin(kSettings), std::end(kSettings),
                   [&](const AgentSetting& candidate) { return candidate.key == setting.key; });
  if (known == std::end(kSettings)) {
    return At(place, absl::InvalidArgumentError(absl::StrCat(
                         "unknown key '", setting.key, "'; the keys are ",
                         absl::StrJoin(kSettings, ", ", [](std::string* out, const auto& each) {
                           absl::StrAppend(out, each.key);
                         }))));
  }
  if (known->is_map != setting.is_map) {
    return At(place, absl::InvalidArgumentError(absl::StrCat(
                         "'", setting.key, "' must be ",
                         known->is_map ? "a map of NODE: HOST:PORT" : "one value, not a map")));
  }
  if (!setting.is_map)
    return At(absl::StrCat(place, ": ", setting.key), known->set(setting.text, config));
  std::vector<std::string> all;
  for (const FileSetting::Entry& entry : setting.entries) {
    // Each by itself first, so that a mistake is told with its own line.
    all.push_back(absl::StrCat(entry.name, "=", entry.text));
    const absl::Status status =
        absl::StrContains(all.back(), ',')
            ? absl::InvalidArgumentError(absl::StrCat("'", all.back(), "' has a comma in it"))
            : known->set(all.back(), config);
    if (!status.ok()) return At(absl::StrCat(file, ":", entry.line, ": ", setting.key), status);
  }
  return At(place, known->set(absl::StrJoin(all, ","), config));
}

}  // namespace

absl::Span<const AgentSetting> AgentSettings() { return kSettings; }

std::string NodeNameFrom(absl::string_view host_name) {
  std::string name(host_name.substr(0, kMaxNameLength));
  for (char& c : name) {
    if (!CheckName("node", std::string("a") + c).ok()) c = '-';
  }
  if (CheckName("node", name).ok()) return name;
  return absl::StrCat("node-", name).substr(0, kMaxNameLength);
}

AgentConfig DefaultAgentConfig() {
  char host_name[HOST_NAME_MAX + 1] = "";
  gethostname(host_name, sizeof(host_name) - 1);
  AgentConfig config;
  config.node = NodeNameFrom(host_name);
  config.socket = internal::AgentSocketPath("");
  return config;
}

absl::StatusOr<AgentConfig> LoadAgentConfig(const ConfigSources& sources) {
  AgentConfig config = sources.defaults;
  if (!sources.file.empty()) {
    absl::StatusOr<std::vector<FileSetting>> file = ReadSettingsFile(sources.file);
    if (!file.ok()) return file.status();
    for (const FileSetting& setting : *file) {
      const absl::Status status = ApplyFileSetting(sources.file, setting, &config);
      if (!status.ok()) return status;
    }
  }
  for (const AgentSetting& setting : kSettings) {
    const char* value = sources.environment(setting.environment);
    if (value == nullptr || *value == '\0') continue;
    const absl::Status status = At(setting.environment, setting.set(value, &config));
    if (!status.ok()) return status;
  }
  for (const AgentSetting& setting : kSettings) {
    const auto flag = sources.flags.find(setting.key);
    if (flag == sources.flags.end()) continue;
    const absl::Status status = At(setting.flag, setting.set(flag->second, &config));
    if (!status.ok()) return status;
  }
  // The defaults depend on the host, so they are checked like all else.
  if (absl::Status status = At("--node", CheckName("node", config.node)); !status.ok()) {
    return status;
  }
  AgentConfig unused;
  if (absl::Status status = At("--socket", SetSocket(config.socket, &unused)); !status.ok()) {
    return status;
  }
  return config;
}

std::vector<std::string> AgentFlags(const AgentConfig& config) {
  std::vector<std::string> flags;
  const AgentConfig standard;
  for (const AgentSetting& setting : kSettings) {
    const std::string text = setting.get(config);
    if (text == setting.get(standard)) continue;
    if (!setting.is_map) {
      flags.push_back(absl::StrCat(setting.flag, "=", text));
      continue;
    }
    for (const absl::string_view entry : absl::StrSplit(text, ',', absl::SkipEmpty())) {
      flags.push_back(absl::StrCat(setting.flag, "=", entry));
    }
  }
  return flags;
}

}  // namespace mailrail
