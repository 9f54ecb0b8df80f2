#include "node/keeper/store.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/keeper/store_server.h"

namespace mailrail {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::SizeIs;

auto Record(const std::string& key, const std::string& value, size_t fds) {
  return AllOf(Field(&KeptRecord::key, key), Field(&KeptRecord::value, value),
               Field(&KeptRecord::fds, SizeIs(fds)));
}

// Both ends of a pipe: the reading one hangs up when the last copy of the writing one is closed.
std::pair<Fd, Fd> Pipe() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

// Waits for a hang-up.
void WaitForHangUp(int fd) {
  pollfd poll_fd = {.fd = fd, .events = 0, .revents = 0};
  EXPECT_EQ(poll(&poll_fd, 1, -1), 1);
  EXPECT_NE(poll_fd.revents & POLLHUP, 0);
}

// A client of a store that a thread of this process serves.
class KeeperClientTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::pair<Fd, Fd>> sockets = SeqpacketPair();
    ASSERT_TRUE(sockets.ok());
    absl::StatusOr<std::unique_ptr<KeeperClient>> client =
        KeeperClient::FromFd(std::move(sockets->first));
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    server_ = std::thread([socket = std::move(sockets->second)] {
      StoreServer store;
      for (;;) {
        absl::StatusOr<Packet> request = ReceivePacket(socket.get(), /*wait=*/true);
        if (!request.ok()) return;
        const bool leaves = request->bytes == "leave";
        StoreServer::Reply reply = store.Handle(*std::move(request));
        if (leaves) return;
        EXPECT_TRUE(SendPacket(socket.get(), reply.bytes, reply.fds).ok());
      }
    });
  }

  void TearDown() override {
    client_.reset();
    if (server_.joinable()) server_.join();
  }

  // Ends the server, as if the keeper had died.
  void EndServer() {
    ASSERT_TRUE(SendPacket(client_->fd(), "leave").ok());
    server_.join();
  }

  std::vector<KeptRecord> List() {
    absl::StatusOr<std::vector<KeptRecord>> records = client_->List();
    EXPECT_TRUE(records.ok()) << records.status();
    return records.ok() ? *std::move(records) : std::vector<KeptRecord>();
  }

  std::unique_ptr<KeeperClient> client_;
  std::thread server_;
};

TEST_F(KeeperClientTest, ListGivesRecordsInTheOrderOfTheirKeys) {
  auto [reader, writer] = Pipe();
  EXPECT_TRUE(List().empty());
  EXPECT_TRUE(client_->Put("b", "2", {writer.get(), reader.get()}).ok());
  EXPECT_TRUE(client_->Put("c", std::string("3\0x", 3), {}).ok());
  EXPECT_TRUE(client_->Put("a", "", {writer.get()}).ok());
  EXPECT_THAT(List(), ElementsAre(Record("a", "", 1), Record("b", "2", 2),
                                  Record("c", std::string("3\0x", 3), 0)));
}

