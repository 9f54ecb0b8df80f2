#include "node/config/agent_settings.h"

#include <stdio.h>
#include <stdlib.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/name.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrail {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

class AgentSettingsTest : public testing::Test {
 protected:
  AgentSettingsTest() {
    sources_.defaults.node = "host";
    sources_.defaults.socket = "/run/mailrail/agent.sock";
    sources_.environment = [this](const char* name) -> const char* {
      const auto it = environment_.find(name);
      return it == environment_.end() ? nullptr : it->second.c_str();
    };
  }

  void WriteFile(const std::string& text) {
    sources_.file = absl::StrCat(testing::TempDir(), "/agent.yaml");
    std::ofstream(sources_.file) << text;
  }

  AgentConfig Load() {
    const absl::StatusOr<AgentConfig> config = LoadAgentConfig(sources_);
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? *config : AgentConfig();
  }

  std::string Error() {
    const absl::Status status = LoadAgentConfig(sources_).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  }

  ConfigSources sources_;
  std::map<std::string, std::string> environment_;
};

TEST_F(AgentSettingsTest, NothingSetGivesTheDefaults) {
  const AgentConfig config = Load();
  EXPECT_EQ(config.node, "host");
  EXPECT_EQ(config.socket, "/run/mailrail/agent.sock");
  EXPECT_EQ(config.socket_mode, 0600u);
  EXPECT_EQ(config.idle_exit, absl::InfiniteDuration());
  EXPECT_THAT(config.peers, IsEmpty());
}

TEST_F(AgentSettingsTest, AFileSetsEverything) {
  WriteFile(
      "node: alpha\ncluster: blue\nlisten: 10.0.0.1:7400\nadvertise: alpha.example:7400\n"
      "peers:\n  beta: 10.0.0.2:7400\n  gamma: 10.0.0.3:7400\n"
      "socket: /tmp/a.sock\nsocket_mode: 0660\nidle_exit: 2m\ndrain_timeout: 30\n"
      "object_lease: 3s\nmax_processes: 500\nmemory_bytes: 512M\nprocess_memory_bytes: 65536\n");
  const AgentConfig config = Load();
  EXPECT_EQ(config.node, "alpha");
  EXPECT_EQ(config.cluster, "blue");
  EXPECT_EQ(config.listen, "10.0.0.1:7400");
  EXPECT_EQ(config.advertise, "alpha.example:7400");
  EXPECT_THAT(config.peers,
              ElementsAre(Pair("beta", "10.0.0.2:7400"), Pair("gamma", "10.0.0.3:7400")));
  EXPECT_EQ(config.socket, "/tmp/a.sock");
  EXPECT_EQ(config.socket_mode, 0660u);
  EXPECT_EQ(config.idle_exit, absl::Minutes(2));
  EXPECT_EQ(config.drain_timeout, absl::Seconds(30));
  EXPECT_EQ(config.object_lease, absl::Seconds(3));
  EXPECT_EQ(config.max_processes, 500u);
  EXPECT_EQ(config.memory_bytes, uint64_t{512} << 20);
  EXPECT_EQ(config.process_memory_bytes, 65536u);
}

TEST_F(AgentSettingsTest, FlagsComeBeforeEnvironmentBeforeFile) {
  WriteFile("node: from-file\ncluster: from-file\nlisten: file:1\npeers:\n  beta: file:1\n");
  environment_ = {{"MAILRAIL_NODE", "from-env"},
                  {"MAILRAIL_LISTEN", "env:2"},
                  {"MAILRAIL_PEERS", "gamma=env:2, delta=env:3"},
                  {"MAILRAIL_ADVERTISE", ""}};
  sources_.flags = {{"node", "from-flag"}};
  const AgentConfig config = Load();
  EXPECT_EQ(config.node, "from-flag");
  EXPECT_EQ(config.listen, "env:2");
  EXPECT_EQ(config.cluster, "from-file");
  EXPECT_EQ(config.advertise, "");
  EXPECT_THAT(config.peers, ElementsAre(Pair("delta", "env:3"), Pair("gamma", "env:2")));
}

TEST_F(AgentSettingsTest, UnknownKeyIsNamedWithItsLine) {
  WriteFile("node: alpha\n\nlisten_address: 10.0.0.1:7400\n");
  EXPECT_THAT(Error(), HasSubstr("agent.yaml:3: unknown key 'listen_address'; the keys are node"));
}

