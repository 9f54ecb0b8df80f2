#ifndef MAILRAIL_NODE_PEER_SESSION_H_
#define MAILRAIL_NODE_PEER_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/peer.pb.h"

namespace mailrail {

// An open session with a peer's agent: one stream that carries batches of frames both ways, in
// order. Thread-safe. Whoever holds it may use it for as long as they like, the transport's end
// included; once it has ended, what is written is dropped. Its methods never call the handler.
class Session {
 public:
  virtual ~Session() = default;

  virtual const std::string& peer_node() const = 0;
  virtual uint64_t peer_incarnation() const = 0;
  // Where the peer says that it listens ("HOST:PORT"); may be empty.
  virtual const std::string& peer_address() const = 0;
  virtual proto::SessionClass session_class() const = 0;
  // Whether this node dialed the peer; else the peer dialed this node.
  virtual bool dialed() const = 0;

  // Queues frames, in order, and returns. Too many of a peer that does not read end the session. A
  // frame goes out at once if the connection is free for it; what gathers meanwhile goes out as
  // batches of up to 64 KiB, and a larger frame alone. REQUIRES: a frame is smaller than
  // PeerTransportOptions::max_message_bytes of both nodes.
  virtual void Write(std::vector<proto::Frame> frames) = 0;
  void Write(proto::Frame frame);

  // The bytes that were written and that the connection has not yet taken.
  virtual size_t queued_bytes() const = 0;

  // Reads on, after SessionHandler::OnBatch has returned false; once for each time.
  virtual void ReadOn() = 0;

  // Ends the session without waiting for what is queued. OnClose follows, with `why`. A session
  // that was dialed is then dialed again.
  virtual void Close(absl::Status why) = 0;
};

// What a user of the transport is told. Calls come from the transport's threads, for one session
// never two at a time, and must return quickly: they hold up all sessions. A handler outlives the
// transport.
class SessionHandler {
 public:
  virtual ~SessionHandler() = default;

  // The first call for a session. Another session of the same peer, class and direction, or one
  // of an earlier incarnation of the peer, has had its OnClose before.
  virtual void OnOpen(std::shared_ptr<Session> session) = 0;

  // The peer's frames, in the order of its writes. When it returns false nothing more is read,
  // which in time holds up the peer, until Session::ReadOn().
  virtual bool OnBatch(std::shared_ptr<Session> session, proto::Batch batch) = 0;

  // The last call for a session: `why`, never OK, is kUnavailable when the peer or the connection
  // ended it, else what Close() was given.
  virtual void OnClose(std::shared_ptr<Session> session, absl::Status why) = 0;

  // queued_bytes() fell below kLowMarkBytes, having been above.
  virtual void OnWritable(std::shared_ptr<Session> session) = 0;

  // A peer could not be dialed, or refused: said once, and again when the reason changes.
  //   kUnavailable         it is not reached
  //   kFailedPrecondition  it is of another cluster, or another node than was dialed
  //   kUnimplemented       it speaks another version of the protocol
  virtual void OnPeerProblem(absl::string_view node, absl::Status why) = 0;
};

// A session is closed when more than this is queued of frames that carry no message: their writer
// cannot wait for room, as who writes messages can, and the peer makes them grow.
inline constexpr size_t kMaxControlBytes = size_t{32} << 20;

// See SessionHandler::OnWritable.
inline constexpr size_t kLowMarkBytes = size_t{256} << 10;

inline void Session::Write(proto::Frame frame) {
  std::vector<proto::Frame> frames;
  frames.push_back(std::move(frame));
  Write(std::move(frames));
}

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_SESSION_H_
