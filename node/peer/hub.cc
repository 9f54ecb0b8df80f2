#include "node/peer/hub.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "node/peer/handshake.h"

namespace mailrail {
namespace {

// Limits of what strangers can make us keep.
// A stranger's first message may be as large as any other: gRPC has one limit for all of a stream.
constexpr size_t kMaxGreeting = 64;
constexpr size_t kMaxSessions = 4096;
constexpr size_t kMaxRefusals = 64;

constexpr proto::SessionClass kClasses[] = {proto::BULK, proto::URGENT};

std::string Describe(const StreamSession& session) {
  return absl::StrCat("node ", session.peer_node(), ": ",
                      session.session_class() == proto::URGENT ? "urgent" : "bulk", " session ",
                      session.dialed() ? "to it" : "from it");
}

absl::Status Displaced(const StreamSession& old, const StreamSession& by) {
  if (old.peer_incarnation() == by.peer_incarnation()) {
    return absl::UnavailableError("a newer session took its place");
  }
  return absl::UnavailableError(absl::StrCat("node ", old.peer_node(),
                                             " started anew: incarnation ", by.peer_incarnation(),
                                             " follows ", old.peer_incarnation()));
}

}  // namespace

Hub::Hub(PeerTransportOptions options, SessionHandler* handler, EventLoop* loop,
         grpc::CompletionQueue* queue)
    : options_(std::move(options)), handler_(handler), loop_(loop), queue_(queue) {}

void Hub::SetPort(int port) {
  absl::string_view address = options_.advertised_address;
  if (absl::ConsumeSuffix(&address, ":0")) {
    options_.advertised_address = absl::StrCat(address, ":", port);
  }
}

std::shared_ptr<AcceptedStream> Hub::NewAccepted() {
  return std::make_shared<AcceptedStream>(this, handler_);
}

void Hub::Accept(std::shared_ptr<AcceptedStream> stream) {
  // Nothing is read before the start, so Greet() runs before the first message.
  loop_->Post([this, stream] { Greet(stream); });
  stream->Start();
}

void Hub::AddPeer(std::string node, std::string address) {
  loop_->Post([this, node = std::move(node), address = std::move(address)] {
    DialPeer(node, address, /*learned=*/false);
  });
}

std::vector<PeerStatus> Hub::Peers() const {
  absl::MutexLock lock(&mu_);
  std::vector<PeerStatus> peers;
  for (const auto& [node, status] : statuses_) peers.push_back(status);
  return peers;
}

void Hub::Drain() {
  loop_->Post([this] {
    draining_ = true;
    for (const auto& [key, stream] : greeting_) stream->Close(ShuttingDown());
    for (const auto& [node, peer] : peers_) {
      for (const auto& [session_class, dialer] : peer.dialers) {
        dialer->Stop();
        if (dialer->stream() != nullptr) dialer->stream()->CloseUnlessGreeted(ShuttingDown());
      }
    }
    for (const Stream& stream : table_.All()) stream->Drain(ShuttingDown());
    absl::MutexLock lock(&mu_);
    dials_no_more_ = true;
  });
}

void Hub::CloseAll() {
  loop_->Post([this] {
    for (const Stream& stream : table_.All()) stream->Close(ShuttingDown());
  });
}

bool Hub::AwaitNoStreams(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  const auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return dials_no_more_ && streams_ == 0;
  };
  return mu_.AwaitWithDeadline(absl::Condition(&none), deadline);
}

void Hub::OnStreamStarted() {
  absl::MutexLock lock(&mu_);
  ++streams_;
}

void Hub::OnFirstMessage(Stream stream, proto::Envelope message) {
  loop_->Post([this, stream = std::move(stream), message = std::move(message)] {
    if (stream->dialed()) {
      HandleAnswer(stream, message);
    } else {
      HandleHello(stream, message);
    }
  });
}

void Hub::OnStreamDone(Stream stream, absl::Status why) {
  loop_->Post([this, stream = std::move(stream), why = std::move(why)] {
    HandleDone(stream, why);
    absl::MutexLock lock(&mu_);
    --streams_;
  });
}

void Hub::Greet(const std::shared_ptr<AcceptedStream>& stream) {
  if (draining_) return stream->Close(ShuttingDown());
  if (greeting_.size() >= kMaxGreeting) {
    return stream->Close(absl::ResourceExhaustedError("too many streams without a Hello"));
  }
  greeting_.emplace(stream.get(), stream);
  const absl::Status late = absl::DeadlineExceededError(
      absl::StrCat("no Hello within ", absl::FormatDuration(options_.handshake_timeout)));
  loop_->PostAt(absl::Now() + options_.handshake_timeout,
                [weak = std::weak_ptr<StreamSession>(stream), late] {
                  if (const Stream greeted = weak.lock()) greeted->CloseUnlessGreeted(late);
                });
}

void Hub::HandleHello(const Stream& stream, const proto::Envelope& message) {
  const auto found = greeting_.find(stream.get());
  if (found == greeting_.end()) return;  // closed by Greet()
  const std::shared_ptr<AcceptedStream> accepted = std::move(found->second);
  greeting_.erase(found);
  absl::Status checked = CheckHello(options_, accepted->dialed_node(), message);
  if (checked.ok() && table_.size() >= kMaxSessions) {
    checked = absl::ResourceExhaustedError("too many sessions");
  }
  if (checked.ok() && draining_) checked = ShuttingDown();
  if (!checked.ok()) {
    stream->Refuse(checked);
    // It is in no table any more.
    loop_->PostAt(absl::Now() + options_.handshake_timeout,
                  [weak = std::weak_ptr<StreamSession>(stream), checked] {
                    if (const Stream refused = weak.lock()) refused->Close(checked);
                  });
    LogRefusal(message.hello().node().empty() ? accepted->remote_address() : message.hello().node(),
               checked);
    return;
  }
  stream->SetPeer(message.hello());
  refusals_.erase(stream->peer_node());
  Enter(stream);
  if (options_.dial_back && !stream->peer_address().empty()) {
    const auto peer = peers_.find(stream->peer_node());
    if (peer == peers_.end() || peer->second.address.empty() || peer->second.learned) {
      DialPeer(stream->peer_node(), stream->peer_address(), /*learned=*/true);
    }
  }
}

