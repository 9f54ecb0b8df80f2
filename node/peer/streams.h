#ifndef MAILRAIL_NODE_PEER_STREAMS_H_
#define MAILRAIL_NODE_PEER_STREAMS_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/async_stream.h"
#include "node/peer/completions.h"
#include "node/peer/stream_session.h"
#include "proto/peer_service.grpc.pb.h"

// The two ends of gRPC's stream, bound to StreamSession. Thread-safe.
namespace mailrail {

// A stream of gRPC's asynchronous API. What it starts is counted; the stream is done when its end
// and all the others are.
class GrpcStream : public StreamSession {
 protected:
  GrpcStream(bool dialed, proto::Hello peer, Owner* owner, SessionHandler* handler)
      : StreamSession(dialed, std::move(peer), owner, handler) {}

  // The tag of an operation that is started now.
  template <typename T>
  void* Start(T* completion) {
    in_progress_.fetch_add(1, std::memory_order_relaxed);
    return static_cast<Completion*>(completion);
  }

  // The last one that is started.
  void* StartEnd() { return static_cast<Completion*>(&end_); }

  void* StartRead() { return Start(&read_); }
  void* StartWrite() { return Start(&write_); }
  void* StartWritesDone() { return Start(&writes_done_); }

  // One that was started is done, and nothing more is started because of it.
  void Completed();

 private:
  // All operations are done.
  virtual absl::Status FinalStatus() = 0;

  void OnRead(bool ok);
  void OnWrite(bool ok);
  void OnWritesDone(bool ok);
  void OnEnd(bool ok);

  CompletionOf<GrpcStream, &GrpcStream::OnRead> read_{this};
  CompletionOf<GrpcStream, &GrpcStream::OnWrite> write_{this};
  CompletionOf<GrpcStream, &GrpcStream::OnWritesDone> writes_done_{this};
  CompletionOf<GrpcStream, &GrpcStream::OnEnd> end_{this};
  // One of them is the end, from the beginning.
  std::atomic<int> in_progress_{1};
};

// A stream that this node dialed.
class DialedStream final : public GrpcStream {
 public:
  // Starts to dial the node `node`, with `hello` as the first message. `channel` must outlive the
  // stream's OnStreamDone, and `queue`, whose tags are Completions, the stream.
  static std::shared_ptr<DialedStream> Start(const std::shared_ptr<grpc::Channel>& channel,
                                             grpc::CompletionQueue* queue, absl::string_view node,
                                             proto::Hello hello, Owner* owner,
                                             SessionHandler* handler);

  DialedStream(absl::string_view node, proto::SessionClass session_class, Owner* owner,
               SessionHandler* handler);

  void Release() override;

 private:
  void DoRead(proto::Envelope* message) override { rpc_->Read(message, StartRead()); }
  void DoWrite(const proto::Envelope& message) override { rpc_->Write(message, StartWrite()); }
  void DoWritesDone() override { rpc_->WritesDone(StartWritesDone()); }
  void DoEnd(bool abrupt, const absl::Status& why) override;
  absl::Status FinalStatus() override;

  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<proto::Envelope, proto::Envelope>> rpc_;
  grpc::Status status_;
};

// A stream that a peer dialed.
class AcceptedStream final : public GrpcStream {
 public:
  AcceptedStream(Owner* owner, SessionHandler* handler);

  // Waits for a peer's call, of which `called` is told: false when the server is shut down.
  void Await(proto::PeerLink::AsyncService* service, grpc::ServerCompletionQueue* queue,
             Completion* called);

  // Starts to read the first message; after `called`.
  void Start();

  // Both after `called`. Which node the peer means to have dialed; empty if it did not say.
  std::string dialed_node() const;
  // The peer's address and port, as gRPC writes them.
  std::string remote_address() const { return context_.peer(); }

  void Release() override {}

 private:
  void DoRead(proto::Envelope* message) override { rpc_.Read(message, StartRead()); }
  void DoWrite(const proto::Envelope& message) override { rpc_.Write(message, StartWrite()); }
  void DoWritesDone() override {}
  void DoEnd(bool abrupt, const absl::Status& why) override;
  absl::Status FinalStatus() override;
  void OnOver(bool /*ok*/) { Completed(); }

  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<proto::Envelope, proto::Envelope> rpc_{&context_};
  CompletionOf<AcceptedStream, &AcceptedStream::OnOver> over_{this};
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_PEER_STREAMS_H_
