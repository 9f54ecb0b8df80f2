#ifndef MAILRAIL_NODE_PEER_FAKE_STREAM_H_
#define MAILRAIL_NODE_PEER_FAKE_STREAM_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "node/peer/stream_session.h"

namespace mailrail {

// For tests: a stream without gRPC, which the test plays. One thread at a time.
class FakeStream final : public StreamSession {
 public:
  FakeStream(bool dialed, proto::Hello peer, Owner* owner = nullptr,
             SessionHandler* handler = nullptr)
      : StreamSession(dialed, std::move(peer), owner, handler) {}

  using StreamSession::Begin;
  using StreamSession::Done;
  using StreamSession::ReadDone;
  using StreamSession::WriteDone;

  void Release() override {}

  // The peer sends a message; only while a read is in flight.
  void Receive(proto::Envelope message) {
    *reading = std::move(message);
    reading = nullptr;
    ReadDone(true);
  }

  // What was asked of gRPC, in order: "read", "write hello", "write refusal", "write 3" for a batch
  // of three frames, "writes done", "end", "cancel".
  std::vector<std::string> operations;
  proto::Envelope* reading = nullptr;

 private:
  void DoRead(proto::Envelope* message) override {
    operations.push_back("read");
    reading = message;
  }

  void DoWrite(const proto::Envelope& message) override {
    if (message.has_hello()) {
      operations.push_back("write hello");
    } else if (message.has_refusal()) {
      operations.push_back("write refusal");
    } else {
      operations.push_back("write " + std::to_string(message.batch().frames_size()));
    }
  }

  void DoWritesDone() override { operations.push_back("writes done"); }

  void DoEnd(bool abrupt, const absl::Status&) override {
    operations.push_back(abrupt ? "cancel" : "end");
  }
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_FAKE_STREAM_H_
