#ifndef MAILRAIL_TESTS_FAULT_ONE_AGENT_H_
#define MAILRAIL_TESTS_FAULT_ONE_AGENT_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/base/seqpacket.h"
#include "core/mailbox/control_page.h"
#include "core/process/agent_connection.h"
#include "mailrail/mailrail.h"
#include "proto/agent.pb.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"

namespace mailrail {

inline size_t OpenDescriptors(pid_t pid) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    ++count;
  }
  return count;
}

// For tests of what programs do to their agent: the agent of node alpha, with its keeper; a process
// that is attached to it and behaves, the witness; and the agent's protocol, spoken by hand.
class OneAgentTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = Cluster::Start({"alpha"});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    auto witness = Attach();
    ASSERT_TRUE(witness.ok()) << witness.status();
    witness_ = std::make_unique<Process>(*std::move(witness));
  }
  absl::StatusOr<Process> Attach() {
    AttachOptions options;
    options.socket = cluster_->Socket("alpha");
    options.autostart = false;
    return Process::Attach(options);
  }

  Fd Connect() { return SeqpacketConnect(cluster_->Socket("alpha")).value(); }
  static control::Request AttachRequest() {
    control::Request attach;
    attach.set_id(1);
    attach.mutable_attach()->set_protocol_version(internal::kControlProtocolVersion);
    attach.mutable_attach()->set_layout_version(kLayoutVersion);
    return attach;
  }
  // The answer; it must be the next that comes.
  static control::Response Call(const Fd& socket, const control::Request& request,
                                const std::vector<int>& fds = {}) {
    EXPECT_TRUE(SendPacket(socket.get(), request.SerializeAsString(), fds).ok());
    const absl::StatusOr<Packet> packet = ReceivePacket(socket.get(), true);
    EXPECT_TRUE(packet.ok()) << packet.status();
    control::ToProcess answer;
    EXPECT_TRUE(packet.ok() && answer.ParseFromString(packet->bytes));
    return answer.response();
  }

  // How many descriptors the agent and its keeper hold.
  struct Descriptors {
    size_t agent = 0, keeper = 0;
  };
  Descriptors OpenNow() {
    return {OpenDescriptors(cluster_->Proper("alpha")),
            OpenDescriptors(cluster_->Agent("alpha").pid())};
  }
  void ExpectNoMoreThan(const Descriptors& before) {
    Descriptors now;
    EXPECT_TRUE(Eventually([&] {
      now = OpenNow();
      return now.agent <= before.agent && now.keeper <= before.keeper;
    })) << now.agent
        << " and " << now.keeper << " descriptors, before " << before.agent << " and "
        << before.keeper;
  }

  // Everybody else is served as before, by the same agent.
  void ExpectUnharmed() {
    EXPECT_TRUE(cluster_->FirstAgentRuns("alpha"));
    auto self = witness_->Connect(witness_->id());
    ASSERT_TRUE(self.ok()) << self.status();
    ASSERT_TRUE(self->Send("still here").ok());
    const absl::StatusOr<Message> message = witness_->inbox().Receive(Patience());
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(message->body(), "still here");
  }

  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Process> witness_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_FAULT_ONE_AGENT_H_
