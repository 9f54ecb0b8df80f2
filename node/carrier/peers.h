#ifndef MAILRAIL_NODE_CARRIER_PEERS_H_
#define MAILRAIL_NODE_CARRIER_PEERS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "node/peer/session.h"
#include "proto/peer.pb.h"

namespace mailrail {

// Who dialed a session: we, or the peer.
enum class Side { kDialed, kAccepted };

// The sessions with one peer: two that we dialed and two that it dialed, and what is to be written
// to them at the end of this turn of the loop. It outlives whatever is carried to or from the peer.
// One thread at a time.
//
// The two that we dialed are a pair: when one breaks the other is closed too. So one exchange of
// LaneOpen and LaneState, on the bulk session, says for all priorities of a lane where to go on;
// what the other session had on its way is sent again, and known to the peer by its number.
class Peer {
 public:
  // `touched`, if any, gets this peer when there is something to flush; it outlives it.
  explicit Peer(std::string node, std::vector<Peer*>* touched = nullptr)
      : node_(std::move(node)), touched_peers_(touched) {}

  const std::string& node() const { return node_; }

  // Whether both sessions that we dialed are open, and how often they were until now.
  bool up() const { return up_; }
  // Of the pair that is open.
  uint64_t incarnation() const { return incarnation_; }
  // Whether the pair is open and leads to this incarnation; a 0 is set to it.
  bool UpFor(uint64_t* incarnation) const;

  // The sessions of its other lives.
  std::vector<std::shared_ptr<Session>> NotOf(uint64_t incarnation) const;
  // A session was opened; true when it completes the pair.
  bool Opened(std::shared_ptr<Session> session);
  // A session has ended or is closed by us; true when it breaks the pair. The other one is closed.
  bool Ended(const Session* session);
  // Whether it is one of those that count: opened, and not ended.
  bool Has(const Session& session) const;
  // That session, or null.
  const Session* Find(Side side, proto::SessionClass session_class) const {
    return slot(side, session_class).session.get();
  }

  // Writes a frame at the end of this turn; drops it when there is no such session.
  void Write(Side side, proto::SessionClass session_class, proto::Frame frame);
  // Whether data may be written to that session of the pair. When not, OnWritable follows. How much
  // is queued in the session is found out once in a turn.
  bool HasRoom(proto::SessionClass session_class);
  // Writes what was left by Write: the end of a turn.
  void Flush();

 private:
  struct Slot {
    std::shared_ptr<Session> session;
    std::vector<proto::Frame> frames;
    size_t bytes = 0;               // of `frames`
    absl::optional<size_t> queued;  // in the session, once it was found out in this turn
  };

  Slot& slot(Side side, proto::SessionClass session_class) {
    return slots_[static_cast<int>(side)][session_class == proto::URGENT];
  }
  const Slot& slot(Side side, proto::SessionClass session_class) const {
    return slots_[static_cast<int>(side)][session_class == proto::URGENT];
  }

  void Touch();

  const std::string node_;
  std::vector<Peer*>* const touched_peers_;
  bool touched_ = false;
  Slot slots_[2][2];
  bool up_ = false;
  uint64_t incarnation_ = 0;
};

// All peers that were ever heard of; their number is that of the cluster's nodes. One thread at a
// time.
class Peers {
 public:
  // The peer of that name, which lives as long as this.
  Peer* Get(const std::string& node);

  // Ends the turn of all.
  void Flush();

 private:
  std::vector<Peer*> touched_;
  absl::flat_hash_map<std::string, std::unique_ptr<Peer>> peers_;
};

// A status as it travels, and back. A code that no absl::Status has becomes kUnknown.
proto::StatusInfo ToStatusInfo(const absl::Status& status);
absl::Status FromStatusInfo(const proto::StatusInfo& info);

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_PEERS_H_
