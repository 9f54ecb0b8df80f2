#ifndef MAILRAIL_NODE_CARRIER_OUTBOUND_H_
#define MAILRAIL_NODE_CARRIER_OUTBOUND_H_

#include <cstdint>
#include <memory>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "node/carrier/carrier.h"
#include "node/carrier/lane_source.h"
#include "node/carrier/peers.h"
#include "proto/peer.pb.h"

namespace mailrail {

// All lanes of this node to others: opens them on each new pair of sessions, sends what the windows
// and the sessions have room for, each lane in turn, and gives room back to the senders as it is
// acknowledged. One thread at a time. `events` and `counters` outlive it.
//
// Methods that take what a peer says return an error when it makes no sense: close the session.
class Outbound {
 public:
  Outbound(CarrierEvents* events, Carrier::Counters* counters)
      : events_(events), counters_(counters) {}

  void Add(OutboundLane lane, Peer* peer);
  void Finish(uint64_t lane, uint32_t end_reason);
  void Remove(uint64_t lane);
  void RemoveAllOf(const Peer* peer);

  // The pair of sessions that we dialed was completed, or broke.
  void PeerUp(Peer* peer);
  void PeerDown(const Peer* peer);

  absl::Status TakeLaneState(const Peer* peer, const proto::LaneState& state);
  void TakeReceipts(const Peer* peer, const proto::Receipts& receipts);
  void TakeReceivers(const Peer* peer, const proto::Receivers& receivers);
  absl::Status TakeAck(const Peer* peer, const proto::Ack& ack);

  // Writes up to one frame of each class of each lane; false when there was nothing to write.
  bool Send(absl::Time now);

  // Tells the senders of all room that came back. Before a park.
  void Flush();

 private:
  struct Lane {
    Lane(OutboundLane lane, Peer* peer, Carrier::Counters* counters)
        : source(std::move(lane), peer, counters) {}
    LaneSource source;
    bool finishing = false;
    bool told = false;     // OnLaneState(OK) was said
    bool corrupt = false;  // to be removed
    // When to open it once more, which the peer could not do when it was asked.
    absl::Time open_at = absl::InfiniteFuture();
  };
  using Lanes = absl::btree_map<uint64_t, std::unique_ptr<Lane>>;

  Lane* Find(const Peer* peer, uint64_t lane);
  // Says LaneOpen if the peer is there.
  void Open(LaneSource* source);
  // Tells the peer that no more will come.
  void End(LaneSource* source);
  bool SendOf(Lane* lane);
  void Erase(uint64_t lane);

  CarrierEvents* const events_;
  Carrier::Counters* const counters_;
  Lanes lanes_;
  uint64_t next_ = 0;  // the lane that is first in the next turn
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_OUTBOUND_H_
