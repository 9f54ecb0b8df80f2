#ifndef MAILRAIL_NODE_PEER_STREAM_SESSION_H_
#define MAILRAIL_NODE_PEER_STREAM_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "node/peer/frame_queue.h"
#include "node/peer/session.h"
#include "proto/peer.pb.h"

namespace mailrail {

// The part of a session that does not depend on which side dialed: the handshake's messages, the
// queue of frames, the order of calls into the handler, and the end. Thread-safe.
//
// gRPC forbids to start an operation on a stream after its end, and may end a stream at any time.
// So whoever is about to start one counts itself in `starting_` first, and the stream is ended by
// DoEnd(), once, when nobody does and nobody will. No call into gRPC is made under the lock.
//
// It keeps itself alive until gRPC is done with it.
class StreamSession : public Session, public std::enable_shared_from_this<StreamSession> {
 public:
  // Whose streams these are; called from gRPC's threads; outlives the streams that gRPC has.
  class Owner {
   public:
    virtual ~Owner() = default;
    // The first call; others may come before it returns.
    virtual void OnStreamStarted() = 0;
    // The handshake's first message from the peer has come. Once at most; nothing is read until
    // Open().
    virtual void OnFirstMessage(std::shared_ptr<StreamSession> stream, proto::Envelope message) = 0;
    // gRPC is done with it: the last call, and always made. `why` is never OK.
    virtual void OnStreamDone(std::shared_ptr<StreamSession> stream, absl::Status why) = 0;
  };

  const std::string& peer_node() const override { return peer_.node(); }
  uint64_t peer_incarnation() const override { return peer_.node_incarnation(); }
  const std::string& peer_address() const override { return peer_.advertised_address(); }
  proto::SessionClass session_class() const override { return peer_.session_class(); }
  bool dialed() const override { return dialed_; }
  using Session::Write;
  void Write(std::vector<proto::Frame> frames) override;
  size_t queued_bytes() const override;
  void ReadOn() override;
  void Close(absl::Status why) override;

  // Says who the peer is. Before the session is shown to anyone.
  void SetPeer(const proto::Hello& peer) { peer_ = peer; }

  // Sends the answer to the peer's Hello (none on a stream that we dialed), calls OnOpen, and
  // reads on. Once, after OnFirstMessage.
  void Open(std::optional<proto::Hello> answer);

  // Sends a refusal and ends the stream, instead of Open().
  void Refuse(const absl::Status& why);

  // Close() if the peer's first message has not come.
  void CloseUnlessGreeted(absl::Status why);

  // Ends the session, because of `why`, when the peer has got all that is queued and, on a stream
  // that a peer dialed, has sent what it had queued; what is written from now on is dropped.
  //
  // It is always the dialer's part to hang up: it says that it has no more to say, the peer sends
  // what it still has, and ends the stream. A peer that was dialed asks for that by a Refusal as
  // its last message. If it ended the stream itself, closing the connection soon after could
  // destroy what is still on its way.
  void Drain(absl::Status why);

  // Frees what belongs to gRPC; after OnStreamDone.
  virtual void Release() = 0;

 protected:
  // `peer` says what is known of the peer before its Hello.
  StreamSession(bool dialed, proto::Hello peer, Owner* owner, SessionHandler* handler);

  // Calls into gRPC: one read and one write at a time, none after DoEnd.
  virtual void DoRead(proto::Envelope* message) = 0;
  virtual void DoWrite(const proto::Envelope& message) = 0;
  virtual void DoWritesDone() = 0;
  // `abrupt`: not waiting for what is on its way.
  virtual void DoEnd(bool abrupt, const absl::Status& why) = 0;

  // Starts to read, and sends the Hello of a stream that we dial.
  void Begin(std::optional<proto::Hello> hello);

  // What gRPC reports. Done() is the last; `why` is OK if the peer ended the stream in good order.
  void ReadDone(bool ok);
  void WriteDone(bool ok);
  void Done(absl::Status why);

 private:
  // What to do on the stream once the lock is released. All but kEnd are counted in `starting_`.
  enum class Step { kNone, kRead, kWrite, kWritesDone, kEnd };

  Step NextStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run(Step step);
  Step WriteStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetEnd(bool abrupt, absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReadEnded();
  void Deliver(bool read_on);

  const bool dialed_;
  Owner* const owner_;
  SessionHandler* const handler_;
  proto::Hello peer_;
  // Set from Begin() to Done().
  std::shared_ptr<StreamSession> self_;

  // Belongs to the read in flight, then to the thread that delivers it.
  proto::Envelope incoming_;
  // Belongs to the write in flight.
  proto::Envelope outgoing_;

  mutable absl::Mutex mu_;
  FrameQueue queue_ ABSL_GUARDED_BY(mu_);
  size_t bytes_in_flight_ ABSL_GUARDED_BY(mu_) = 0;
  bool write_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  bool write_broken_ ABSL_GUARDED_BY(mu_) = false;

  bool greeted_ ABSL_GUARDED_BY(mu_) = false;
  bool opened_ ABSL_GUARDED_BY(mu_) = false;
  // Ends by Drain()'s steps when the queue is empty. `farewell_`: WritesDone, or the Refusal that
  // asks for it, is on its way. `read_ended_`: the peer has no more to say.
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool farewell_ ABSL_GUARDED_BY(mu_) = false;
  bool read_ended_ ABSL_GUARDED_BY(mu_) = false;
  // Ends when `starting_` is 0; `ended_` then.
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool abrupt_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status why_ ABSL_GUARDED_BY(mu_);
  int starting_ ABSL_GUARDED_BY(mu_) = 0;

  // A thread that finds `delivering_` set leaves its call to the thread which has set it.
  bool delivering_ ABSL_GUARDED_BY(mu_) = false;
  bool batch_due_ ABSL_GUARDED_BY(mu_) = false;
  bool writable_due_ ABSL_GUARDED_BY(mu_) = false;
  // Reads that ReadOn() has asked for, less those that OnBatch has put off: -1 while one is.
  int reads_asked_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_STREAM_SESSION_H_
