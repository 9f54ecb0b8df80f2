#include "node/directory/embedded_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/clock.h"

namespace mailrail {
namespace {

// Peers that answer when the test says so.
class FakePeers : public PeerCaller {
 public:
  void Call(const std::string& node, proto::Request request, absl::Time deadline,
            Callback done) override {
    asked[node] = request;
    deadlines[node] = deadline;
    waiting[node] = std::move(done);
  }
  std::vector<std::string> Peers() const override { return {"beta", "gamma"}; }
  std::vector<std::string> ConnectedPeers() const override { return {"gamma"}; }

  void Answer(const std::string& node, absl::StatusOr<proto::Reply> reply) {
    waiting.at(node)(std::move(reply));
  }

  std::map<std::string, proto::Request> asked;
  std::map<std::string, absl::Time> deadlines;
  std::map<std::string, Callback> waiting;
};

proto::Reply MailboxReply(uint64_t max_bytes) {
  proto::Reply reply;
  reply.mutable_spec()->set_max_message_bytes(max_bytes);
  reply.set_mailbox_id(5);
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
  EXPECT_EQ(found_->id, 5u);
  EXPECT_EQ(found_->options.max_message_bytes, 77u);
  EXPECT_EQ(answers_, 1);
}

TEST_F(EmbeddedDirectoryTest, NobodyHasItOnlyWhenAllHaveSaidSo) {
  Find("");
  peers_.Answer("gamma", absl::NotFoundError(""));
  EXPECT_EQ(answers_, 0);
  peers_.Answer("beta", absl::NotFoundError(""));
  EXPECT_EQ(found_.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(found_.status().message()), ::testing::HasSubstr("mailrail mailbox ls"));
}

TEST_F(EmbeddedDirectoryTest, WhileSomePeerHasNotAnsweredTheNameIsUnknownAndThePeerIsNamed) {
  Find("");
  peers_.Answer("gamma", absl::NotFoundError(""));
  peers_.Answer("beta", absl::UnavailableError(""));
  EXPECT_EQ(found_.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(found_.status().message()), ::testing::HasSubstr("no answer from beta"));
}

TEST_F(EmbeddedDirectoryTest, APeerThatIsNotConnectedIsWaitedForBriefly) {
  Find("");
  EXPECT_EQ(peers_.deadlines.at("gamma"), absl::InfiniteFuture());
  EXPECT_LE(peers_.deadlines.at("beta"), absl::Now() + EmbeddedDirectory::kUnconnectedWait);
  Find("beta");
  EXPECT_EQ(peers_.deadlines.at("beta"), absl::InfiniteFuture());
}

TEST_F(EmbeddedDirectoryTest, ANameIsWhateverThePeerSaysItIs) {
  absl::StatusOr<FoundName> name = absl::UnknownError("no answer yet");
  const auto find = [&] {
    directory_.FindName("orders", "", absl::InfiniteFuture(),
                        [&](auto found) { name = std::move(found); });
  };
  find();
  EXPECT_EQ(peers_.asked.at("beta").find_name(), "orders");
  peers_.Answer("beta", MailboxReply(1));
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(std::get<FoundMailbox>(*name).node, "beta");
  find();
  proto::Reply process;
  process.mutable_process()->set_node("gamma");
  process.mutable_process()->set_pid(7);
  peers_.Answer("gamma", process);
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(std::get<ProcessId>(*name).pid(), 7);
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

TEST_F(EmbeddedDirectoryTest, ACheckTakesSilenceForNoAnswerAndAGonePeerForNone) {
  absl::Status status;
  const auto check = [&](const absl::Status& answer) {
    directory_.CheckMailbox("orders", absl::InfiniteFuture(),
                            [&](auto found) { status = found.status(); });
    peers_.Answer("gamma", answer);
  };
  check(absl::DeadlineExceededError("no answer"));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  check(absl::UnavailableError("not connected any more"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace mailrail
