// A message that no receiver of another node can take is dropped, and an operator sees it.
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/seqpacket.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/process/agent_connection.h"
#include "core/process/grants.h"
#include "mailrail/mailrail.h"
#include "proto/agent.pb.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"
#include "tests/support/local_party.h"
#include "tests/support/program.h"

namespace mailrail {
namespace {

// Calls by hand; the descriptors of the answer go into `fds`.
control::Response Call(const Fd& socket, const control::Request& request, std::vector<Fd>* fds) {
  EXPECT_TRUE(SendPacket(socket.get(), request.SerializeAsString()).ok());
  absl::StatusOr<Packet> packet = ReceivePacket(socket.get(), true);
  EXPECT_TRUE(packet.ok()) << packet.status();
  control::ToProcess answer;
  EXPECT_TRUE(answer.ParseFromString(packet->bytes));
  *fds = std::move(packet->fds);
  return answer.response();
}

TEST(DroppedMessageTest, OneLargerThanItsMailboxTakesIsCountedWhereMailboxesAreShown) {
  auto cluster = Cluster::Start({"alpha", "beta"});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const std::string& socket_path = (*cluster)->Socket("alpha");
  const auto home = LocalParty::Attach(socket_path, nullptr).value();
  const auto far = LocalParty::Attach((*cluster)->Socket("beta"), nullptr).value();
  ASSERT_TRUE(home->CreateMailbox("q", {.max_message_bytes = 10}).ok());
  const absl::StatusOr<Handle> receiver = far->OpenMailbox("q@alpha");
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  // A sender that has its own idea of what the mailbox takes.
  const Fd socket = SeqpacketConnect(socket_path).value();
  std::vector<Fd> fds;
  control::Request attach;
  attach.set_id(1);
  attach.mutable_attach()->set_protocol_version(internal::kControlProtocolVersion);
  attach.mutable_attach()->set_layout_version(kLayoutVersion);
  const uint32_t number = Call(socket, attach, &fds).attached().number();
  control::Request connect;
  connect.set_id(2);
  connect.set_connect_mailbox("q");
  control::LaneGrant grant = Call(socket, connect, &fds).lane();
  grant.mutable_spec()->set_max_message_bytes(11);
  const auto lane = internal::MapLane(grant, number, fds);
  ASSERT_TRUE(lane.ok()) << lane.status();
  for (const char* body : {"eleven byte", "fits", "eleven more", "good"}) {
    ASSERT_TRUE((*lane)->Send(0, {{}, body}, Patience()).ok());
  }
  // What fits comes.
  const ReceiveResult received = far->Receive(*receiver, 2);
  EXPECT_TRUE(received.status.ok()) << received.status;
  EXPECT_EQ(received.messages.size(), 2u);
  const auto dropped = [&] {
    const ProgramRun run =
        RunMailrail({"mailbox", "stat", "q", "-o", "json", "--socket", socket_path});
    return nlohmann::json::parse(run.output).at("dropped").get<int>();
  };
  EXPECT_TRUE(Eventually([&] { return dropped() == 2; })) << dropped();
}

}  // namespace
}  // namespace mailrail
