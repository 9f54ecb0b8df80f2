// What a node that does not answer does to names: nothing to those of the nodes that do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mailrail/mailrail.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"

namespace mailrail {
namespace {

class UnreachablePeerTest : public ::testing::Test {
 protected:
  // All nodes run, and beta is killed.
  void Start(const std::vector<std::string>& nodes) {
    auto cluster = Cluster::Start(nodes);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    for (const std::string& node : nodes) {
      if (node != "beta") processes_[node] = std::make_unique<Process>(Attach(node).value());
    }
    cluster_->Kill("beta");
  }
  absl::StatusOr<Process> Attach(const std::string& node) {
    AttachOptions options;
    options.socket = cluster_->Socket(node);
    options.autostart = false;
    return Process::Attach(options);
  }
  Process& On(const std::string& node) { return *processes_.at(node); }

  std::unique_ptr<Cluster> cluster_;
  std::map<std::string, std::unique_ptr<Process>> processes_;
};

TEST_F(UnreachablePeerTest, AMailboxOfThisNodeIsFoundByItsNameAlone) {
  Start({"alpha", "beta"});
  ASSERT_TRUE(On("alpha").CreateMailbox("orders").ok());
  const auto sender = On("alpha").Connect("orders");
  EXPECT_TRUE(sender.ok()) << sender.status();
}

TEST_F(UnreachablePeerTest, ANameOfAnotherNodeThatAnswersIsFound) {
  Start({"alpha", "beta", "gamma"});
  ASSERT_TRUE(On("gamma").CreateMailbox("orders").ok());
  ASSERT_TRUE(On("gamma").RegisterName("clerk").ok());
  for (const char* const name : {"orders", "clerk"}) {
    const auto sender = On("alpha").Connect(name);
    EXPECT_TRUE(sender.ok()) << sender.status();
  }
}

TEST_F(UnreachablePeerTest, ANameThatNobodyWhoAnswersHasIsUnavailableAndTheSilentNodeIsNamed) {
  Start({"alpha", "beta", "gamma"});
  for (const absl::Status& status :
       {On("alpha").Connect("orders").status(), On("alpha").ConnectMailbox("orders").status(),
        On("alpha").Resolve("orders").status(), On("alpha").OpenMailbox("orders").status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("no answer from beta"));
  }
  EXPECT_EQ(On("alpha").Resolve("4711").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(On("alpha").Connect("orders@gamma").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace mailrail
