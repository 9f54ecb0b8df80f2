#include "node/peer/dialer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "node/peer/connection.h"
#include "node/peer/handshake.h"
#include "node/peer/streams.h"

namespace mailrail {

Dialer::Dialer(const PeerTransportOptions* options, EventLoop* loop, grpc::CompletionQueue* queue,
               StreamSession::Owner* owner, SessionHandler* handler, std::string node,
               proto::SessionClass session_class)
    : options_(*options),
      loop_(loop),
      queue_(queue),
      owner_(owner),
      handler_(handler),
      node_(std::move(node)),
      session_class_(session_class),
      backoff_(options->backoff_min, options->backoff_max) {}

void Dialer::SetAddress(const std::string& address) {
  if (address == address_) return;
  address_ = address;
  backoff_.Reset();
  if (stream_ == nullptr) {
    Dial();
  } else if (opened_at_ == absl::InfiniteFuture()) {
    redial_at_once_ = true;
    stream_->Close(absl::CancelledError("the address has changed"));
  }
}

void Dialer::Dial() {
  if (stopped_) return;
  ++dials_;
  opened_at_ = absl::InfiniteFuture();
  channel_ = MakePeerChannel(options_, address_);
  stream_ = DialedStream::Start(channel_, queue_, node_, MakeHello(options_, session_class_),
                                owner_, handler_);
  const absl::Status late = absl::UnavailableError(absl::StrCat(
      "no answer from ", address_, " within ", absl::FormatDuration(options_.handshake_timeout)));
  loop_->PostAt(absl::Now() + options_.handshake_timeout,
                [weak = std::weak_ptr<StreamSession>(stream_), late] {
                  if (const auto stream = weak.lock()) stream->CloseUnlessGreeted(late);
                });
}

void Dialer::Opened() { opened_at_ = absl::Now(); }

void Dialer::Ended() {
  stream_.reset();
  channel_.reset();
  // A session that is lost as soon as it opens counts as a failure, else two nodes of one name
  // would displace each other's sessions without a pause.
  if (absl::Now() - opened_at_ >= options_.backoff_max) backoff_.Reset();
  const absl::Duration pause =
      std::exchange(redial_at_once_, false) ? absl::ZeroDuration() : backoff_.Next(random_);
  loop_->PostAt(absl::Now() + pause, [weak = weak_from_this(), dials = dials_] {
    const auto dialer = weak.lock();
    if (dialer != nullptr && dialer->dials_ == dials) dialer->Dial();
  });
}

}  // namespace mailrail
