#include "core/base/seqpacket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <barrier>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace mailrail {
namespace {

class SeqpacketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::pair<Fd, Fd>> pair = SeqpacketPair();
    ASSERT_TRUE(pair.ok());
    std::tie(a_, b_) = *std::move(pair);
  }
  Fd a_, b_;
};

TEST_F(SeqpacketTest, PacketsKeepTheirBoundsAndTheirDescriptors) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const Fd reader(pipe_fds[0]), writer(pipe_fds[1]);
  ASSERT_TRUE(SendPacket(a_.get(), "one", {writer.get()}).ok());
  ASSERT_TRUE(SendPacket(a_.get(), "two").ok());
  absl::StatusOr<Packet> packet = ReceivePacket(b_.get(), true);
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(packet->bytes, "one");
  ASSERT_EQ(packet->fds.size(), 1u);
  EXPECT_NE(fcntl(packet->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(write(packet->fds[0].get(), "x", 1), 1);
  char byte;
  EXPECT_EQ(read(reader.get(), &byte, 1), 1);
  EXPECT_EQ(ReceivePacket(b_.get(), true)->bytes, "two");
}

TEST_F(SeqpacketTest, WithoutAPacketAReceiveThatDoesNotWaitSaysSo) {
  EXPECT_EQ(ReceivePacket(b_.get(), false).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(SeqpacketTest, APeerThatIsGoneIsUnavailable) {
  a_.Reset();
  EXPECT_EQ(ReceivePacket(b_.get(), true).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(SendPacket(b_.get(), "x").code(), absl::StatusCode::kUnavailable);
}

TEST_F(SeqpacketTest, AFullQueueIsNotAnErrorOfTheConnection) {
  absl::Status status;
  while ((status = SendPacket(a_.get(), std::string(kMaxPacketBytes, 'x'))).ok()) {
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(ReceivePacket(b_.get(), true).ok());
  EXPECT_TRUE(SendPacket(a_.get(), "y").ok());
}

TEST_F(SeqpacketTest, APacketBeyondTheLimitsIsDroppedAndTheNextIsRead) {
  const std::string large(kMaxPacketBytes + 1, 'x');
  ASSERT_EQ(send(a_.get(), large.data(), large.size(), 0), static_cast<ssize_t>(large.size()));
  ASSERT_TRUE(SendPacket(a_.get(), "next").ok());
  EXPECT_EQ(ReceivePacket(b_.get(), true).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReceivePacket(b_.get(), true)->bytes, "next");
}

class SeqpacketListenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(folder_), nullptr);
    path_ = std::string(folder_) + "/agent.sock";
  }
  void TearDown() override {
    unlink(path_.c_str());
    unlink((path_ + ".lock").c_str());
    rmdir(folder_);
  }
  char folder_[32] = "/tmp/mailrail-XXXXXX";
  std::string path_;
};

TEST_F(SeqpacketListenTest, ASecondListenerIsRefusedAndALeftSocketFileIsReplaced) {
  EXPECT_EQ(SeqpacketConnect(path_).status().code(), absl::StatusCode::kUnavailable);
  absl::StatusOr<Listener> first = SeqpacketListen(path_, 0600);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(SeqpacketConnect(path_).ok());
  EXPECT_EQ(SeqpacketListen(path_, 0600).status().code(), absl::StatusCode::kFailedPrecondition);
  *first = Listener();
  EXPECT_TRUE(SeqpacketListen(path_, 0600).ok());
  EXPECT_EQ(SeqpacketListen(folder_, 0600).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SeqpacketListen(std::string(200, 'x'), 0600).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SeqpacketListenTest, OfManyAtOnceOneListens) {
  for (int round = 0; round < 50; ++round) {
    constexpr int kThreads = 4;
    absl::StatusOr<Listener> listeners[kThreads];
    std::barrier start(kThreads);
    std::vector<std::thread> threads;
    for (absl::StatusOr<Listener>& listener : listeners) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        listener = SeqpacketListen(path_, 0600);
      });
    }
    for (std::thread& thread : threads) thread.join();
    int listening = 0;
    for (const absl::StatusOr<Listener>& listener : listeners) {
      listening += listener.ok();
      if (!listener.ok()) {
        EXPECT_EQ(listener.status().code(), absl::StatusCode::kFailedPrecondition);
      }
    }
    ASSERT_EQ(listening, 1) << "round " << round;
    EXPECT_TRUE(SeqpacketConnect(path_).ok());
  }
}

TEST_F(SeqpacketListenTest, WhoLeavesRemovesOnlyItsOwnFiles) {
  absl::StatusOr<Listener> first = SeqpacketListen(path_, 0600);
  ASSERT_TRUE(first.ok()) << first.status();
  SeqpacketUnlink(path_, first->lock);
  EXPECT_NE(access((path_ + ".lock").c_str(), F_OK), 0);
  const absl::StatusOr<Listener> second = SeqpacketListen(path_, 0600);
  ASSERT_TRUE(second.ok()) << second.status();
  SeqpacketUnlink(path_, first->lock);
  EXPECT_TRUE(SeqpacketConnect(path_).ok());
}

}  // namespace
}  // namespace mailrail
