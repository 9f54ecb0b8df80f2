#ifndef MAILRAIL_NODE_CARRIER_INBOUND_H_
#define MAILRAIL_NODE_CARRIER_INBOUND_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/shm/futex.h"
#include "mailrail/process_id.h"
#include "node/carrier/carrier.h"
#include "node/carrier/lane_sink.h"
#include "node/carrier/peers.h"
#include "proto/peer.pb.h"

namespace mailrail {

// All lanes of other nodes to this one: answers LaneOpen, publishes what comes, acknowledges it,
// and closes lanes whose destination is gone. One thread at a time. `events` and `counters` outlive
// it.
//
// Methods that take what a peer says return an error when it makes no sense: close the session.
class Inbound {
 public:
  // `name_of`: as in Carrier::Options.
  Inbound(const LaneSink::Windows& windows, std::function<ProcessId(uint32_t)> name_of,
          CarrierEvents* events, Carrier::Counters* counters)
      : windows_(windows), name_of_(std::move(name_of)), events_(events), counters_(counters) {}

  void Add(InboundLane lane, Peer* peer);
  void Refuse(Peer* peer, uint64_t lane, const absl::Status& why, bool for_good);
  void Remove(Peer* peer, uint64_t lane);
  void RemoveAllOf(const Peer* peer);

  // A session that `peer` dialed has ended.
  void SessionEnded(const Peer* peer);

  // The caller sees to it that these come on a session that the peer dialed.
  void TakeLaneOpen(Peer* peer, const Session& session, const proto::LaneOpen& open);
  absl::Status TakeData(Peer* peer, const Session& session, proto::Data* data);
  void TakeLaneEnd(Peer* peer, const Session& session, const proto::LaneEnd& end);
  void TakeReceiptsSeen(Peer* peer, const Session& session, const proto::ReceiptsSeen& seen);

  // Publishes what has room, and acknowledges it, now or a little later; false when there was
  // nothing. `look_again`: tries all that is full, and looks whether destinations were closed.
  bool Publish(absl::Time now, bool look_again);

  // When something is to be acknowledged; InfiniteFuture when nothing is.
  absl::Time NextAck() const;

  // Whether something waits for room; and adds the words to sleep on for it.
  bool WaitsForRoom() const;
  void AddWords(std::vector<FutexWord>* words) const;

 private:
  using Key = std::pair<Peer*, uint64_t>;

  LaneSink* Find(Peer* peer, uint64_t incarnation, uint64_t lane);
  // Says from where the origin is to go on.
  void Answer(LaneSink* sink);
  void Activate(LaneSink* sink);
  // Takes the lane out; what waits in it is dropped.
  void Erase(const Key& key);
  // What is to be done for one active lane; false when it was erased.
  bool Serve(LaneSink* sink, absl::Time now, bool look_again, bool* busy);
  // The destination is closed.
  void Close(LaneSink* sink, const absl::Status& why);
  // Closes lanes whose destination is closed, and tells what is new of the others.
  void LookAtDestinations();
  // Tells the origin when the number of receivers is another than it knows.
  static void SayReceivers(LaneSink* sink);
  // Tells the origin what became of messages that it wants receipts for.
  void SayReceipts(LaneSink* sink);
  static void Say(Peer* peer, proto::LaneState state);
  static void SayError(Peer* peer, uint64_t lane, const absl::Status& why, bool for_good = false);

  const LaneSink::Windows windows_;
  const std::function<ProcessId(uint32_t)> name_of_;
  CarrierEvents* const events_;
  Carrier::Counters* const counters_;
  absl::flat_hash_map<Key, std::unique_ptr<LaneSink>> sinks_;
  std::vector<LaneSink*> active_;  // those that are not idle
  // Lanes that a peer has opened on its session and that the agent has not answered yet, with the
  // peer's incarnation.
  absl::flat_hash_map<Key, uint64_t> asked_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_INBOUND_H_
