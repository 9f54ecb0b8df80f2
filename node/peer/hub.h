#ifndef MAILRAIL_NODE_PEER_HUB_H_
#define MAILRAIL_NODE_PEER_HUB_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "node/peer/dialer.h"
#include "node/peer/event_loop.h"
#include "node/peer/options.h"
#include "node/peer/session_table.h"
#include "node/peer/streams.h"
#include "node/peer/transport.h"

namespace mailrail {

// Decides what becomes of streams: whom to dial, whether a handshake is good, which session gives
// way to which. All of it happens on the loop's thread, to which the public methods and gRPC's
// reports are posted; so OnOpen, OnClose and OnPeerProblem come one at a time. Thread-safe; must
// outlive the loop's thread and the streams.
class Hub final : public StreamSession::Owner {
 public:
  // `queue`: of the streams that are dialed; its tags are Completions.
  Hub(PeerTransportOptions options, SessionHandler* handler, EventLoop* loop,
      grpc::CompletionQueue* queue);

  const PeerTransportOptions& options() const { return options_; }

  // Puts `port` in the place of port 0 of the address that is advertised. Before the loop starts.
  void SetPort(int port);

  // The stream on which a peer will call.
  std::shared_ptr<AcceptedStream> NewAccepted();
  // A peer has called.
  void Accept(std::shared_ptr<AcceptedStream> stream);

  void AddPeer(std::string node, std::string address);

  std::vector<PeerStatus> Peers() const;

  // No dials and no new sessions from now on; the open ones end when all that is queued is sent.
  void Drain();

  // Ends every stream at once.
  void CloseAll();

  // Waits, after Drain(), until no stream is left and none will come of a dial; whether so by the
  // deadline.
  bool AwaitNoStreams(absl::Time deadline);

 private:
  using Stream = std::shared_ptr<StreamSession>;

  // A node that we dial or that has a session with us.
  struct Peer {
    // Dialed only because it dialed us.
    bool learned = false;
    std::string address;
    // One of each class; none when there is no address.
    std::map<proto::SessionClass, std::shared_ptr<Dialer>> dialers;
    uint64_t incarnation = 0;
    absl::Status last_error;
  };

  // StreamSession::Owner:
  void OnStreamStarted() override;
  void OnFirstMessage(Stream stream, proto::Envelope message) override;
  void OnStreamDone(Stream stream, absl::Status why) override;

  // All below: on the loop's thread.
  void Greet(const std::shared_ptr<AcceptedStream>& stream);
  void HandleHello(const Stream& stream, const proto::Envelope& message);
  void HandleAnswer(const Stream& stream, const proto::Envelope& message);
  void HandleDone(const Stream& stream, absl::Status why);
  void DialEnded(const std::string& node, const Stream& stream, bool opened,
                 const absl::Status& why);
  void Enter(const Stream& stream);
  void OpenWaiting(const std::string& node);
  void DialPeer(const std::string& node, const std::string& address, bool learned);
  void Forget(const std::string& node);
  void LogRefusal(absl::string_view who, const absl::Status& why);
  void Publish(const std::string& node);
  Dialer* FindDialer(const StreamSession& stream);
  absl::Status ShuttingDown() const;

  PeerTransportOptions options_;
  SessionHandler* const handler_;
  EventLoop* const loop_;
  grpc::CompletionQueue* const queue_;

  // On the loop's thread:
  bool draining_ = false;
  SessionTable table_;
  std::map<std::string, Peer> peers_;
  // Streams that peers dialed and that have not said Hello, by their address.
  std::map<const StreamSession*, std::shared_ptr<AcceptedStream>> greeting_;
  // What was logged last of those refused, so that each change is logged once.
  std::map<std::string, std::string> refusals_;

  mutable absl::Mutex mu_;
  int streams_ ABSL_GUARDED_BY(mu_) = 0;
  bool dials_no_more_ ABSL_GUARDED_BY(mu_) = false;
  std::map<std::string, PeerStatus> statuses_ ABSL_GUARDED_BY(mu_);
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_HUB_H_