TEST_F(AgentSettingsTest, WrongValuesSayWhereTheyAre) {
  WriteFile("node: alpha\nsocket_mode: rw\n");
  EXPECT_THAT(Error(), HasSubstr("agent.yaml:2: socket_mode: 'rw' is no mode"));
  WriteFile("peers:\n  beta: 10.0.0.2:7400\n  gamma: nowhere\n");
  EXPECT_THAT(Error(), HasSubstr("agent.yaml:3: peers: 'nowhere' is no address"));
  WriteFile("node: alpha\npeers: beta\n");
  EXPECT_THAT(Error(), HasSubstr("agent.yaml:2: 'peers' must be a map"));
  WriteFile("node:\n  name: alpha\n");
  EXPECT_THAT(Error(), HasSubstr("agent.yaml:1: 'node' must be one value"));
  sources_.file.clear();
  environment_ = {{"MAILRAIL_MAX_PROCESSES", "many"}};
  EXPECT_THAT(Error(), StartsWith("MAILRAIL_MAX_PROCESSES: 'many' is no number"));
  environment_.clear();
  sources_.flags = {{"node", "two words"}};
  EXPECT_THAT(Error(), StartsWith("--node: bad node name"));
}

TEST_F(AgentSettingsTest, PeersAreCheckedOneByOne) {
  for (const char* peers : {"beta", "beta=", "=h:1", "4=h:1", "beta=h:1,beta=h:2", "beta=h:0"}) {
    sources_.flags = {{"peers", peers}};
    EXPECT_THAT(Error(), StartsWith("--peer: ")) << peers;
  }
  sources_.flags.clear();
  WriteFile("peers:\n  beta: h:1,gamma=h:2\n");
  EXPECT_THAT(Error(), HasSubstr("agent.yaml:2: peers: "));
}

TEST_F(AgentSettingsTest, PathsOfSocketsThatAreTooLongAreRefused) {
  sources_.flags = {{"socket", std::string(108, 'x')}};
  EXPECT_THAT(Error(), StartsWith("--socket: "));
  sources_.flags = {{"socket", ""}};
  EXPECT_THAT(Error(), StartsWith("--socket: "));
}

TEST_F(AgentSettingsTest, FlagsGiveTheSameConfigurationAgain) {
  WriteFile(
      "node: alpha\ncluster: blue\nlisten: '[::1]:7400'\npeers:\n  beta: b:1\n  gamma: c:2\n"
      "socket_mode: 0666\nidle_exit: 90s\n");
  const AgentConfig config = Load();
  EXPECT_THAT(
      AgentFlags(config),
      ElementsAre("--node=alpha", "--cluster=blue", "--listen=[::1]:7400", "--peer=beta=b:1",
                  "--peer=gamma=c:2", "--socket=/run/mailrail/agent.sock", "--socket-mode=0666",
                  "--idle-exit=1m30s"));
}

TEST_F(AgentSettingsTest, EverySettingReadsItsOwnTextForm) {
  AgentConfig config = sources_.defaults;
  config.peers = {{"beta", "b:1"}, {"gamma", "c:2"}};
  config.listen = config.advertise = "a:1";
  config.idle_exit = absl::InfiniteDuration();
  for (const AgentSetting& setting : AgentSettings()) {
    AgentConfig other;
    EXPECT_TRUE(setting.set(setting.get(config), &other).ok()) << setting.key;
    EXPECT_EQ(setting.get(other), setting.get(config)) << setting.key;
  }
}

TEST_F(AgentSettingsTest, HostNamesBecomeNodeNames) {
  EXPECT_EQ(NodeNameFrom("alpha"), "alpha");
  EXPECT_EQ(NodeNameFrom("web-1.example.org"), "web-1.example.org");
  EXPECT_EQ(NodeNameFrom("4711"), "node-4711");
  EXPECT_EQ(NodeNameFrom("my host!"), "my-host-");
  for (const std::string& name : {std::string(), std::string(200, 'x'), std::string(63, '7'),
                                  std::string("-x"), std::string("h\xc3\xb6st")}) {
    EXPECT_TRUE(CheckName("node", NodeNameFrom(name)).ok()) << NodeNameFrom(name);
  }
  EXPECT_TRUE(CheckName("node", DefaultAgentConfig().node).ok());
}

}  // namespace
}  // namespace mailrail
