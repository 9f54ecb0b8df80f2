#ifndef MAILRAIL_TESTS_FUZZ_FUZZ_HUB_H_
#define MAILRAIL_TESTS_FUZZ_FUZZ_HUB_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "node/peer/options.h"
#include "node/peer/session_table.h"
#include "node/peer/stream_session.h"
#include "proto/peer.pb.h"

namespace mailrail {

// A stream without gRPC, whose other end the target plays. What the agent does to it is noted, by
// whichever thread; its end is told by Pump, in the target's.
class FuzzStream final : public StreamSession {
 public:
  FuzzStream(bool dialed, proto::Hello peer, Owner* owner, SessionHandler* handler)
      : StreamSession(dialed, std::move(peer), owner, handler) {}

  using StreamSession::Begin;
  void Release() override {}

  // The peer sends this. False when the agent reads nothing now.
  bool Receive(proto::Envelope message) ABSL_LOCKS_EXCLUDED(mutex_);
  // The peer has no more to say.
  void Hang() ABSL_LOCKS_EXCLUDED(mutex_);
  // What the agent has written since; and the end, if it has come, is told.
  std::vector<proto::Envelope> Pump() ABSL_LOCKS_EXCLUDED(mutex_);
  bool done() const { return done_; }

 private:
  void DoRead(proto::Envelope* message) override;
  void DoWrite(const proto::Envelope& message) override;
  void DoWritesDone() override {}
  void DoEnd(bool abrupt, const absl::Status& why) override;

  absl::Mutex mutex_;
  proto::Envelope* reading_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::vector<proto::Envelope> written_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ = false;
};

// What stands between streams and the carrier: the handshake, and which session takes whose place.
// As node/peer's Hub, less the dialing. Thread-compatible.
class FuzzHub : public StreamSession::Owner {
 public:
  using Stream = std::shared_ptr<FuzzStream>;

  // `handler` outlives it.
  FuzzHub(const PeerTransportOptions& options, SessionHandler* handler)
      : options_(options), handler_(handler) {}

  // A stream that a peer dials, or that this node dials to `node`.
  Stream Accept();
  Stream Dial(const std::string& node, proto::SessionClass session_class);
  // Both ends have said what sound ones say.
  Stream OpenSound(bool dialed, const proto::Hello& peer);

  void OnStreamStarted() override {}
  void OnFirstMessage(std::shared_ptr<StreamSession> stream, proto::Envelope message) override;
  void OnStreamDone(std::shared_ptr<StreamSession> stream, absl::Status why) override;

 private:
  void OpenWaiting(const std::string& node);

  const PeerTransportOptions options_;
  SessionHandler* const handler_;
  SessionTable table_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_FUZZ_FUZZ_HUB_H_
