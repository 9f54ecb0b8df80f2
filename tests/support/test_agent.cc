// The agent proper by itself, without a keeper, with the flags of `mailrail agent` that tests use:
//
//   test_agent agent --node N --socket PATH [--listen ADDR] [--peer NODE=ADDR]...
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "node/agent/agent.h"

int main(int argc, char** argv) {
  mailrail::AgentConfig config;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = argv[i + 1];
    if (flag == "--node") {
      config.node = value;
    } else if (flag == "--socket") {
      config.socket = value;
    } else if (flag == "--listen") {
      config.listen = value;
    } else if (flag == "--peer") {
      config.peers.insert(std::pair<std::string, std::string>(absl::StrSplit(value, '=')));
    } else {
      std::fprintf(stderr, "test_agent: no flag %s\n", flag.c_str());
      return 2;
    }
  }
  return mailrail::RunAgent(config, -1, {});
}
