#include "node/peer/stream_session.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/peer/fake_stream.h"
#include "node/peer/handshake.h"

namespace mailrail {
namespace {

using ::testing::ElementsAre;

// One thread plays gRPC, the transport and the user.
class StreamSessionTest : public ::testing::Test,
                          public StreamSession::Owner,
                          public SessionHandler {
 protected:
  // A stream keeps itself alive until it is done.
  ~StreamSessionTest() override {
    for (const auto& stream : streams) stream->Done(absl::OkStatus());
  }

  void OnStreamStarted() override { calls.push_back("started"); }
  void OnFirstMessage(std::shared_ptr<StreamSession>, proto::Envelope) override {
    calls.push_back("first message");
  }
  void OnStreamDone(std::shared_ptr<StreamSession>, absl::Status why) override {
    calls.push_back("done");
    reason = why;
  }
  void OnOpen(std::shared_ptr<Session> session) override {
    calls.push_back("open");
    if (during_open != nullptr) during_open(*session);
  }
  bool OnBatch(std::shared_ptr<Session> session, proto::Batch batch) override {
    calls.push_back(absl::StrCat("batch of ", batch.frames_size()));
    if (during_batch != nullptr) during_batch(*session);
    if (during_batch != nullptr) calls.push_back("end of batch");
    return !put_off;
  }
  void OnClose(std::shared_ptr<Session>, absl::Status) override { calls.push_back("close"); }
  void OnWritable(std::shared_ptr<Session>) override { calls.push_back("writable"); }
  void OnPeerProblem(absl::string_view, absl::Status) override {}

  std::shared_ptr<FakeStream> NewStream(bool dialed) {
    streams.push_back(std::make_shared<FakeStream>(dialed, proto::Hello(), this, this));
    return streams.back();
  }

  std::shared_ptr<FakeStream> Dialed() {
    const auto stream = NewStream(true);
    stream->Begin(proto::Hello());
    stream->WriteDone(true);
    stream->Receive(Greeting());
    return stream;
  }

  std::shared_ptr<FakeStream> Accepted() {
    const auto stream = NewStream(false);
    stream->Begin(std::nullopt);
    stream->Receive(Greeting());
    return stream;
  }

  // A stream of which nothing is under way but a read, and whose past is forgotten.
  std::shared_ptr<FakeStream> Opened(bool dialed) {
    const auto stream = dialed ? Dialed() : Accepted();
    if (dialed) {
      stream->Open(std::nullopt);
    } else {
      stream->Open(proto::Hello());
      stream->WriteDone(true);
    }
    stream->operations.clear();
    calls.clear();
    return stream;
  }

  static proto::Envelope Greeting() {
    proto::Envelope message;
    message.mutable_hello();
    return message;
  }

  // One that was open, has two frames to write, one of them under way, and drains.
  std::shared_ptr<FakeStream> Draining(bool dialed) {
    const auto stream = Opened(dialed);
    stream->Write(FrameOf(1));
    stream->Write(FrameOf(1));
    stream->Drain(absl::UnavailableError("shutting down"));
    return stream;
  }

  // Of one that drains and has said all: what the peer still has to say comes, and its end is ours.
  void ExpectThePeersEnd(const std::shared_ptr<FakeStream>& stream) {
    stream->Receive(BatchOf(1));
    EXPECT_THAT(calls, ElementsAre("batch of 1"));
    stream->ReadDone(false);
    EXPECT_EQ(stream->operations.back(), "end");
    stream->Done(absl::OkStatus());
    EXPECT_EQ(reason, absl::UnavailableError("shutting down"));
  }

  static proto::Envelope BatchOf(int frames) {
    proto::Envelope message;
    for (int i = 0; i < frames; ++i) message.mutable_batch()->add_frames();
    return message;
  }

  static proto::Frame FrameOf(size_t bytes) {
    proto::Frame frame;
    frame.mutable_data()->set_records(std::string(bytes, 'x'));
    return frame;
  }

  std::vector<std::shared_ptr<FakeStream>> streams;
  std::vector<std::string> calls;
  absl::Status reason;
  std::function<void(Session&)> during_open;
  std::function<void(Session&)> during_batch;
  bool put_off = false;  // what OnBatch returns is the contrary
};

TEST_F(StreamSessionTest, ADialedStreamSaysHelloAndReadsOnWhenOpened) {
  const auto stream = Dialed();
  EXPECT_THAT(stream->operations, ElementsAre("write hello", "read"));
  EXPECT_THAT(calls, ElementsAre("started", "first message"));
  stream->Open(std::nullopt);
  EXPECT_THAT(stream->operations, ElementsAre("write hello", "read", "read"));
  stream->Receive(BatchOf(3));
  EXPECT_THAT(calls, ElementsAre("started", "first message", "open", "batch of 3"));
}

TEST_F(StreamSessionTest, AnAcceptedStreamAnswersBeforeAllElse) {
  during_open = [](Session& session) { session.Write(FrameOf(1)); };
  const auto stream = Accepted();
  EXPECT_THAT(stream->operations, ElementsAre("read"));
  stream->Open(proto::Hello());
  EXPECT_THAT(stream->operations, ElementsAre("read", "write hello", "read"));
  stream->WriteDone(true);
  EXPECT_EQ(stream->operations.back(), "write 1");
}

TEST_F(StreamSessionTest, ABatchThatPutsOffTheNextIsReadOnWhenAsked) {
  const auto stream = Opened(false);
  put_off = true;
  stream->Receive(BatchOf(1));
  EXPECT_THAT(stream->operations, ElementsAre());
  stream->ReadOn();
  EXPECT_THAT(stream->operations, ElementsAre("read"));
  // The same when it is asked before the batch has returned.
  during_batch = [](Session& session) { session.ReadOn(); };
  stream->Receive(BatchOf(1));
  EXPECT_THAT(stream->operations, ElementsAre("read", "read"));
  put_off = false;
  during_batch = nullptr;
  stream->Receive(BatchOf(1));
  EXPECT_THAT(stream->operations, ElementsAre("read", "read", "read"));
}

TEST_F(StreamSessionTest, APeerThatDoesNotReadWhatItAsksForIsCutOff) {
  const auto stream = Opened(false);
  proto::Frame answer;
  answer.mutable_reply()->mutable_status()->set_message(std::string(kMaxControlBytes / 4, 'x'));
  for (int i = 0; i < 4; ++i) stream->Write(answer);
  EXPECT_THAT(stream->operations, ElementsAre("write 1"));
  stream->Write(FrameOf(kMaxControlBytes));  // a message, for which its writer sees to room
  EXPECT_THAT(stream->operations, ElementsAre("write 1"));
  stream->Write(answer);
  EXPECT_THAT(stream->operations, ElementsAre("write 1", "cancel"));
}

TEST_F(StreamSessionTest, ARefusedPeerThatDoesNotReadCanBeCutOff) {
  const auto stream = Accepted();
  stream->Refuse(absl::FailedPreconditionError("no"));
  stream->Close(absl::FailedPreconditionError("no"));
  EXPECT_THAT(stream->operations, ElementsAre("read", "write refusal", "cancel"));
}

TEST_F(StreamSessionTest, ARefusedStreamEndsWhenTheRefusalIsSent) {
  const auto stream = Accepted();
  stream->Refuse(absl::FailedPreconditionError("no"));
  EXPECT_THAT(stream->operations, ElementsAre("read", "write refusal"));
  stream->WriteDone(true);
  EXPECT_THAT(stream->operations, ElementsAre("read", "write refusal", "end"));
}

TEST_F(StreamSessionTest, WhatGathersDuringAWriteGoesOutAsOneBatch) {
  const auto stream = Opened(true);
  for (int i = 0; i < 10; ++i) stream->Write(FrameOf(100));
  EXPECT_THAT(stream->operations, ElementsAre("write 1"));
  stream->WriteDone(true);
  EXPECT_THAT(stream->operations, ElementsAre("write 1", "write 9"));
  EXPECT_GT(stream->queued_bytes(), 900u);
  stream->WriteDone(true);
  EXPECT_EQ(stream->queued_bytes(), 0u);
}

TEST_F(StreamSessionTest, SaysOnceThatTheQueueFellBelowTheMark) {
  const auto stream = Opened(true);
  for (size_t i = 0; i < 6; ++i) stream->Write(FrameOf(kLowMarkBytes / 4));
  for (int i = 0; i < 2; ++i) stream->WriteDone(true);
  EXPECT_THAT(calls, ElementsAre());
  for (int i = 0; i < 4; ++i) stream->WriteDone(true);
  EXPECT_THAT(calls, ElementsAre("writable"));
}

TEST_F(StreamSessionTest, ACallThatIsDueDuringAnotherComesAfterIt) {
  const auto stream = Opened(true);
  stream->Write(FrameOf(kLowMarkBytes));
  during_batch = [&](Session&) { stream->WriteDone(true); };
  stream->Receive(BatchOf(1));
  EXPECT_THAT(calls, ElementsAre("batch of 1", "end of batch", "writable"));
  EXPECT_THAT(stream->operations, ElementsAre("write 1", "read"));
}

TEST_F(StreamSessionTest, CloseIsAbruptAndTheLastOperation) {
  for (const bool dialed : {true, false}) {
    const auto stream = Opened(dialed);
    stream->Write(FrameOf(1));
    stream->Write(FrameOf(1));
    stream->Close(absl::DataLossError("bad"));
    stream->Close(absl::DataLossError("bad again"));
    stream->Write(FrameOf(1));
    stream->WriteDone(false);
    stream->ReadDone(false);
    EXPECT_THAT(stream->operations, ElementsAre("write 1", "cancel"));
    EXPECT_EQ(stream->queued_bytes(), 0u);
    stream->Done(absl::CancelledError("what gRPC says"));
    EXPECT_THAT(calls, ElementsAre("done"));
    EXPECT_EQ(reason, absl::DataLossError("bad"));
  }
}

TEST_F(StreamSessionTest, NothingIsDeliveredAfterClose) {
  const auto stream = Opened(true);
  during_batch = [](Session& session) { session.Close(absl::OkStatus()); };
  stream->Receive(BatchOf(1));
  EXPECT_THAT(calls, ElementsAre("batch of 1", "end of batch"));
  EXPECT_THAT(stream->operations, ElementsAre("cancel"));
  stream->Done(absl::OkStatus());
  EXPECT_TRUE(absl::IsCancelled(reason));
}

TEST_F(StreamSessionTest, ADialedStreamDrainsAndAwaitsThePeersEnd) {
  const auto stream = Draining(true);
  stream->Write(FrameOf(1));
  stream->WriteDone(true);
  EXPECT_THAT(stream->operations, ElementsAre("write 1", "write 1"));
  stream->WriteDone(true);
  EXPECT_EQ(stream->operations.back(), "writes done");
  ExpectThePeersEnd(stream);
}

TEST_F(StreamSessionTest, AnAcceptedStreamDrainsAndAsksThePeerToHangUp) {
  const auto stream = Draining(false);
  stream->WriteDone(true);
  stream->WriteDone(true);
  EXPECT_THAT(stream->operations, ElementsAre("write 1", "write 1", "write refusal"));
  stream->WriteDone(true);
  ExpectThePeersEnd(stream);
}

TEST_F(StreamSessionTest, ADialedStreamThatIsAskedToHangsUpWhenItsQueueIsSent) {
  const auto stream = Opened(true);
  stream->Write(FrameOf(1));
  stream->Write(FrameOf(1));
  proto::Envelope message;
  *message.mutable_refusal() = MakeRefusal(absl::UnavailableError("shutting down"));
  stream->Receive(message);
  stream->WriteDone(true);
  EXPECT_THAT(stream->operations, ElementsAre("write 1", "read", "write 1"));
  stream->WriteDone(true);
  EXPECT_EQ(stream->operations.back(), "writes done");
  stream->ReadDone(false);
  stream->Done(absl::UnavailableError("connection reset"));
  EXPECT_EQ(reason, absl::UnavailableError("shutting down"));
}

TEST_F(StreamSessionTest, AStreamThatIsNotOpenIsDrainedByItsEnd) {
  const auto accepted = Accepted();
  accepted->Drain(absl::UnavailableError("shutting down"));
  EXPECT_THAT(accepted->operations, ElementsAre("read", "end"));
  const auto dialed = Dialed();
  dialed->Drain(absl::UnavailableError("shutting down"));
  EXPECT_EQ(dialed->operations.back(), "cancel");
}

TEST_F(StreamSessionTest, AnAcceptedStreamDrainsWhenThePeerHasNoMoreToSay) {
  const auto stream = Opened(false);
  stream->Write(FrameOf(1));
  stream->Write(FrameOf(1));
  stream->ReadDone(false);
  stream->WriteDone(true);
  stream->WriteDone(true);
  EXPECT_THAT(stream->operations, ElementsAre("write 1", "write 1", "end"));
  stream->Done(absl::OkStatus());
  EXPECT_TRUE(absl::IsUnavailable(reason));
}

TEST_F(StreamSessionTest, AfterAFailedWriteWhatThePeerSentIsStillDelivered) {
  for (const bool dialed : {true, false}) {
    const auto stream = Opened(dialed);
    stream->Write(FrameOf(1));
    stream->Write(FrameOf(1));
    stream->WriteDone(false);
    stream->Write(FrameOf(1));
    EXPECT_EQ(stream->queued_bytes(), 0u);
    stream->Receive(BatchOf(2));
    stream->ReadDone(false);
    EXPECT_THAT(stream->operations, ElementsAre("write 1", "read", "end"));
    EXPECT_THAT(calls, ElementsAre("batch of 2"));
  }
}

TEST_F(StreamSessionTest, AStreamThatIsNotGreetedInTimeIsClosed) {
  const auto late = NewStream(false);
  late->Begin(std::nullopt);
  late->CloseUnlessGreeted(absl::DeadlineExceededError("late"));
  EXPECT_THAT(late->operations, ElementsAre("read", "end"));
  late->Receive(Greeting());
  EXPECT_THAT(calls, ElementsAre("started"));
  const auto punctual = Accepted();
  punctual->CloseUnlessGreeted(absl::DeadlineExceededError("late"));
  EXPECT_THAT(punctual->operations, ElementsAre("read"));
}

TEST_F(StreamSessionTest, AnotherMessageThanABatchClosesAnOpenSession) {
  const auto stream = Opened(false);
  stream->Receive(Greeting());
  EXPECT_THAT(stream->operations, ElementsAre("cancel"));
  stream->Done(absl::OkStatus());
  EXPECT_TRUE(absl::IsInvalidArgument(reason));
}

}  // namespace
}  // namespace mailrail
