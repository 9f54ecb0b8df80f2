#include "node/carrier/peers.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

// How much may be queued in a session before data waits in its lane: enough that the connection
// has work until the loop comes by again, little enough that a new message of a lane that had been
// quiet does not wait for long.
constexpr size_t kSessionHighMarkBytes = size_t{1} << 20;

Side SideOf(const Session& session) { return session.dialed() ? Side::kDialed : Side::kAccepted; }

}  // namespace

bool Peer::UpFor(uint64_t* incarnation) const {
  if (!up_) return false;
  if (*incarnation == 0) *incarnation = incarnation_;
  return *incarnation == incarnation_;
}

std::vector<std::shared_ptr<Session>> Peer::NotOf(uint64_t incarnation) const {
  std::vector<std::shared_ptr<Session>> former;
  for (const auto& side : slots_) {
    for (const Slot& its : side) {
      if (its.session == nullptr || its.session->peer_incarnation() == incarnation) continue;
      former.push_back(its.session);
    }
  }
  return former;
}

bool Peer::Opened(std::shared_ptr<Session> session) {
  const Side side = SideOf(*session);
  Slot& its = slot(side, session->session_class());
  its = Slot();
  its.session = std::move(session);
  if (side != Side::kDialed) return false;
  const Session* const other =
      Find(side, its.session->session_class() == proto::URGENT ? proto::BULK : proto::URGENT);
  if (other == nullptr || other->peer_incarnation() != its.session->peer_incarnation()) {
    return false;
  }
  incarnation_ = its.session->peer_incarnation();
  return std::exchange(up_, true) == false;
}

bool Peer::Ended(const Session* session) {
  if (!Has(*session)) return false;
  const Side side = SideOf(*session);
  slot(side, session->session_class()) = Slot();
  if (side != Side::kDialed || !up_) return false;
  up_ = false;
  for (Slot& other : slots_[static_cast<int>(Side::kDialed)]) {
    if (other.session == nullptr) continue;
    other.session->Close(absl::AbortedError(
        absl::StrCat("the other session with ", node_, " broke; both are dialed again")));
    other = Slot();
  }
  return true;
}

bool Peer::Has(const Session& session) const {
  return Find(SideOf(session), session.session_class()) == &session;
}

void Peer::Write(Side side, proto::SessionClass session_class, proto::Frame frame) {
  Slot& to = slot(side, session_class);
  if (to.session == nullptr) return;
  Touch();
  to.bytes += frame.ByteSizeLong();
  to.frames.push_back(std::move(frame));
}

bool Peer::HasRoom(proto::SessionClass session_class) {
  if (!up_) return false;
  Slot& to = slot(Side::kDialed, session_class);
  if (!to.queued.has_value()) {
    to.queued = to.session->queued_bytes();
    Touch();
  }
  return to.bytes + *to.queued < kSessionHighMarkBytes;
}

void Peer::Touch() {
  if (touched_peers_ != nullptr && !std::exchange(touched_, true)) touched_peers_->push_back(this);
}

void Peer::Flush() {
  touched_ = false;
  for (auto& side : slots_) {
    for (Slot& to : side) {
      to.queued.reset();
      if (to.frames.empty()) continue;
      to.session->Write(std::exchange(to.frames, {}));
      to.bytes = 0;
    }
  }
}

Peer* Peers::Get(const std::string& node) {
  std::unique_ptr<Peer>& peer = peers_[node];
  if (peer == nullptr) peer = std::make_unique<Peer>(node, &touched_);
  return peer.get();
}

void Peers::Flush() {
  for (Peer* const peer : touched_) peer->Flush();
  touched_.clear();
}

proto::StatusInfo ToStatusInfo(const absl::Status& status) {
  proto::StatusInfo info;
  info.set_code(status.raw_code());
  info.set_message(std::string(status.message()));
  return info;
}

absl::Status FromStatusInfo(const proto::StatusInfo& info) {
  if (info.code() == 0) return absl::OkStatus();
  // An absl::Status keeps a code that it does not know, and calls it kUnknown.
  return absl::Status(static_cast<absl::StatusCode>(info.code()), info.message());
}

}  // namespace mailrail
