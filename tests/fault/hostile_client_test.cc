// Programs that misuse the agent's socket harm themselves and nobody else.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/base/seqpacket.h"
#include "core/process/agent_connection.h"
#include "mailrail/mailrail.h"
#include "proto/agent.pb.h"
#include "tests/support/cluster.h"
#include "tests/support/eventually.h"

namespace mailrail {
namespace {

size_t OpenDescriptors(pid_t pid) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    ++count;
  }
  return count;
}

class HostileClientTest : public ::testing::Test {
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
      attach.mutable_attach()->set_layout_version(random() % 3);
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
        request.set_open_mailbox(name());
        break;
      case 4:
        request.set_close_receiver(random() % 100);
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
  ASSERT_TRUE(SendPacket(socket.get(), attach.SerializeAsString()).ok());
  const absl::StatusOr<Packet> packet = ReceivePacket(socket.get(), true);
  ASSERT_TRUE(packet.ok());
  control::ToProcess answer;
  ASSERT_TRUE(answer.ParseFromString(packet->bytes));
  EXPECT_EQ(answer.response().status().code(), static_cast<int>(absl::StatusCode::kUnimplemented));
  EXPECT_NE(answer.response().status().message().find("version 2"), std::string::npos)
      << answer.response().status().message();
}

TEST_F(HostileClientTest, ClientsThatDisappearHalfWayLeaveNothingBehind) {
  ExpectUnharmed();
  const pid_t agent = cluster_->Proper("alpha");
  const size_t before = OpenDescriptors(agent);
  control::Request attach;
  attach.set_id(1);
  attach.mutable_attach()->set_protocol_version(internal::kControlProtocolVersion);
  attach.mutable_attach()->set_layout_version(1);
  control::Request connect;
  connect.set_id(2);
  connect.set_connect_process(witness_->id().ToString());
  for (int i = 0; i < 500; ++i) {
    const Fd socket = Connect();
    ASSERT_TRUE(SendPacket(socket.get(), attach.SerializeAsString()).ok());
    ASSERT_TRUE(SendPacket(socket.get(), connect.SerializeAsString()).ok());
    // Some read what they were granted, and go without a word.
    if (i % 2 == 0) {
      ASSERT_TRUE(ReceivePacket(socket.get(), true).ok());
    }
  }
  // The witness reads its notices, so that none waits in the agent with its descriptors.
  EXPECT_TRUE(Eventually([&] {
    (void)witness_->inbox().TryReceive();
    return OpenDescriptors(agent) <= before;
  })) << OpenDescriptors(agent)
      << " descriptors, before " << before;
  ExpectUnharmed();
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
    ASSERT_TRUE(SendPacket(socket.get(), request.SerializeAsString(), {memory.get()}).ok());
    const absl::StatusOr<Packet> packet = ReceivePacket(socket.get(), true);
    ASSERT_TRUE(packet.ok());
    control::ToProcess answer;
    ASSERT_TRUE(answer.ParseFromString(packet->bytes));
    EXPECT_NE(answer.response().status().code(), 0);
  }
  ExpectUnharmed();
}

TEST_F(HostileClientTest, AReceiverThatReadsNothingHoldsNoDescriptorsOfTheAgents) {
  ASSERT_TRUE(witness_->CreateMailbox("q").ok());
  auto stopped = Attach();
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  auto receiver = stopped->OpenMailbox("q");  // which is never asked for a message
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  const pid_t agent = cluster_->Proper("alpha");
  const size_t before = OpenDescriptors(agent);
  for (int i = 0; i < 200; ++i) {
    auto sender = Attach();
    ASSERT_TRUE(sender.ok()) << sender.status();
    ASSERT_TRUE(sender->ConnectMailbox("q").ok());
  }
  // Two of one notice, the next to go out, may be open.
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors(agent) <= before + 2; }))
      << OpenDescriptors(agent) << " descriptors, before " << before;
  ExpectUnharmed();
}

TEST_F(HostileClientTest, WithoutDescriptorsGrantsFailOrWaitAndNobodyIsCutOff) {
  ASSERT_TRUE(witness_->CreateMailbox("q").ok());
  auto receiver = witness_->OpenMailbox("q");
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  const pid_t agent = cluster_->Proper("alpha");
  rlimit before;
  ASSERT_EQ(prlimit(agent, RLIMIT_NOFILE, nullptr, &before), 0);
  int sent = 0;
  // From none left to as many as it needs: it fails at each place once.
  for (rlim_t left = 0; left < 12; ++left) {
    auto sender = Attach();
    ASSERT_TRUE(sender.ok()) << sender.status();
    const rlimit few = {OpenDescriptors(agent) + left, before.rlim_max};
    ASSERT_EQ(prlimit(agent, RLIMIT_NOFILE, &few, nullptr), 0);
    const auto refused = sender->ConnectMailbox("q");
    // The notice of a new link waits for descriptors, and the answer comes after it.
    const auto no_link = sender->Connect(witness_->id(), absl::Now() + absl::Milliseconds(100));
    ASSERT_EQ(prlimit(agent, RLIMIT_NOFILE, &before, nullptr), 0);
    EXPECT_TRUE(refused.ok() || absl::IsResourceExhausted(refused.status())) << refused.status();
    EXPECT_TRUE(no_link.ok() || absl::IsResourceExhausted(no_link.status()) ||
                absl::IsDeadlineExceeded(no_link.status()))
        << no_link.status();
    auto granted = sender->ConnectMailbox("q");
    ASSERT_TRUE(granted.ok()) << granted.status() << " with " << left << " left";
    ASSERT_TRUE(granted->Send("body").ok());
    ++sent;
    auto link = sender->Connect(witness_->id());
    ASSERT_TRUE(link.ok()) << link.status() << " with " << left << " left";
    const absl::StatusOr<Message> message = receiver->Receive(Patience());
    ASSERT_TRUE(message.ok()) << message.status() << " with " << left << " left";
  }
  EXPECT_EQ(sent, 12);
  ExpectUnharmed();
}