TEST_F(KeeperClientTest, ListedDescriptorsAreThoseThatWerePut) {
  auto [reader, writer] = Pipe();
  ASSERT_TRUE(client_->Put("pipe", "", {reader.get(), writer.get()}).ok());
  std::vector<KeptRecord> records = List();
  ASSERT_THAT(records, ElementsAre(Record("pipe", "", 2)));
  EXPECT_EQ(write(records[0].fds[1].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(reader.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_NE(fcntl(records[0].fds[1].get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(KeeperClientTest, PutReplacesValueAndDescriptors) {
  auto [reader, writer] = Pipe();
  ASSERT_TRUE(client_->Put("key", "old", {writer.get()}).ok());
  ASSERT_TRUE(client_->Put("key", "new", {}).ok());
  writer.Reset();
  WaitForHangUp(reader.get());
  EXPECT_THAT(List(), ElementsAre(Record("key", "new", 0)));
}

TEST_F(KeeperClientTest, PutValueKeepsDescriptors) {
  auto [reader, writer] = Pipe();
  ASSERT_TRUE(client_->Put("key", "old", {reader.get(), writer.get()}).ok());
  EXPECT_TRUE(client_->PutValue("key", "new").ok());
  EXPECT_THAT(List(), ElementsAre(Record("key", "new", 2)));
}

TEST_F(KeeperClientTest, DropClosesDescriptors) {
  auto [reader, writer] = Pipe();
  ASSERT_TRUE(client_->Put("key", "", {writer.get()}).ok());
  writer.Reset();
  EXPECT_TRUE(client_->Drop("key").ok());
  WaitForHangUp(reader.get());
  EXPECT_TRUE(List().empty());
}

TEST_F(KeeperClientTest, MissingRecordIsNotFound) {
  EXPECT_EQ(client_->PutValue("key", "new").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(client_->Drop("key").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(List().empty());
}

TEST_F(KeeperClientTest, LargestRecordIsKept) {
  auto [reader, writer] = Pipe();
  const std::string key(kMaxKeptKeyBytes, 'k');
  const std::string value(kMaxKeptValueBytes, 'v');
  EXPECT_TRUE(client_->Put(key, value, std::vector<int>(kMaxKeptFds, reader.get())).ok());
  EXPECT_THAT(List(), ElementsAre(Record(key, value, kMaxKeptFds)));
}

TEST_F(KeeperClientTest, RecordBeyondTheLimitsIsRefused) {
  auto [reader, writer] = Pipe();
  const std::vector<int> fds(kMaxKeptFds + 1, reader.get());
  const std::string value(kMaxKeptValueBytes + 1, 'v');
  const std::string key(kMaxKeptKeyBytes + 1, 'k');
  EXPECT_EQ(client_->Put("key", "", fds).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_->Put("key", value, {}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_->PutValue("key", value).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_->Put(key, "", {}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_->Put("", "", {}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(List().empty());
}

TEST_F(KeeperClientTest, InvalidDescriptorLeavesTheConnectionUsable) {
  EXPECT_FALSE(client_->Put("key", "", {-1}).ok());
  EXPECT_TRUE(client_->Put("key", "value", {}).ok());
  EXPECT_THAT(List(), ElementsAre(Record("key", "value", 0)));
}

TEST_F(KeeperClientTest, ThreadsMayCallAtTheSameTime) {
  constexpr int kThreads = 4;
  constexpr int kRecords = 20;
  auto [reader, writer] = Pipe();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t, fd = reader.get()] {
      for (int i = 0; i < kRecords; ++i) {
        EXPECT_TRUE(client_->Put(absl::StrCat(t, "/", i), "value", {fd, fd}).ok());
        EXPECT_TRUE(client_->List().ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(List(), SizeIs(kThreads * kRecords));
}

TEST_F(KeeperClientTest, EveryCallIsUnavailableWhenTheKeeperIsGone) {
  EndServer();
  WaitForHangUp(client_->fd());
  EXPECT_EQ(client_->Put("key", "", {}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_->PutValue("key", "").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_->Drop("key").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_->List().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_->Leave(0).code(), absl::StatusCode::kUnavailable);
}

TEST(KeeperClient, OtherDescriptorsAreRefused) {
  auto [reader, writer] = Pipe();
  EXPECT_EQ(KeeperClient::FromFd(std::move(reader)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(KeeperClient::FromFd(Fd()).status().code(), absl::StatusCode::kInvalidArgument);
}

uint32_t ReplyCode(const StoreServer::Reply& reply) {
  absl::StatusOr<KeeperPacket> packet = DecodeKeeperPacket(reply.bytes);
  EXPECT_TRUE(packet.ok());
  EXPECT_EQ(packet->kind, KeeperPacketKind::kDone);
  return packet->number;
}

TEST(StoreServer, RequestThatIsNotWellFormedIsRefused) {
  StoreServer store;
  const auto refused = static_cast<uint32_t>(absl::StatusCode::kInvalidArgument);
  for (const std::string& bytes :
       {std::string(), std::string("nonsense"), std::string(kMaxPacketBytes, '\1'),
        EncodeKeeperPacket({.kind = KeeperPacketKind::kPut}),
        EncodeKeeperPacket({.kind = KeeperPacketKind::kDrop}),
        EncodeKeeperPacket({.kind = KeeperPacketKind::kRecord, .key = "key"})}) {
    EXPECT_EQ(ReplyCode(store.Handle({bytes, {}})), refused);
  }
  EXPECT_EQ(store.size(), 0u);
}

TEST(StoreServer, DescriptorsThatAreTooManyAreClosed) {
  for (auto [kind, count] : {std::pair(KeeperPacketKind::kPut, kMaxKeptFds + 1),
                             std::pair(KeeperPacketKind::kPutValue, size_t{1})}) {
    auto [reader, writer] = Pipe();
    Packet request{EncodeKeeperPacket({.kind = kind, .key = "key"}), {}};
    for (size_t i = 0; i < count; ++i) request.fds.push_back(writer.Duplicate());
    writer.Reset();
    StoreServer store;
    EXPECT_EQ(ReplyCode(store.Handle(std::move(request))),
              static_cast<uint32_t>(absl::StatusCode::kInvalidArgument));
    WaitForHangUp(reader.get());
  }
}

TEST(StoreServer, AnnouncedExitCodeIsTakenOnce) {
  StoreServer store;
  EXPECT_EQ(store.TakeLeave(), std::nullopt);
  store.Handle({EncodeKeeperPacket({.kind = KeeperPacketKind::kLeave, .number = 5}), {}});
  EXPECT_EQ(store.TakeLeave(), 5);
  EXPECT_EQ(store.TakeLeave(), std::nullopt);
}

}  // namespace
}  // namespace mailrail
