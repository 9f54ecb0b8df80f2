#include "tests/fuzz/fuzz_hub.h"

#include <optional>
#include <utility>

#include "node/peer/handshake.h"
#include "tests/fuzz/input.h"

namespace mailrail {

bool FuzzStream::Receive(proto::Envelope message) {
  {
    absl::MutexLock lock(&mutex_);
    if (reading_ == nullptr || ended_) return false;
    *std::exchange(reading_, nullptr) = std::move(message);
  }
  ReadDone(true);
  return true;
}

void FuzzStream::Hang() {
  {
    absl::MutexLock lock(&mutex_);
    if (reading_ == nullptr || ended_) return;
    reading_ = nullptr;
  }
  ReadDone(false);
}

std::vector<proto::Envelope> FuzzStream::Pump() {
  std::vector<proto::Envelope> written;
  while (true) {
    bool wrote = false;
    {
      absl::MutexLock lock(&mutex_);
      wrote = std::exchange(writing_, false);
      for (proto::Envelope& message : written_) written.push_back(std::move(message));
      written_.clear();
    }
    if (!wrote) break;
    WriteDone(true);
  }
  bool reading = false;
  {
    absl::MutexLock lock(&mutex_);
    if (!ended_ || done_) return written;
    reading = std::exchange(reading_, nullptr) != nullptr;
  }
  done_ = true;
  if (reading) ReadDone(false);
  Done(absl::UnavailableError("the stream has ended"));
  return written;
}

void FuzzStream::DoRead(proto::Envelope* message) {
  absl::MutexLock lock(&mutex_);
  message->Clear();
  reading_ = message;
}

void FuzzStream::DoWrite(const proto::Envelope& message) {
  absl::MutexLock lock(&mutex_);
  written_.push_back(message);
  writing_ = true;
}

void FuzzStream::DoEnd(bool, const absl::Status&) {
  absl::MutexLock lock(&mutex_);
  ended_ = true;
}

FuzzHub::Stream FuzzHub::Accept() {
  const auto stream = std::make_shared<FuzzStream>(false, proto::Hello(), this, handler_);
  stream->Begin(std::nullopt);
  return stream;
}

FuzzHub::Stream FuzzHub::Dial(const std::string& node, proto::SessionClass session_class) {
  proto::Hello peer;
  peer.set_node(node);
  peer.set_session_class(session_class);
  const auto stream = std::make_shared<FuzzStream>(true, peer, this, handler_);
  stream->Begin(MakeHello(options_, session_class));
  stream->Pump();
  return stream;
}

FuzzHub::Stream FuzzHub::OpenSound(bool dialed, const proto::Hello& peer) {
  const Stream stream = dialed ? Dial(peer.node(), peer.session_class()) : Accept();
  proto::Envelope greeting;
  *greeting.mutable_hello() = peer;
  Promise(stream->Receive(std::move(greeting)), "a sound peer is greeted");
  return stream;
}

void FuzzHub::OnFirstMessage(std::shared_ptr<StreamSession> stream, proto::Envelope message) {
  const absl::Status checked = stream->dialed() ? CheckAnswer(options_, stream->peer_node(),
                                                              stream->session_class(), message)
                                                : CheckHello(options_, "", message);
  if (!checked.ok()) {
    if (stream->dialed()) {
      stream->Close(checked);
    } else {
      stream->Refuse(checked);
    }
    return;
  }
  stream->SetPeer(message.hello());
  for (const auto& old : table_.Enter(stream)) old->Close(absl::UnavailableError("displaced"));
  OpenWaiting(stream->peer_node());
}

void FuzzHub::OpenWaiting(const std::string& node) {
  for (const auto& stream : table_.TakeOpenable(node)) {
    if (stream->dialed()) {
      stream->Open(std::nullopt);
    } else {
      stream->Open(MakeHello(options_, stream->session_class()));
    }
  }
}

void FuzzHub::OnStreamDone(std::shared_ptr<StreamSession> stream, absl::Status why) {
  const std::string node = stream->peer_node();
  if (table_.Remove(stream.get())) handler_->OnClose(stream, why);
  OpenWaiting(node);
}

}  // namespace mailrail