TEST_F(HostileClientTest, ConnectionsThatNeverAttachMakeRoomForNewOnes) {
  std::vector<Fd> idle;
  for (int i = 0; i < 1500; ++i) idle.push_back(Connect());
  const pid_t agent = cluster_->Proper("alpha");
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors(agent) < 1200; })) << OpenDescriptors(agent);
  EXPECT_TRUE(Attach().ok());
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
  ASSERT_TRUE(SendPacket(socket.get(), list.SerializeAsString()).ok());
  const absl::StatusOr<Packet> packet = ReceivePacket(socket.get(), true);
  ASSERT_TRUE(packet.ok()) << packet.status();
  control::ToProcess answer;
  ASSERT_TRUE(answer.ParseFromString(packet->bytes));
  EXPECT_EQ(answer.response().listing().processes(0).names_size(), names);
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
  control::Request attach;
  attach.set_id(1);
  attach.mutable_attach()->set_protocol_version(internal::kControlProtocolVersion);
  attach.mutable_attach()->set_layout_version(1);
  control::Request connect;
  connect.set_id(2);
  connect.set_connect_mailbox("q");
  control::Request open;
  open.set_id(3);
  open.set_open_mailbox("q");
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

TEST_F(HostileClientTest, AViewThatOutlivesItsReceiverIsRoomAgainWhenItsProcessIsGone) {
  MailboxOptions options;
  options.capacity_messages = 1;
  ASSERT_TRUE(witness_->CreateMailbox("q", options).ok());
  auto sender = witness_->ConnectMailbox("q");
  ASSERT_TRUE(sender.ok()) << sender.status();
  const std::string large(100000, 'x');
  ASSERT_TRUE(sender->Send(large).ok());
  absl::StatusOr<Message> view;
  {
    auto reader = Attach();
    ASSERT_TRUE(reader.ok()) << reader.status();
    {
      auto receiver = reader->OpenMailbox("q");
      ASSERT_TRUE(receiver.ok()) << receiver.status();
      view = receiver->Receive(Patience());
      ASSERT_TRUE(view.ok()) << view.status();
    }
    // The receiver is closed for good once a later request is answered.
    ASSERT_TRUE(reader->Resolve(reader->id().ToString()).ok());
    EXPECT_EQ(sender->Send(large, {}, absl::InfinitePast()).code(),
              absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(Eventually([&] { return sender->Send(large, {}, absl::InfinitePast()).ok(); }));
}

TEST_F(HostileClientTest, ASecondAgentOnTheSocketIsRefusedAndTheFirstGoesOn) {
  Child second({BuiltProgram("node/cli/mailrail"), "agent", "--node", "alpha", "--socket",
                cluster_->Socket("alpha")});
  const int status = second.Wait();
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(absl::StatusCode::kFailedPrecondition));
  ExpectUnharmed();
}

TEST_F(HostileClientTest, OneHundredThousandOneShotSendersLeaveNeitherLanesNorDescriptors) {
  MailboxOptions options;
  options.max_message_bytes = 100;
  ASSERT_TRUE(witness_->CreateMailbox("q", options).ok());
  auto receiver = witness_->OpenMailbox("q");
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  constexpr int kSenders = 100000;
  const pid_t agent = cluster_->Proper("alpha");
  const pid_t keeper = cluster_->Agent("alpha").pid();
  size_t before = 0, kept_before = 0;
  int received = 0;
  control::Request post;
  post.set_id(1);
  post.mutable_post()->set_destination("q");
  for (int i = 0; i < kSenders; ++i) {
    if (i == 100) {
      before = OpenDescriptors(agent);
      kept_before = OpenDescriptors(keeper);
    }
    const Fd socket = Connect();
    post.mutable_post()->set_body(std::to_string(i));
    ASSERT_TRUE(SendPacket(socket.get(), post.SerializeAsString()).ok());
    const absl::StatusOr<Packet> packet = ReceivePacket(socket.get(), true);
    ASSERT_TRUE(packet.ok());
    control::ToProcess answer;
    ASSERT_TRUE(answer.ParseFromString(packet->bytes));
    ASSERT_EQ(answer.response().status().code(), 0) << answer.response().status().message();
    while (received < i - 1000) {
      const absl::StatusOr<Message> message = receiver->Receive(Patience());
      ASSERT_TRUE(message.ok()) << message.status();
      ASSERT_EQ(message->body(), std::to_string(received));
      ++received;
    }
  }
  for (; received < kSenders; ++received) {
    const absl::StatusOr<Message> message = receiver->Receive(Patience());
    ASSERT_TRUE(message.ok()) << message.status();
    ASSERT_EQ(message->body(), std::to_string(received));
  }
  EXPECT_TRUE(Eventually([&] {
    return OpenDescriptors(agent) <= before && OpenDescriptors(keeper) <= kept_before;
  })) << OpenDescriptors(agent)
      << " and " << OpenDescriptors(keeper) << " descriptors, before " << before << " and "
      << kept_before;
  const Fd socket = Connect();
  control::Request list;
  list.set_id(1);
  list.mutable_list()->set_kind(control::MAILBOXES);
  ASSERT_TRUE(SendPacket(socket.get(), list.SerializeAsString()).ok());
  control::ToProcess answer;
  ASSERT_TRUE(answer.ParseFromString(ReceivePacket(socket.get(), true)->bytes));
  EXPECT_EQ(answer.response().listing().mailboxes(0).senders(), 1u);
}

}  // namespace
}  // namespace mailrail