void Hub::HandleAnswer(const Stream& stream, const proto::Envelope& message) {
  if (draining_) return stream->Close(ShuttingDown());
  const absl::Status checked =
      CheckAnswer(options_, stream->peer_node(), stream->session_class(), message);
  if (!checked.ok()) {
    if (Dialer* dialer = FindDialer(*stream)) dialer->Refused();
    return stream->Close(checked);
  }
  stream->SetPeer(message.hello());
  Enter(stream);
}

void Hub::Enter(const Stream& stream) {
  for (const Stream& old : table_.Enter(stream)) old->Close(Displaced(*old, *stream));
  OpenWaiting(stream->peer_node());
}

void Hub::OpenWaiting(const std::string& node) {
  for (const Stream& stream : table_.TakeOpenable(node)) {
    Peer& peer = peers_[node];
    peer.incarnation = stream->peer_incarnation();
    if (Dialer* dialer = FindDialer(*stream)) dialer->Opened();
    Publish(node);
    options_.log(absl::StrCat(Describe(*stream), " open"));
    if (stream->dialed()) {
      stream->Open(std::nullopt);
    } else {
      stream->Open(MakeHello(options_, stream->session_class()));
    }
  }
}

void Hub::HandleDone(const Stream& stream, absl::Status why) {
  const std::string node = stream->peer_node();
  greeting_.erase(stream.get());
  const bool opened = table_.Remove(stream.get());
  if (opened) {
    if (stream->dialed()) peers_[node].last_error = why;
    Publish(node);
    options_.log(absl::StrCat(Describe(*stream), " closed: ", why.ToString()));
    handler_->OnClose(stream, why);
  }
  stream->Release();
  OpenWaiting(node);
  if (stream->dialed()) DialEnded(node, stream, opened, why);
  Forget(node);
  Publish(node);
}

void Hub::DialEnded(const std::string& node, const Stream& stream, bool opened,
                    const absl::Status& why) {
  Dialer* const dialer = FindDialer(*stream);
  if (dialer == nullptr) return;
  dialer->Ended();
  Peer& peer = peers_[node];
  if (opened || draining_ || absl::IsCancelled(why) || peer.last_error == why) return;
  peer.last_error = why;
  Publish(node);
  options_.log(absl::StrCat("node ", node, " at ", peer.address, ": ", why.ToString()));
  handler_->OnPeerProblem(node, why);
}

void Hub::DialPeer(const std::string& node, const std::string& address, bool learned) {
  if (draining_ || node == options_.node) return;
  Peer& peer = peers_[node];
  peer.learned = learned;
  peer.address = address;
  for (const proto::SessionClass session_class : kClasses) {
    std::shared_ptr<Dialer>& dialer = peer.dialers[session_class];
    if (dialer == nullptr) {
      dialer =
          std::make_shared<Dialer>(&options_, loop_, queue_, this, handler_, node, session_class);
    }
    dialer->SetAddress(address);
  }
  Publish(node);
}

// Forgets what is no longer of use: a peer that we would dial only because it dialed us, when it
// has gone, and one that we do not dial.
void Hub::Forget(const std::string& node) {
  const auto found = peers_.find(node);
  if (found == peers_.end() || table_.Has(node)) return;
  const Peer& peer = found->second;
  if (!peer.address.empty() && !peer.learned) return;
  for (const auto& [session_class, dialer] : peer.dialers) {
    if (dialer->stream() != nullptr) return;
  }
  peers_.erase(found);
}

void Hub::LogRefusal(absl::string_view who, const absl::Status& why) {
  if (refusals_.size() >= kMaxRefusals) refusals_.clear();
  std::string& last = refusals_[std::string(who)];
  if (last == why.message()) return;
  last = std::string(why.message());
  options_.log(absl::StrCat("refused a session: ", why.ToString()));
}

void Hub::Publish(const std::string& node) {
  PeerStatus status;
  const auto found = peers_.find(node);
  if (found != peers_.end()) {
    Peer& peer = found->second;
    size_t dialed = 0;
    for (const Stream& session : table_.Opened(node)) {
      ++status.open_sessions;
      if (session->dialed()) ++dialed;
    }
    status.connected = dialed == std::size(kClasses);
    if (status.connected) peer.last_error = absl::OkStatus();
    status.node = node;
    status.address = peer.address;
    status.incarnation = peer.incarnation;
    status.last_error = peer.last_error;
  }
  absl::MutexLock lock(&mu_);
  if (found == peers_.end()) {
    statuses_.erase(node);
  } else {
    statuses_[node] = std::move(status);
  }
}

// The dialer whose stream this is, or null.
Dialer* Hub::FindDialer(const StreamSession& stream) {
  if (!stream.dialed()) return nullptr;
  const auto found = peers_.find(stream.peer_node());
  if (found == peers_.end()) return nullptr;
  const auto dialer = found->second.dialers.find(stream.session_class());
  if (dialer == found->second.dialers.end()) return nullptr;
  return dialer->second->stream().get() == &stream ? dialer->second.get() : nullptr;
}

absl::Status Hub::ShuttingDown() const {
  return absl::UnavailableError(absl::StrCat("node ", options_.node, " is shutting down"));
}

}  // namespace mailrail
