// Programs that misuse the agent's socket harm themselves and nobody else.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

#include "tests/fault/one_agent.h"

namespace mailrail {
namespace {

using HostileClientTest = OneAgentTest;

TEST_F(HostileClientTest, RandomBytesOnTheSocketEndThatConnectionAlone) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 2000; ++i) {
    const Fd socket = Connect();
    std::string bytes(random() % 300, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    (void)!send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  ExpectUnharmed();
}

TEST_F(HostileClientTest, RequestsWithEveryKindOfNonsenseAreAnsweredOrRefused) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 engine(seed);
  const auto random = [&engine] { return static_cast<uint32_t>(engine()); };
  const std::string names[] = {"",          "x",           "x@alpha",  "x@nowhere",
                               "4711",      "99999999999", "\xff\xfe", std::string(5000, 'n'),
                               "1.1@alpha", "@",           "0"};
  const auto name = [&] { return names[random() % std::size(names)]; };
  for (int i = 0; i < 2000; ++i) {
    const Fd socket = Connect();
    if (random() % 2 == 0) {
      control::Request attach;
      attach.set_id(1);
      attach.mutable_attach()->set_protocol_version(random() % 3);
      attach.mutable_attach()->set_layout_version(kLayoutVersion - 2 + random() % 3);
      ASSERT_TRUE(SendPacket(socket.get(), attach.SerializeAsString()).ok());
    }
    control::Request request;
    request.set_id(random());
    request.set_timeout_ms(1);
    switch (random() % 10) {
      case 0:
        request.set_connect_process(name());
        break;
      case 1:
        request.set_connect_mailbox(name());
        break;
      case 2:
        request.mutable_create_mailbox()->set_name(name());
        request.mutable_create_mailbox()->mutable_spec()->set_max_message_bytes(random());
        request.mutable_create_mailbox()->mutable_spec()->set_capacity_messages(random());
        break;
      case 3:
        request.mutable_open_mailbox()->set_name(name());
        break;
      case 4:
        request.set_close(random() % 100);
        break;
      case 5:
        request.mutable_post()->set_destination(name());
        request.mutable_post()->set_priority(random());
        request.mutable_post()->set_memory_bytes(random());
        break;
      case 6:
        request.set_notices_seen(~uint64_t{0});
        break;
      case 7:
        request.mutable_list()->set_after(name());
        break;
      case 8:
        request.mutable_register_name()->set_name(name());
        break;
      default:
        request.set_ping(name());
    }
    // With a descriptor that nobody asked for, now and then.
    std::vector<int> fds;
    if (random() % 3 == 0) fds.push_back(socket.get());
    ASSERT_TRUE(SendPacket(socket.get(), request.SerializeAsString(), fds).ok());
  }
  ExpectUnharmed();
}

TEST_F(HostileClientTest, AClientThatAsksAndNeverReadsIsCutOff) {
  const Fd socket = Connect();
  control::Request request;
  request.mutable_list();
  absl::Status status;
  EXPECT_TRUE(Eventually([&] {
    request.set_id(request.id() + 1);
    status = SendPacket(socket.get(), request.SerializeAsString());
    return absl::IsUnavailable(status);
  })) << status;
  ExpectUnharmed();
}

TEST_F(HostileClientTest, AnotherVersionOfTheLibraryIsRefusedInWords) {
  const Fd socket = Connect();
  control::Request attach;
  attach.set_id(1);
  attach.mutable_attach()->set_protocol_version(internal::kControlProtocolVersion + 1);
  const control::Response answer = Call(socket, attach);
  EXPECT_EQ(answer.status().code(), static_cast<int>(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(answer.status().message(), ::testing::HasSubstr("version 2"));
}

TEST_F(HostileClientTest, ABodyInMemoryThatCannotBeHadHarmsNobody) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const Fd memory(
      static_cast<int>(memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB)));
  if (!memory.valid()) GTEST_SKIP() << "this kernel has no huge pages";
  ASSERT_EQ(ftruncate(memory.get(), kHugePage), 0);
  ASSERT_EQ(fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  ASSERT_TRUE(witness_->CreateMailbox("q").ok());
  const Fd socket = Connect();
  control::Request request;
  request.set_id(1);
  request.mutable_post()->set_destination("q");
  request.mutable_post()->set_memory_bytes(kHugePage);
  ASSERT_TRUE(SendPacket(socket.get(), request.SerializeAsString(), {memory.get()}).ok());
  // Whether it is sent, as nothing but zeros, or refused: it is answered.
  EXPECT_TRUE(ReceivePacket(socket.get(), true).ok());
  ExpectUnharmed();
}

TEST_F(HostileClientTest, MoreOfTheMemoryThanThereIsIsRefused) {
  const Fd memory(static_cast<int>(memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  ASSERT_EQ(ftruncate(memory.get(), 4096), 0);
  ASSERT_EQ(fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  ASSERT_TRUE(witness_->CreateMailbox("q").ok());
  const Fd socket = Connect();
  control::Request request;
  for (const uint64_t bytes : {uint64_t{4097}, uint64_t{1} << 40, ~uint64_t{0}}) {
    request.set_id(bytes);
    request.mutable_post()->set_destination("q");
    request.mutable_post()->set_memory_bytes(bytes);
    EXPECT_NE(Call(socket, request, {memory.get()}).status().code(), 0);
  }
  ExpectUnharmed();
}

TEST_F(HostileClientTest, ListsFitPacketsWhateverTheNamesOfAProcess) {
  const std::string stem(50, 'n');
  absl::Status status;
  int names = 0;
  while (names < 1000 && (status = witness_->RegisterName(stem + std::to_string(names))).ok()) {
    ++names;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GE(names, 100);
  const Fd socket = Connect();
  control::Request list;
  list.set_id(1);
  list.mutable_list()->set_kind(control::PROCESSES);
  EXPECT_EQ(Call(socket, list).listing().processes(0).names_size(), names);
  ExpectUnharmed();
}

TEST_F(HostileClientTest, NobodyCanSealWhatOthersWriteToo) {
  ASSERT_TRUE(witness_->CreateMailbox("q").ok());
  const Fd socket = Connect();
  std::vector<Fd> granted;
  const auto take = [&] {
    absl::StatusOr<Packet> packet = ReceivePacket(socket.get(), true);
    ASSERT_TRUE(packet.ok()) << packet.status();
    for (Fd& fd : packet->fds) granted.push_back(std::move(fd));
  };
  const auto call = [&](const control::Request& request) {
    ASSERT_TRUE(SendPacket(socket.get(), request.SerializeAsString()).ok());
    take();
  };
  const control::Request attach = AttachRequest();
  control::Request connect;
  connect.set_id(2);
  connect.set_connect_mailbox("q");
  control::Request open;
  open.set_id(3);
  open.mutable_open_mailbox()->set_name("q");
  call(attach);
  call(connect);
  ASSERT_EQ(granted.size(), 3u + 5u);
  // Its own lane it may seal, and then it is its own.
  EXPECT_EQ(fcntl(granted[3].get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
  granted.erase(granted.begin() + 3);
  // A notice with the lane, then the receiver's end.
  call(open);
  take();
  EXPECT_EQ(granted.size(), 3u + 4u + 2u + 3u);
  for (const Fd& fd : granted) {
    EXPECT_NE(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
    EXPECT_NE(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  }
  auto sender = witness_->ConnectMailbox("q");
  ASSERT_TRUE(sender.ok()) << sender.status();
  EXPECT_TRUE(sender->Send("x").ok());
  ExpectUnharmed();
}

TEST_F(HostileClientTest, ASecondAgentOnTheSocketIsRefusedAndTheFirstGoesOn) {
  Child second({BuiltProgram("node/cli/mailrail"), "agent", "--node", "alpha", "--socket",
                cluster_->Socket("alpha")});
  const int status = second.Wait();
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(absl::StatusCode::kFailedPrecondition));
  ExpectUnharmed();
}

}  // namespace
}  // namespace mailrail
