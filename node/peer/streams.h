#ifndef MAILRAIL_NODE_PEER_STREAMS_H_
#define MAILRAIL_NODE_PEER_STREAMS_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/client_callback.h"
#include "grpcpp/support/server_callback.h"
#include "node/peer/stream_session.h"
#include "proto/peer_service.grpc.pb.h"

// The two ends of gRPC's stream, bound to StreamSession. Thread-safe.
namespace mailrail {

// A stream that this node dialed.
class DialedStream final : public StreamSession,
                           private grpc::ClientBidiReactor<proto::Envelope, proto::Envelope> {
 public:
  // Starts to dial the node `node`, with `hello` as the first message. `channel` must outlive the
  // stream's OnStreamDone.
  static std::shared_ptr<DialedStream> Start(const std::shared_ptr<grpc::Channel>& channel,
                                             absl::string_view node, proto::Hello hello,
                                             Owner* owner, SessionHandler* handler);

  DialedStream(absl::string_view node, proto::SessionClass session_class, Owner* owner,
               SessionHandler* handler);

  void Release() override { context_.reset(); }

 private:
  void DoRead(proto::Envelope* message) override { StartRead(message); }
  void DoWrite(const proto::Envelope& message) override { StartWrite(&message); }
  void DoWritesDone() override { StartWritesDone(); }
  void DoEnd(bool abrupt, const absl::Status& why) override;

  void OnReadDone(bool ok) override { ReadDone(ok); }
  void OnWriteDone(bool ok) override { WriteDone(ok); }
  void OnDone(const grpc::Status& status) override;

  std::optional<grpc::ClientContext> context_;
};

// A stream that a peer dialed.
class AcceptedStream final : public StreamSession,
                             public grpc::ServerBidiReactor<proto::Envelope, proto::Envelope> {
 public:
  // Starts to read the first message of the call of `context`, which the stream, as its reactor,
  // is to be returned for.
  static std::shared_ptr<AcceptedStream> Start(grpc::CallbackServerContext* context, Owner* owner,
                                               SessionHandler* handler);

  AcceptedStream(grpc::CallbackServerContext* context, Owner* owner, SessionHandler* handler);

  // Which node the peer means to have dialed; empty if it did not say.
  const std::string& dialed_node() const { return dialed_node_; }
  // The peer's address and port, as gRPC writes them.
  const std::string& remote_address() const { return remote_address_; }

  void Release() override {}

 private:
  void DoRead(proto::Envelope* message) override { StartRead(message); }
  void DoWrite(const proto::Envelope& message) override { StartWrite(&message); }
  void DoWritesDone() override {}
  void DoEnd(bool abrupt, const absl::Status& why) override;

  void OnReadDone(bool ok) override { ReadDone(ok); }
  void OnWriteDone(bool ok) override { WriteDone(ok); }
  void OnCancel() override;
  void OnDone() override;

  // gRPC's; gone after OnDone, which does not come before DoEnd.
  grpc::CallbackServerContext* const context_;
  const std::string dialed_node_;
  const std::string remote_address_;

  absl::Mutex cancel_mu_;
  bool cancelled_ ABSL_GUARDED_BY(cancel_mu_) = false;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_STREAMS_H_
