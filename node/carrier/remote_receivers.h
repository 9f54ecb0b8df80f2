#ifndef MAILRAIL_NODE_CARRIER_REMOTE_RECEIVERS_H_
#define MAILRAIL_NODE_CARRIER_REMOTE_RECEIVERS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "core/shm/bell.h"
#include "core/shm/futex.h"
#include "mailrail/limits.h"
#include "node/carrier/carrier.h"
#include "node/carrier/peers.h"
#include "proto/peer.pb.h"

namespace mailrail {

// The receivers on other nodes of this node's mailboxes. When one wants a message and there is one,
// it is leased to that receiver and sent; what became of it is said by the receiver's node, for
// each delivery by its number. Where the receiver acknowledges by hand, up to kMostFarLeases of
// them are out; else one is. Of at most one it is open whether the receiver has it: the next one
// is sent when a Want has said that it is held, or an Outcome what became of it, which ends the
// Want that it answered. A delivery that is out when the sessions break is sent again on the next
// ones, and known over there by its number: an Outcome, too, may be said twice, and must not be
// taken for that of another delivery.
//
// A delivery of which nothing is heard for too long is given up: the message goes back, one attempt
// more, and an Outcome that comes later is not heard. "Too long" is the mailbox's lease_time where
// the receiver acknowledges by hand, which it may ask to be changed, and else its cutoff. Unless it
// was held, nothing more is delivered to that receiver until it says again what it wants. A
// receiver whose node is not reached for the cutoff is cut off: what it has goes back, and the
// agent gives its place to others until it is reached again. One thread at a time. `events` outlive
// it.
//
// The caller sees to it that what it takes from a peer came on a session that the peer dialed.
class RemoteReceivers {
 public:
  using Log = std::function<void(absl::string_view)>;

  struct Options {
    Log log;
    uint64_t first_delivery;  // larger than the number of any delivery before
  };

  RemoteReceivers(Options options, CarrierEvents* events)
      : options_(std::move(options)), events_(events), next_delivery_(options_.first_delivery) {}

  void Add(RemoteReceiver receiver, Peer* peer);
  // What is leased goes back. `tell`: says ReceiverGone.
  void Remove(Peer* peer, uint64_t key, bool tell);
  void RemoveAllOf(Peer* peer);

  // The pair of sessions that we dialed was completed.
  void PeerUp(Peer* peer);
  // One of them has ended.
  void PeerDown(const Peer* peer);
  // A session that the peer dialed has ended: what it wants it will say again.
  void SessionEnded(const Peer* peer);

  void TakeWant(Peer* peer, const Session& session, const proto::Want& want);
  void TakeOutcome(Peer* peer, const Session& session, const proto::Outcome& outcome);
  void TakeExtend(Peer* peer, const Session& session, const proto::Extend& extend);
  // The receiver is gone.
  void TakeGone(Peer* peer, const Session& session, uint64_t key);

  // Leases and sends what is wanted; false when there was nothing. `look_again`: takes over, too,
  // which lanes joined and ended at receivers that want nothing.
  bool Deliver(absl::Time now, bool look_again);

  // Announces, at each mailbox of which something is wanted, that we sleep. Look again before
  // sleeping on the words added.
  void Park(std::vector<FutexWord>* words);

 private:
  using Key = std::pair<Peer*, uint64_t>;
  // A delivery that is out.
  struct Out {
    Lease lease;
    uint64_t delivery = 0;   // its number
    absl::Time ends;         // when it is given up
    bool again = false;      // it was out before: on other sessions, or under another number
    bool recovered = false;  // a carrier before us has leased it, and sent it under another number
    bool held = false;       // the receiver has it, as its node has said
  };
  struct Entry {
    RemoteReceiver receiver;
    Peer* peer = nullptr;
    Parker parker;
    bool wanted = false;
    std::vector<Out> outs;  // in the order of their numbers
    // Since when its node is not reached.
    absl::Time unreached = absl::InfiniteFuture();
    // queue->version() when the agent was last told that it is behind.
    absl::optional<uint32_t> told_behind;

    const ControlPage& control() const {
      return *reinterpret_cast<const ControlPage*>(receiver.control.data());
    }
    GateWord* gate() const { return reinterpret_cast<GateWord*>(receiver.gate.data()); }
    bool MayTake() const { return receiver.queue->MayTake(control()); }
    size_t most() const { return receiver.leases ? kMostFarLeases : 1; }
    // Whether it is open of some delivery where it is.
    bool in_doubt() const {
      return std::any_of(outs.begin(), outs.end(), [](const Out& out) { return !out.held; });
    }
    bool waits() {
      return wanted && outs.size() < most() && !in_doubt() && !receiver.cut_off &&
             peer->UpFor(&receiver.peer_incarnation);
    }
  };

  using Place = std::vector<Out>::iterator;

  Entry* Find(Peer* peer, const Session& session, uint64_t key);
  // What is out under this number, or the end.
  static Place FindOut(Entry* entry, uint64_t delivery);
  // What an outcome is of, or the end.
  static Place FindOut(Entry* entry, const proto::Outcome& outcome);
  // True when something was done.
  bool Look(Entry* entry, absl::Time now, bool look_again, std::vector<Key>* gone);
  // Whether its node was not reached for too long, just now: then it is cut off.
  bool CutOff(Entry* entry, absl::Time now);
  // Puts back what nothing was heard of in time; whether there was any.
  bool GiveUp(Entry* entry, absl::Time now);
  // Leases what is wanted, and has it sent.
  bool TakeNext(Entry* entry, bool closed, std::vector<Key>* gone);
  // Has `lease` sent to the receiver.
  void Start(Entry* entry, Lease lease, bool recovered);
  // Sends it. False, and it is dropped but for its place in `outs`, when no receiver could take it.
  bool Send(Entry* entry, const Out& out);
  // The same when the receiver's node has said already that the receiver has it.
  static void SendName(Entry* entry, const Out& out);
  void Drop(Entry* entry, const Out& out, absl::string_view why);
  // Of what is done with already.
  void CountDropped(Entry* entry, const Out& out, absl::string_view why);
  // Puts what is leased back in its place, and wakes who else may want it.
  void PutBack(Entry* entry, const Out& out, MailboxQueue::Outcome outcome);
  void PutBackLater(Entry* entry, const Out& out, absl::Duration delay);
  void PutBackAll(Entry* entry);
  static void SayGone(Peer* peer, uint64_t key);
  // If its node is reached: that is news.
  void Reached(Entry* entry);
  // Asks whether there is still such a receiver.
  static void SayCheck(Entry* entry);

  const Options options_;
  CarrierEvents* const events_;
  uint64_t next_delivery_;
  uint64_t dropped_ = 0;
  absl::flat_hash_set<uint64_t> parked_;  // mailboxes; Park's
  absl::flat_hash_map<Key, std::unique_ptr<Entry>> entries_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_REMOTE_RECEIVERS_H_
