#include "tests/support/cluster.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/fd.h"
#include "tests/support/eventually.h"
#include "tests/support/local_party.h"
#include "tests/support/require.h"

namespace mailrail {
namespace {

// A port of the loopback network that is free and stays so: nobody else takes an address that has
// this process's pid in it, and outgoing connections get ports of 127.0.0.1.
std::string FreeAddress() {
  const auto pid = static_cast<uint32_t>(getpid());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl((uint32_t{127} << 24) | ((pid % 0xfffffd) + 2));
  socklen_t size = sizeof(address);
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Require(bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  Require(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0,
          "getsockname");
  char text[INET_ADDRSTRLEN];
  Require(inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text)) != nullptr, "inet_ntop");
  return absl::StrCat(text, ":", ntohs(address.sin_port));
}

// The child of a keeper; -1 when it has none at this moment.
pid_t FindProper(pid_t keeper) {
  std::ifstream children(absl::StrCat("/proc/", keeper, "/task/", keeper, "/children"));
  pid_t child = -1;
  return children >> child ? child : -1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Start(const std::vector<std::string>& nodes,
                                                        Agents agents,
                                                        std::vector<std::string> flags) {
  std::string folder = "/tmp/mailrail-XXXXXX";
  Require(mkdtemp(folder.data()) != nullptr, "mkdtemp");
  std::unique_ptr<Cluster> cluster(new Cluster(folder, agents, std::move(flags)));
  std::set<std::string> addresses;
  while (addresses.size() < nodes.size()) addresses.insert(FreeAddress());
  for (const std::string& name : nodes) {
    Node& node = cluster->nodes_[name];
    node.socket = absl::StrCat(folder, "/", name, ".sock");
    node.address = addresses.extract(addresses.begin()).value();
  }
  for (const std::string& name : nodes) cluster->StartAgent(name);
  const absl::Status status = cluster->WaitUntilConnected();
  if (!status.ok()) return status;
  for (auto& [name, node] : cluster->nodes_) node.first_proper = cluster->Proper(name);
  return cluster;
}

Cluster::~Cluster() {
  for (auto& [name, node] : nodes_) Kill(name);
  nodes_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Cluster::StartAgent(const std::string& name) {
  Node& node = nodes_.at(name);
  std::vector<std::string> command = {BuiltProgram("node/cli/mailrail"), "agent"};
  if (agents_ == Agents::kAlone) command.push_back("--no-keeper");
  const auto flag = [&](std::string flag_name, std::string value) {
    command.push_back(std::move(flag_name));
    command.push_back(std::move(value));
  };
  flag("--node", name);
  flag("--socket", node.socket);
  if (nodes_.size() > 1) flag("--listen", node.address);
  for (const auto& [other, peer] : nodes_) {
    if (other != name) flag("--peer", absl::StrCat(other, "=", peer.address));
  }
  command.insert(command.end(), flags_.begin(), flags_.end());
  node.agent = Child(command);
}

std::vector<pid_t> Cluster::Running(const std::string& node) const {
  // The socket's path is this cluster's own, and in the arguments of whatever runs for the node.
  std::vector<pid_t> pids;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    pid_t pid;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid) || pid == getpid()) continue;
    std::ifstream file(entry.path() / "cmdline");
    // By getline, which does not throw when the process ends before it is read.
    std::string arguments;
    std::getline(file, arguments);
    if (absl::StrContains(arguments, nodes_.at(node).socket)) pids.push_back(pid);
  }
  return pids;
}

void Cluster::Kill(const std::string& node) {
  // All are stopped before any is killed: a keeper and an agent start each other again.
  std::vector<pid_t> stopped;
  while (Running(node).size() > stopped.size()) {
    stopped = Running(node);
    for (const pid_t pid : stopped) kill(pid, SIGSTOP);
  }
  for (const pid_t pid : stopped) kill(pid, SIGKILL);
  nodes_.at(node).agent.Kill();
  Eventually([&] { return Running(node).empty(); });
}

bool Cluster::FirstAgentRuns(const std::string& node) {
  return nodes_.at(node).agent.Running() && Proper(node) == nodes_.at(node).first_proper;
}

pid_t Cluster::Proper(const std::string& node) {
  if (agents_ == Agents::kAlone) return nodes_.at(node).agent.pid();
  const pid_t keeper = nodes_.at(node).agent.pid();
  pid_t proper = -1;
  Eventually([&] { return (proper = FindProper(keeper)) > 0; });
  return proper;
}

void Cluster::KillProper(const std::string& node) {
  const pid_t before = Proper(node);
  kill(before, SIGKILL);
  Eventually([&] { return Proper(node) != before; });
}

absl::Status Cluster::Restart(const std::string& node) {
  StartAgent(node);
  return WaitUntilConnected();
}

absl::Status Cluster::WaitUntilConnected() {
  absl::Status status;
  Eventually([&] {
    status = CheckConnected();
    return status.ok() || status.code() == absl::StatusCode::kAborted;
  });
  return status;
}

absl::Status Cluster::CheckConnected() {
  std::vector<std::unique_ptr<LocalParty>> parties;
  for (auto& [name, node] : nodes_) {
    if (node.agent.pid() < 0) continue;
    if (!node.agent.Running()) {
      return absl::AbortedError(absl::StrCat("the agent of ", name, " has ended"));
    }
    auto party = LocalParty::Attach(node.socket, nullptr);
    if (!party.ok()) return party.status();
    parties.push_back(std::move(*party));
  }
  for (const auto& party : parties) {
    for (const auto& other : parties) {
      const auto found = party->Resolve(other->id().ToString());
      if (!found.ok()) return found.status();
    }
  }
  return absl::OkStatus();
}

}  // namespace mailrail
