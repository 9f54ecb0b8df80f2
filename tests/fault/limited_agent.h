#ifndef MAILRAIL_TESTS_FAULT_LIMITED_AGENT_H_
#define MAILRAIL_TESTS_FAULT_LIMITED_AGENT_H_

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"
#include "tests/support/program.h"
#include "tests/support/require.h"

namespace mailrail {

MATCHER_P2(Says, code, text, "") {
  *result_listener << arg;
  return arg.code() == code && std::string(arg.message()).find(text) != std::string::npos;
}

// For tests of what happens at a limit: agents that were told small ones, with a log that can be
// read.
class LimitedAgentTest : public ::testing::Test {
 protected:
  ~LimitedAgentTest() override {
    if (!log_.empty()) unlink(log_.c_str());
  }

  // Agents with these flags.
  void StartAgents(const std::vector<std::string>& flags,
                   const std::vector<std::string>& nodes = {"alpha"}) {
    log_ = "/tmp/mailrail-log-" + std::to_string(getpid());
    // They inherit standard error.
    const int own = dup(2);
    const int log = open(log_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
    Require(own >= 0 && log >= 0 && dup2(log, 2) == 2, "the agents' log");
    auto cluster = Cluster::Start(nodes, Agents::kKept, flags);
    dup2(own, 2);
    close(own);
    close(log);
    ASSERT_TRUE(cluster.ok()) << cluster.status() << Log();
    cluster_ = *std::move(cluster);
  }
  std::string Log() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }
  // Whether the log has it, or soon does.
  bool Logged(const std::string& text) {
    return Eventually([&] { return Log().find(text) != std::string::npos; });
  }

  absl::StatusOr<Process> Attach(const std::string& node = "alpha") {
    AttachOptions options;
    options.socket = cluster_->Socket(node);
    options.autostart = false;
    return Process::Attach(options);
  }

  // A row of `mailrail ps`.
  nlohmann::json RowOf(const ProcessId& id) {
    const ProgramRun run = RunMailrail({"ps", "-o", "json", "--socket", cluster_->Socket("alpha")});
    for (const nlohmann::json& row : nlohmann::json::parse(run.output)) {
      if (row.at("process") == id.ToString()) return row;
    }
    return {};
  }
  uint64_t BytesOf(const ProcessId& id) { return RowOf(id).at("memory_bytes").get<uint64_t>(); }

  std::unique_ptr<Cluster> cluster_;

 private:
  std::string log_;
};

#define ASSERT_OK(expression)                             \
  do {                                                    \
    const absl::Status asserted_status = expression;      \
    ASSERT_TRUE(asserted_status.ok()) << asserted_status; \
  } while (false)

#define EXPECT_OK(expression)                             \
  do {                                                    \
    const absl::Status expected_status = expression;      \
    EXPECT_TRUE(expected_status.ok()) << expected_status; \
  } while (false)

#define ASSERT_OK_AND_TAKE(variable, expression)             \
  auto variable##_or = (expression);                         \
  ASSERT_TRUE(variable##_or.ok()) << variable##_or.status(); \
  auto& variable = *variable##_or

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_FAULT_LIMITED_AGENT_H_
