#include "node/peer/streams.h"

#include <utility>

#include "node/peer/handshake.h"

namespace mailrail {
namespace {

proto::Hello Expected(absl::string_view node, proto::SessionClass session_class) {
  proto::Hello hello;
  hello.set_node(std::string(node));
  hello.set_session_class(session_class);
  return hello;
}

}  // namespace

void GrpcStream::Completed() {
  if (in_progress_.fetch_sub(1, std::memory_order_acq_rel) == 1) Done(FinalStatus());
}

void GrpcStream::OnRead(bool ok) {
  ReadDone(ok);
  Completed();
}

void GrpcStream::OnWrite(bool ok) {
  WriteDone(ok);
  Completed();
}

void GrpcStream::OnWritesDone(bool /*ok*/) { Completed(); }

void GrpcStream::OnEnd(bool /*ok*/) { Completed(); }

std::shared_ptr<DialedStream> DialedStream::Start(const std::shared_ptr<grpc::Channel>& channel,
                                                  grpc::CompletionQueue* queue,
                                                  absl::string_view node, proto::Hello hello,
                                                  Owner* owner, SessionHandler* handler) {
  auto stream = std::make_shared<DialedStream>(node, hello.session_class(), owner, handler);
  stream->rpc_ = proto::PeerLink::NewStub(channel)->PrepareAsyncSession(&*stream->context_, queue);
  // The call goes out with the hello, and reports nothing of its own.
  stream->rpc_->StartCall(nullptr);
  stream->Begin(std::move(hello));
  return stream;
}

DialedStream::DialedStream(absl::string_view node, proto::SessionClass session_class, Owner* owner,
                           SessionHandler* handler)
    : GrpcStream(/*dialed=*/true, Expected(node, session_class), owner, handler) {
  context_.emplace();
  context_->AddMetadata(kDialedNodeKey, std::string(node));
  context_->set_initial_metadata_corked(true);
}

void DialedStream::DoEnd(bool abrupt, const absl::Status&) {
  if (abrupt) context_->TryCancel();
  rpc_->Finish(&status_, StartEnd());
}

absl::Status DialedStream::FinalStatus() { return FromGrpcStatus(status_); }

void DialedStream::Release() {
  rpc_.reset();
  context_.reset();
}

AcceptedStream::AcceptedStream(Owner* owner, SessionHandler* handler)
    : GrpcStream(/*dialed=*/false, proto::Hello(), owner, handler) {}

void AcceptedStream::Await(proto::PeerLink::AsyncService* service,
                           grpc::ServerCompletionQueue* queue, Completion* called) {
  context_.AsyncNotifyWhenDone(GrpcStream::Start(&over_));
  service->RequestSession(&context_, &rpc_, queue, queue, called);
}

void AcceptedStream::Start() { Begin(std::nullopt); }

std::string AcceptedStream::dialed_node() const {
  const auto& metadata = context_.client_metadata();
  const auto found = metadata.find(kDialedNodeKey);
  if (found == metadata.end()) return "";
  return std::string(found->second.data(), found->second.size());
}

void AcceptedStream::DoEnd(bool abrupt, const absl::Status& why) {
  if (abrupt) context_.TryCancel();
  rpc_.Finish(ToGrpcStatus(why), StartEnd());
}

absl::Status AcceptedStream::FinalStatus() {
  if (!context_.IsCancelled()) return absl::OkStatus();
  return absl::UnavailableError("the peer or the connection is gone");
}

}  // namespace mailrail
