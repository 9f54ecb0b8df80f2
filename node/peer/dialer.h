#ifndef MAILRAIL_NODE_PEER_DIALER_H_
#define MAILRAIL_NODE_PEER_DIALER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/random/random.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "node/peer/backoff.h"
#include "node/peer/event_loop.h"
#include "node/peer/options.h"
#include "node/peer/stream_session.h"

namespace mailrail {

// Keeps dialing one peer for sessions of one class: one stream at a time, and after its end, and a
// pause, the next. Used on the loop's thread alone. Held by shared_ptr, so that a timer can tell
// that it is gone; may be destroyed only when it has no stream.
class Dialer : public std::enable_shared_from_this<Dialer> {
 public:
  // All pointers outlive the dialer.
  Dialer(const PeerTransportOptions* options, EventLoop* loop, grpc::CompletionQueue* queue,
         StreamSession::Owner* owner, SessionHandler* handler, std::string node,
         proto::SessionClass session_class);

  // Where to dial from now on; dials at once if there is no open session, which else goes on. A
  // dial that this gives up ends with kCancelled.
  void SetAddress(const std::string& address);

  // The stream from its start until Ended(), or null.
  const std::shared_ptr<StreamSession>& stream() const { return stream_; }

  // What became of the stream: its session opened; the peer refused it, or was found not to be
  // the one that is meant; it is done.
  void Opened();
  void Refused() { backoff_.Exhaust(); }
  void Ended();

  // No dial from now on.
  void Stop() { stopped_ = true; }

 private:
  void Dial();

  const PeerTransportOptions& options_;
  EventLoop* const loop_;
  grpc::CompletionQueue* const queue_;
  StreamSession::Owner* const owner_;
  SessionHandler* const handler_;
  const std::string node_;
  const proto::SessionClass session_class_;

  std::string address_;
  bool stopped_ = false;
  bool redial_at_once_ = false;
  absl::InsecureBitGen random_;
  Backoff backoff_;
  // Tells a timer that it has been overtaken.
  uint64_t dials_ = 0;
  // The channel outlives the stream.
  std::shared_ptr<grpc::Channel> channel_;
  std::shared_ptr<StreamSession> stream_;
  absl::Time opened_at_ = absl::InfiniteFuture();
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_DIALER_H_
