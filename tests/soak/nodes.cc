#include "tests/soak/nodes.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "mailrail/mailrail.h"
#include "tests/soak/history.h"
#include "tests/support/eventually.h"
#include "tests/support/program.h"
#include "tests/support/require.h"

namespace mailrail::soak {
namespace {

// An agent that lived for less is not started again at once, when that happens often.
constexpr int64_t kLongEnoughNs = 1'200'000'000;

// An agent that was started again, and answers, has told all processes of all lanes by then.
constexpr int64_t kAllIsToldNs = 2'000'000'000;

bool IsKeeper(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/cmdline"));
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> arguments = absl::StrSplit(line, '\0');
  if (arguments.size() < 2 || arguments[1] == "keeper") return true;
  // `mailrail agent` is the keeper, and tells the agent that it starts where it is.
  for (const std::string& argument : arguments) {
    if (absl::StartsWith(argument, "--keeper-fd=")) return false;
  }
  return true;
}

}  // namespace

Nodes::Nodes(Cluster* cluster, std::vector<std::string> names) : cluster_(cluster) {
  Require(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "prctl");
  for (std::string& name : names) nodes_.push_back({.name = std::move(name)});
}

Nodes::~Nodes() {
  for (Node& node : nodes_) {
    if (node.stopped > 0) kill(node.stopped, SIGCONT);
    if (node.probe < 0) continue;
    kill(node.probe, SIGKILL);
    waitpid(node.probe, nullptr, 0);
  }
}

pid_t Nodes::Find(const Node& node, Role role) {
  pid_t found = -1;
  const bool is_there = Eventually([&] {
    for (const pid_t pid : cluster_->Running(node.name)) {
      if (IsKeeper(pid) == (role == Role::kKeeper)) found = pid;
    }
    return found > 0;
  });
  Require(is_there, "a keeper or an agent is not there");
  return found;
}

bool Nodes::Ready(size_t target) {
  Node& node = nodes_[target / 2];
  return node.stopped < 0 && Probed(&node) && NowNs() - node.ready_since_ns > kLongEnoughNs;
}

void Nodes::Kill(size_t target) {
  Node& node = nodes_[target / 2];
  const pid_t pid = Find(node, RoleOf(target));
  node.struck_ns = NowNs();
  if (cluster_->Agent(node.name).pid() == pid) {
    cluster_->Agent(node.name).Kill();
  } else {
    kill(pid, SIGKILL);
    // It is this process's child when whoever had started it has died.
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  StartProbe(&node);
}

void Nodes::Stop(size_t target, int64_t until_ns) {
  Node& node = nodes_[target / 2];
  node.stopped = Find(node, RoleOf(target));
  node.stopped_until_ns = until_ns;
  node.struck_ns = NowNs();
  kill(node.stopped, SIGSTOP);
}

void Nodes::Continue() {
  for (Node& node : nodes_) {
    if (node.stopped < 0 || NowNs() < node.stopped_until_ns) continue;
    kill(node.stopped, SIGCONT);
    node.stopped = -1;
    EndOutage(&node);
  }
}

void Nodes::StartProbe(Node* node) {
  const pid_t parent = getpid();
  node->probe = fork();
  Require(node->probe >= 0, "fork");
  if (node->probe != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  AttachOptions options;
  options.socket = cluster_->Socket(node->name);
  options.autostart = false;
  _exit(Eventually([&] { return Process::Attach(options).ok(); }) ? 0 : 1);
}

bool Nodes::Probed(Node* node) {
  if (node->probe < 0) return true;
  int status = 0;
  if (waitpid(node->probe, &status, WNOHANG) != node->probe) return false;
  node->probe = -1;
  node->ready_since_ns = NowNs();
  if (status == 0) {
    EndOutage(node);
    return true;
  }
  StartProbe(node);
  return false;
}

void Nodes::EndOutage(Node* node) {
  if (node->struck_ns == 0) return;
  outages_.push_back({static_cast<int>(node - nodes_.data()), std::exchange(node->struck_ns, 0),
                      NowNs() + kAllIsToldNs});
}

bool Nodes::Settle() {
  for (Node& node : nodes_) {
    node.stopped_until_ns = 0;
    Continue();
    if (Probed(&node)) StartProbe(&node);
  }
  return Eventually([this] {
    bool probed = true;
    for (Node& node : nodes_) probed = Probed(&node) && probed;
    return probed;
  });
}

size_t Nodes::LanesToMailboxes() const {
  size_t lanes = 0;
  for (const Node& node : nodes_) {
    const std::string& socket = cluster_->Socket(node.name);
    const auto list = [&](std::vector<std::string> command) {
      command.insert(command.end(), {"-o", "json", "--socket", socket});
      const ProgramRun run = RunMailrail(command);
      Require(run.exit_code == 0, "an agent does not list what it has");
      return nlohmann::json::parse(run.output);
    };
    for (const nlohmann::json& mailbox : list({"mailbox", "ls"})) {
      lanes += mailbox.at("senders").get<size_t>();
    }
    for (const nlohmann::json& link : list({"links"})) {
      lanes += link.at("peer_is_mailbox").get<bool>();
    }
  }
  return lanes;
}

std::string Nodes::Describe() const {
  std::string text;
  for (const Node& node : nodes_) {
    const std::string& socket = cluster_->Socket(node.name);
    for (const std::vector<std::string>& command :
         std::vector<std::vector<std::string>>{{"mailbox", "ls"}, {"links"}, {"ps"}, {"nodes"}}) {
      std::vector<std::string> arguments = command;
      arguments.insert(arguments.end(), {"--socket", socket});
      absl::StrAppend(&text, node.name, ": ", absl::StrJoin(command, " "), "\n",
                      RunMailrail(arguments).output);
    }
  }
  return text;
}

std::vector<pid_t> Nodes::Pids() {
  std::vector<pid_t> pids;
  for (const Node& node : nodes_) {
    pids.push_back(Find(node, Role::kKeeper));
    pids.push_back(Find(node, Role::kProper));
  }
  return pids;
}

}  // namespace mailrail::soak
