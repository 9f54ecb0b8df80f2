#ifndef MAILRAIL_NODE_CARRIER_LANE_SOURCE_H_
#define MAILRAIL_NODE_CARRIER_LANE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <deque>

#include "absl/status/status.h"
#include "core/lane/ring_reader.h"
#include "node/carrier/carrier.h"
#include "node/carrier/peers.h"
#include "proto/peer.pb.h"

namespace mailrail {

// One lane of this node to another: reads it as its one receiver, and keeps account of what the
// destination has acknowledged, what is on its way, and what is next. What is not acknowledged
// keeps its room in the lane, and is sent again from there. One thread at a time.
class LaneSource {
 public:
  enum class State {
    kWaiting,  // for a pair of sessions with the peer
    kOpening,  // LaneOpen was said on it
    kOpen,     // LaneState has come, data may go
    kEnding,   // LaneEnd was said
  };
  enum class Next {
    kNothing,
    kFrame,
    kWindowFull,  // there is more, which waits for acknowledgements
    kCorrupt,
  };

  // `counters` outlive it, and count what is sent and resent.
  LaneSource(OutboundLane lane, Peer* peer, Carrier::Counters* counters);

  uint64_t id() const { return lane_.id; }
  Peer* peer() const { return peer_; }
  State state() const { return state_; }
  void set_state(State state) { state_ = state; }
  // What LaneEnd says of the sender.
  uint32_t end_reason() const { return end_reason_; }
  void set_end_reason(uint32_t end_reason) { end_reason_ = end_reason; }
  const proto::LaneOpen& open_frame() const { return lane_.open; }
  // Whether the pair of sessions that is open leads to the life of the peer that this lane is for.
  bool PeerIsUp() { return peer_->UpFor(&lane_.peer_incarnation); }
  const OutboundLane& lane() const { return lane_; }

  // There is a new pair of sessions, or none: nothing is on its way.
  void Rewind();

  // What the destination has accepted so far, and its windows: the rest will be sent.
  //   kDataLoss         it has not what it had acknowledged before
  //   kInvalidArgument  it says that it has what was never sent
  absl::Status Resume(const proto::LaneState& state);

  // What the destination has accepted since. kInvalidArgument as above.
  absl::Status Acknowledge(const google::protobuf::RepeatedPtrField<proto::Accepted>& accepted);

  // The next frame of data of this class, of the best priority that has any, as far as the window
  // goes. kCorrupt when the lane is not well-formed, or has what its sender may not send. What does
  // not fit is not overtaken by what is smaller and less urgent, or it might never go.
  Next NextFrame(proto::SessionClass session_class, proto::Data* data);

  // Whether all that was sent is acknowledged, and nothing more is there.
  bool Drained();

  // Tells the sender that its lane is not well-formed, and will not be read any more.
  void Refuse() { reader_.Refuse(); }

  // Tells the sender of all room that it got back. Before a park.
  void Flush() { reader_.Flush(); }

 private:
  struct Queue {
    std::deque<Record> held;    // read and not acknowledged
    size_t on_way = 0;          // the first ones of these that were sent on this pair of sessions
    size_t sent_before = 0;     // the first ones that were sent on an earlier one
    uint64_t acknowledged = 0;  // the number of the last one that was
  };
  struct Flow {
    uint64_t window_bytes = 0;
    uint64_t on_way_bytes = 0;
  };

  static int FlowOf(int priority) { return priority >= kUrgentPriority; }
  bool Fits(const Flow& flow, size_t bytes) const {
    return flow.on_way_bytes == 0 || flow.on_way_bytes + bytes <= flow.window_bytes;
  }
  // Lets go of the first `count` of what is held, and gives the room back to the sender.
  void Release(int priority, uint64_t count);
  // Reads over `count` records that a carrier before us had sent; false when there are fewer.
  bool Skip(int priority, uint64_t count);
  Next Fill(int priority, proto::Data* data);
  // The next record of the lane. kCorrupt, too, when it is none that may be carried.
  Look Peek(int priority, Record* record);
  Next Pack(int priority, size_t begin, size_t bytes, proto::Data* data);

  OutboundLane lane_;
  Peer* const peer_;
  Carrier::Counters* const counters_;
  RingReader reader_;
  State state_ = State::kWaiting;
  uint32_t end_reason_ = 0;
  Queue queues_[kPriorityCount];
  Flow flows_[2];  // bulk, urgent
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_LANE_SOURCE_H_
