#ifndef MAILRAIL_NODE_CARRIER_PROXIES_H_
#define MAILRAIL_NODE_CARRIER_PROXIES_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "core/mailbox/control_page.h"
#include "core/shm/futex.h"
#include "node/carrier/carrier.h"
#include "node/carrier/peers.h"
#include "proto/peer.pb.h"

namespace mailrail {

// What is kept in shared memory about the last delivery of a proxy, from before it is published,
// for a carrier that takes over. At the end of the page of the private mailbox's ControlPage.
// Written field by field in program order, of which a death loses nothing that was executed.
struct ProxyNote {
  static constexpr size_t kOffset = 4096 - 128;

  uint64_t lane;
  uint64_t sequence;
  uint64_t position;  // in the private lane; 0 while the rest is written
  uint64_t delivery;
  uint64_t priority;
};
static_assert(sizeof(ProxyNote) == 40 && ProxyNote::kOffset >= sizeof(ControlPage));

// The receivers on this node of mailboxes on others. Each has a private mailbox here, to which the
// carrier alone sends: what the home delivers is published in it, and is the receiver's when the
// receiver takes it from there; until then it can be taken back, by the same exchange of the cell's
// state, when the receiver does not want it any more. So exactly one of "taken" and "not taken" is
// true, and is what the home is told. One thread at a time. `events` outlives it.
class Proxies {
 public:
  // What became of a delivery.
  enum class Verdict {
    kTaken,
    kNotTaken,
    kReturned,  // it was seen, and not taken
    kRefused,   // it could never be taken
  };

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
  // The mailbox is gone.
  void TakeGone(Peer* peer, const Session& session, uint64_t key);

  // The lease of the last delivery of this proxy ends so long from now: tells the home.
  void Extend(uint64_t key, absl::Duration time);

  // Looks at what became of deliveries and at what is wanted; false when nothing was done.
  bool Look();

  // Announces that we sleep for room where a delivery has none. Look again before sleeping on the
  // words added.
  void Park(std::vector<FutexWord>* words);

 private:
  enum class Step {
    kNone,       // no delivery is here
    kWaiting,    // it has no room yet
    kPublished,  // it can be taken
    kDecided,    // the home was told what became of it, and may ask again
  };
  struct Entry {
    ReceiverProxy proxy;
    Peer* peer = nullptr;
    uint32_t told = 0;  // how many messages the home knows are wanted
    Step step = Step::kNone;
    proto::Delivery delivery;              // the last one; its body only while it is kWaiting
    uint64_t position = 0;                 // of it in the lane, once published
    Verdict verdict = Verdict::kNotTaken;  // when decided
    absl::Time due;                        // of kReturned
    int64_t came_ns = 0;                   // when the delivery came, by MonotonicTime

    uint32_t wanted() const {
      return reinterpret_cast<const BellWords*>(proxy.bell.data())->wanted.load();
    }
    int priority() const { return static_cast<int>(delivery.lease().priority()); }
    // Null when there is no memory for it.
    volatile ProxyNote* note() const {
      if (proxy.control.size() < ProxyNote::kOffset + sizeof(ProxyNote)) return nullptr;
      return reinterpret_cast<volatile ProxyNote*>(proxy.control.data() + ProxyNote::kOffset);
    }
  };

  Entry* Find(const Peer* peer, const Session& session, uint64_t key);
  // Notes that the delivery is about to be published; takes up what was noted before.
  static void WriteNote(Entry* entry);
  static void ReadNote(Entry* entry);
  // Publishes what is waiting, if there is room and it is wanted.
  void Publish(Entry* entry);
  // True when something was done.
  bool LookAt(Entry* entry);
  // Decides whether the published delivery was taken or given back, if the receiver has done so.
  void NoticeTaken(Entry* entry);
  // Takes the delivery back, unless the receiver has taken it, or (if it lives) is about to.
  void TakeBack(Entry* entry, bool receiver_is_gone);
  void Decide(Entry* entry, Verdict verdict);
  void SayOutcome(Entry* entry);
  // Tells the home what is wanted, if that is news.
  bool SayWant(Entry* entry);

  CarrierEvents* const events_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Entry>> entries_;
  // Frames about proxies that are gone, for a home that was not connected then.
  absl::flat_hash_map<const Peer*, std::vector<proto::Frame>> farewells_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_PROXIES_H_
