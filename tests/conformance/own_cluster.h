// For tests of this folder that kill agents: those of one test are its own.
#ifndef MAILRAIL_TESTS_CONFORMANCE_OWN_CLUSTER_H_
#define MAILRAIL_TESTS_CONFORMANCE_OWN_CLUSTER_H_

#include <signal.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/conformance.h"
#include "tests/support/worker_party.h"

namespace mailrail {

// Parties as of ConformanceTest: self() is on node alpha, and NewPeer's are where the transport
// says.
class OwnClusterTest : public testing::TestWithParam<Transport> {
 protected:
  void SetUp() override {
    std::vector<std::string> nodes = {"alpha"};
    if (GetParam() == Transport::kTwoNodes) nodes.push_back("beta");
    auto cluster = Cluster::Start(nodes, Agents::kKept, Flags());
    ASSERT_THAT(cluster, IsOk());
    cluster_ = *std::move(cluster);
    self_ = NewSelf();
    ASSERT_NE(self_, nullptr);
  }

  // Of all agents.
  virtual std::vector<std::string> Flags() const { return {}; }

  Cluster& cluster() { return *cluster_; }
  LocalParty& self() { return *self_; }

  std::unique_ptr<LocalParty> NewSelf() {
    auto party = LocalParty::Attach(cluster_->Socket("alpha"), nullptr);
    EXPECT_THAT(party, IsOk());
    return party.ok() ? *std::move(party) : nullptr;
  }
  std::unique_ptr<Party> NewPeer() {
    if (GetParam() == Transport::kSameProcess) return NewSelf();
    auto party = WorkerParty::Start(
        cluster_->Socket(GetParam() == Transport::kTwoNodes ? "beta" : "alpha"), nullptr);
    EXPECT_THAT(party, IsOk());
    return party.ok() ? *std::move(party) : nullptr;
  }

  // Ends `party` while no agent proper of its node runs, and has another one start.
  void EndWithoutAgent(Party* party) {
    const std::string node = party->id().node();
    const pid_t proper = cluster_->Proper(node);
    cluster_->Agent(node).Signal(SIGSTOP);
    kill(proper, SIGKILL);
    party->End();
    cluster_->Agent(node).Signal(SIGCONT);
    EXPECT_TRUE(Eventually([&] { return cluster_->Proper(node) != proper; }));
  }

 private:
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<LocalParty> self_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_CONFORMANCE_OWN_CLUSTER_H_
