#include "node/directory/embedded_directory.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace mailrail {
namespace {

// Peers that answer when the test says so.
class FakePeers : public PeerCaller {
 public:
  void Call(const std::string& node, proto::Request request, absl::Time, Callback done) override {
    asked[node] = request;
    waiting[node] = std::move(done);
  }
  std::vector<std::string> Peers() const override { return {"beta", "gamma"}; }
  std::vector<std::string> ConnectedPeers() const override { return {"gamma"}; }

  void Answer(const std::string& node, absl::StatusOr<proto::Reply> reply) {
    waiting.at(node)(std::move(reply));
  }

  std::map<std::string, proto::Request> asked;
  std::map<std::string, Callback> waiting;
};

proto::Reply MailboxReply(uint64_t max_bytes) {
  proto::Reply reply;
  reply.mutable_spec()->set_max_message_bytes(max_bytes);
  return reply;
}

class EmbeddedDirectoryTest : public ::testing::Test {
 protected:
  void Find(const std::string& node) {
    directory_.FindMailbox("orders", node, absl::InfiniteFuture(), [this](auto found) {
      ++answers_;
      found_ = std::move(found);
    });
  }

  FakePeers peers_;
  EmbeddedDirectory directory_{&peers_};
  absl::StatusOr<FoundMailbox> found_ = absl::UnknownError("no answer yet");
  int answers_ = 0;
};

TEST_F(EmbeddedDirectoryTest, TheFirstPeerThatHasTheNameAnswersForAll) {
  Find("");
  EXPECT_EQ(peers_.asked.at("beta").find_mailbox(), "orders");
  peers_.Answer("beta", absl::NotFoundError(""));
  EXPECT_EQ(answers_, 0);
  peers_.Answer("gamma", MailboxReply(77));
  ASSERT_TRUE(found_.ok());
  EXPECT_EQ(found_->node, "gamma");
  EXPECT_EQ(found_->options.max_message_bytes, 77u);
  EXPECT_EQ(answers_, 1);
}

TEST_F(EmbeddedDirectoryTest, NobodyHasItOnlyWhenAllHaveSaidSo) {
  Find("");
  peers_.Answer("gamma", absl::NotFoundError(""));
  EXPECT_EQ(answers_, 0);
  peers_.Answer("beta", absl::UnavailableError(""));
  EXPECT_EQ(found_.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(found_.status().message()).find("not reached: beta"), std::string::npos);
}

TEST_F(EmbeddedDirectoryTest, OfANamedNodeOnlyThatOneIsAskedAndItsErrorIsTheAnswer) {
  Find("beta");
  EXPECT_FALSE(peers_.asked.contains("gamma"));
  peers_.Answer("beta", absl::UnavailableError("not reached"));
  EXPECT_EQ(found_.status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(EmbeddedDirectoryTest, LateAnswersAfterTheFirstChangeNothing) {
  Find("");
  peers_.Answer("beta", MailboxReply(1));
  peers_.Answer("gamma", MailboxReply(2));
  EXPECT_EQ(answers_, 1);
  EXPECT_EQ(found_->node, "beta");
}

TEST_F(EmbeddedDirectoryTest, ACheckAsksOnlyThoseThatAreConnected) {
  absl::Status status;
  directory_.CheckMailbox("orders", absl::InfiniteFuture(),
                          [&](auto found) { status = found.status(); });
  EXPECT_FALSE(peers_.asked.contains("beta"));
  peers_.Answer("gamma", absl::NotFoundError("there is none"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace mailrail
