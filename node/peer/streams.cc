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

std::string DialedNode(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(kDialedNodeKey);
  if (found == metadata.end()) return "";
  return std::string(found->second.data(), found->second.size());
}

}  // namespace

std::shared_ptr<DialedStream> DialedStream::Start(const std::shared_ptr<grpc::Channel>& channel,
                                                  absl::string_view node, proto::Hello hello,
                                                  Owner* owner, SessionHandler* handler) {
  auto stream = std::make_shared<DialedStream>(node, hello.session_class(), owner, handler);
  const auto stub = proto::PeerLink::NewStub(channel);
  stub->async()->Session(&*stream->context_, stream.get());
  // For operations that do not start in a reaction; removed by DoEnd.
  stream->AddHold();
  stream->Begin(std::move(hello));
  stream->StartCall();
  return stream;
}

DialedStream::DialedStream(absl::string_view node, proto::SessionClass session_class, Owner* owner,
                           SessionHandler* handler)
    : StreamSession(/*dialed=*/true, Expected(node, session_class), owner, handler) {
  context_.emplace();
  context_->AddMetadata(kDialedNodeKey, std::string(node));
}

void DialedStream::DoEnd(bool abrupt, const absl::Status&) {
  if (abrupt) context_->TryCancel();
  RemoveHold();
}

void DialedStream::OnDone(const grpc::Status& status) { Done(FromGrpcStatus(status)); }

std::shared_ptr<AcceptedStream> AcceptedStream::Start(grpc::CallbackServerContext* context,
                                                      Owner* owner, SessionHandler* handler) {
  auto stream = std::make_shared<AcceptedStream>(context, owner, handler);
  stream->Begin(std::nullopt);
  return stream;
}

AcceptedStream::AcceptedStream(grpc::CallbackServerContext* context, Owner* owner,
                               SessionHandler* handler)
    : StreamSession(/*dialed=*/false, proto::Hello(), owner, handler),
      context_(context),
      dialed_node_(DialedNode(*context)),
      remote_address_(context->peer()) {}

void AcceptedStream::DoEnd(bool abrupt, const absl::Status& why) {
  if (abrupt) context_->TryCancel();
  Finish(ToGrpcStatus(why));
}

void AcceptedStream::OnCancel() {
  absl::MutexLock lock(&cancel_mu_);
  cancelled_ = true;
}

void AcceptedStream::OnDone() {
  bool cancelled;
  {
    absl::MutexLock lock(&cancel_mu_);
    cancelled = cancelled_;
  }
  Done(cancelled ? absl::UnavailableError("the peer or the connection is gone") : absl::OkStatus());
}

}  // namespace mailrail
