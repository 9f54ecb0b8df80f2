#ifndef MAILRAIL_NODE_CARRIER_PROXIES_H_
#define MAILRAIL_NODE_CARRIER_PROXIES_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "core/shm/bell.h"
#include "core/shm/futex.h"
#include "node/carrier/carrier.h"
#include "node/carrier/peers.h"
#include "node/carrier/proxy_book.h"
#include "proto/peer.pb.h"

namespace mailrail {

// The receivers on this node of mailboxes on others. Each has a private mailbox here, to which the
// carrier alone sends: what the home delivers is published in it, and is the receiver's when the
// receiver claims it there; until then it can be taken back, by the same exchange of the cell's
// state, when the receiver does not want it any more. So exactly one of "taken" and "not taken" is
// true, and is what the home is told.
//
// Of each receiver one delivery at a time may be there to be claimed. One that acknowledges by hand
// may have claimed others before: the home is told that it has them when it wants the next one, and
// what becomes of each when it settles it. One thread at a time. `events` outlives it.
class Proxies {
 public:
  explicit Proxies(CarrierEvents* events) : events_(events) {}

  void Add(ReceiverProxy proxy, Peer* peer);
  // The receiver is gone, if it was here at all.
  void Remove(Peer* peer, uint64_t key);
  void RemoveAllOf(const Peer* peer);

  // The pair of sessions that we dialed was completed.
  void PeerUp(Peer* peer);

  // What comes on a session that the home dialed. One that makes no sense is refused: what is in it
  // is the sender's doing, and not the home's.
  void TakeDelivery(Peer* peer, const Session& session, proto::Delivery* delivery);
  // The home may not know any more what is wanted.
  void TakeCheck(Peer* peer, const Session& session, uint64_t key);
  // The mailbox is gone.
  void TakeGone(Peer* peer, const Session& session, uint64_t key);

  // The lease of what stands there in the private mailbox ends so long from now: tells the home.
  void Extend(uint64_t key, int priority, uint64_t position, absl::Duration time);

  // Looks at what became of deliveries and at what is wanted; false when nothing was done. `all`:
  // also at those that receivers hold, who ring when they settle one.
  bool Look(bool all);

  // Announces that we sleep for room where a delivery has none. Look again before sleeping on the
  // words added.
  void Park(std::vector<FutexWord>* words);

 private:
  using Step = ProxyDelivery::Step;
  using Verdict = ProxyDelivery::Verdict;

  struct Entry {
    Entry(ReceiverProxy receiver, Peer* home)
        : proxy(std::move(receiver)),
          peer(home),
          book(proxy.control, proxy.leases ? kMostFarLeases : 1) {}

    ReceiverProxy proxy;
    Peer* const peer;
    ProxyBook book;
    ProxyDelivery* current = nullptr;  // the one that is not claimed yet
    proto::Delivery arrived;           // the same as it came, while it is kWaiting
    int64_t came_ns = 0;               // when it did, by MonotonicTime
    bool told = false;                 // the home knows that a message is wanted
    // There was no room for the last one: nothing is wanted before one of those held is settled.
    bool short_of_room = false;
    uint32_t answered = 0;  // with leases: the ask by which the receiver has got a message

    // Not 0 while the receiver waits for a message.
    uint32_t ask() const {
      return reinterpret_cast<const BellWords*>(proxy.bell.data())->wanted.load();
    }
    // Whether the home is to deliver. Who acknowledges by hand wants another one only when it has
    // asked anew: what is chosen for a receive is to be chosen after that was called.
    bool Wants(uint32_t asked) const {
      return asked != 0 && asked != answered && !short_of_room && !book.full();
    }
  };

  Entry* Find(const Peer* peer, const Session& session, uint64_t key);
  // Publishes what is waiting, if there is room and it is wanted.
  void Publish(Entry* entry);
  // True when something was done.
  bool LookAt(Entry* entry, bool all);
  bool LookAtHeld(Entry* entry);
  // Finds out whether what is published was claimed, and settled: then it is decided, and true.
  bool NoticeClaimed(Entry* entry, ProxyDelivery* delivery);
  // Takes the delivery back, unless the receiver has claimed it, and (if it lives) may settle it.
  void TakeBack(Entry* entry, ProxyDelivery* delivery, bool receiver_is_gone);
  void TakeBackAll(Entry* entry, bool receiver_is_gone);
  void Decide(Entry* entry, ProxyDelivery* delivery, Verdict verdict,
              absl::Time due = absl::InfinitePast());
  void SayOutcome(Entry* entry, const ProxyDelivery& delivery);
  // Tells the home what is wanted by this ask, if that is news.
  bool SayWant(Entry* entry, uint32_t ask);

  CarrierEvents* const events_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Entry>> entries_;
  // Frames about proxies that are gone, for a home that was not connected then.
  absl::flat_hash_map<const Peer*, std::vector<proto::Frame>> farewells_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_PROXIES_H_
