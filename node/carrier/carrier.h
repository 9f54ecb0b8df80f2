#ifndef MAILRAIL_NODE_CARRIER_CARRIER_H_
#define MAILRAIL_NODE_CARRIER_CARRIER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/mailbox/mailbox_queue.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/shm/bell.h"
#include "core/shm/memory.h"
#include "mailrail/mailbox.h"
#include "node/peer/session.h"
#include "proto/peer.pb.h"

namespace mailrail {

// A lane of this node to a destination on another: the carrier is its one receiver.
struct OutboundLane {
  uint64_t id = 0;  // unique on this node
  std::string peer_node;
  proto::LaneOpen open;                // said on every new session; open.lane() == id
  std::shared_ptr<LinkMemory> memory;  // own: the agent's; peer: the sender's
  bool recover = false;                // an agent before this one carried it
  // The largest body that the destination takes. A longer one makes the lane corrupt: it might be
  // more than a session carries.
  uint64_t max_message_bytes = 0;
  // Whether the agent itself writes the lane, and so may say by a prefix who sent a message. On any
  // other lane such a prefix is forged, and makes the lane corrupt.
  bool of_agent = false;
  // The life of the peer that it was opened to; 0: of the first one that is met.
  uint64_t peer_incarnation = 0;
};

// A lane of another node to a destination on this one: the carrier is its one sender here.
struct InboundLane {
  std::string peer_node;
  uint64_t id = 0;                     // the origin's
  std::shared_ptr<OutgoingLane> lane;  // recovered already, if there is something to recover
  proto::LaneState state;  // what the origin is told besides what was accepted (process, spec)
  uint64_t peer_incarnation = 0;  // of the origin, as OnLaneOpen said; 0: of the first one met
};

// A receiver on another node of a mailbox of this one.
struct RemoteReceiver {
  uint64_t key = 0;  // the receiver's node's
  std::string peer_node;
  // Of the number that the agent gave this receiver. Its lanes are IncomingLane::by_agent() if
  // the agent itself writes them, and so may say by a prefix who sent a message.
  std::shared_ptr<MailboxQueue> queue;
  uint64_t mailbox = 0;    // unique on this node
  MailboxOptions options;  // the mailbox's
  bool leases = false;     // it acknowledges by hand: what is delivered is its own for lease_time
  // The mailbox's, mapped by the agent.
  Mapping control;                // ControlPage
  Mapping bell;                   // BellWords, read-write
  Mapping gate;                   // GateWord, read-write
  uint64_t peer_incarnation = 0;  // as above
  bool cut_off = false;           // it has lost its place already (OnReceiverCutOff)
};

// A receiver on this node of a mailbox of another: what is delivered to it goes through a private
// mailbox that the carrier alone sends to.
struct ReceiverProxy {
  uint64_t key = 0;                    // unique on this node
  std::string peer_node;               // the mailbox's home
  std::shared_ptr<OutgoingLane> lane;  // a cell lane; recovered already
  uint32_t number = 0;                 // the lane's sender's, which is no receiver's
  bool leases = false;                 // it acknowledges by hand, and may hold several
  Mapping bell;                        // BellWords of the private mailbox: `wanted`
  // The memory that begins with the private mailbox's ControlPage, kProxyControlBytes, read-write:
  // behind that the carrier keeps what one after it must know (ProxyNote). Without it, a receiver
  // may get again, marked, what it had received, if the agent dies before the home has heard of it.
  Mapping control;
  uint64_t peer_incarnation = 0;  // as above
};

// What the carrier tells the agent. Called from the carrier's thread or the transport's; must only
// queue and return.
class CarrierEvents {
 public:
  virtual ~CarrierEvents() = default;

  // Both sessions that we dialed are open, or no longer.
  virtual void OnPeerUp(const std::string& node, uint64_t incarnation,
                        const std::string& address) = 0;
  virtual void OnPeerDown(const std::string& node) = 0;
  virtual void OnPeerProblem(const std::string& node, absl::Status why) = 0;

  // The peer's answer about one of our lanes: OK once it is open; an error closes it for good (the
  // carrier carries it no more; its messages are where they are). Of a refusal that may pass, such
  // as kResourceExhausted, nothing is said: the lane is opened again soon.
  virtual void OnLaneState(uint64_t lane, absl::Status status, const proto::LaneState& state) = 0;
  // So many processes receive from the mailbox on another node that one of our lanes leads to.
  virtual void OnReceivers(uint64_t lane, uint32_t count) = 0;
  // What became of messages that one of our lanes has carried to a mailbox on this node; to be
  // answered by ReceiptsSeen, or it is said again.
  virtual void OnReceipts(const std::string& node, const proto::Receipts& receipts) = 0;
  // One of our lanes was finished (Finish): everything is acknowledged, and the peer was told.
  virtual void OnLaneFinished(uint64_t lane) = 0;
  // The memory of one of our lanes is not well-formed; it is carried no more.
  virtual void OnLaneCorrupt(uint64_t lane) = 0;

  // A peer opens a lane to this node, which is not known yet: answer with AddInbound or Refuse.
  virtual void OnLaneOpen(const std::string& node, uint64_t incarnation,
                          const proto::LaneOpen& open) = 0;
  // The origin will send no more on this lane; it was removed from the carrier.
  // `end_reason`: as of FinishOutbound.
  virtual void OnLaneEnd(const std::string& node, uint64_t lane, uint32_t end_reason) = 0;
  // The destination of a lane of a peer was found closed (the process died, the mailbox was
  // destroyed); the peer was told, and the lane was removed from the carrier.
  virtual void OnInboundClosed(const std::string& node, uint64_t lane, absl::Status why) = 0;

  virtual void OnRequest(const std::string& node, uint64_t incarnation,
                         const proto::Request& request) = 0;
  virtual void OnReply(const std::string& node, const proto::Reply& reply) = 0;
  // The session on which requests were sent is gone: what is unanswered will not be.
  virtual void OnRequestsLost(const std::string& node) = 0;

  // A remote receiver of a mailbox of this node is gone, or its mailbox is; `key` is of its node.
  // It may be one that was never added.
  virtual void OnReceiverGone(const std::string& node, uint64_t key) = 0;
  // The mailbox on that node is gone that a proxy stands for; `key` is of this node.
  virtual void OnProxyGone(const std::string& node, uint64_t key) = 0;
  // The node asks whether there is still such a proxy: if not, answer with RemoveProxy.
  virtual void OnProxyCheck(const std::string& node, uint64_t key) = 0;

  // Lanes of a mailbox have joined that were not handed to this remote receiver's queue yet: add it
  // again, with a queue that has them.
  virtual void OnReceiverBehind(const std::string& node, uint64_t key) = 0;

  // The node of this remote receiver was not reached for its mailbox's cutoff: what it had leased
  // is back, and its place is another's; and is reached again.
  virtual void OnReceiverCutOff(const std::string& node, uint64_t key) = 0;
  virtual void OnReceiverReached(const std::string& node, uint64_t key) = 0;

  // A message of this mailbox of this node was dropped, because no receiver of another node could
  // take it, or its lane was found not well-formed.
  virtual void OnMessageDropped(uint64_t mailbox) = 0;
  // This lane of a peer to a mailbox has messages that may expire, are for later, or are to be
  // buried.
  virtual void OnInboundLook(const std::string& node, uint64_t lane) = 0;
  // A receiver of another node has given a message of this mailbox back for later, or perhaps for
  // the last time.
  virtual void OnMessageReturned(uint64_t mailbox) = 0;
};

// Moves messages between this host's shared memory and the peers' sessions: in the thread that has
// read them, if nobody moves any just then, else in a thread of its own, which sleeps while there
// is nothing to move. What to move is decided by the agent: it adds and removes lanes and receivers
// by calls that are queued and carried out in order.
//
// From a lane to the wire: records are read and framed, up to the destination's window of bytes
// per class; their room goes back to the sender when the peer has acknowledged them, that is, when
// they stand in a lane of shared memory over there. After a reconnect the peer says what it has
// accepted, and the rest is sent again; so nothing is lost or doubled, whichever of the agents or
// the network failed.
//
// A peer that comes back in another incarnation has lost what it had accepted. What was opened to
// (or by) its former life stands still, and nothing is resent to the new one, until the agent,
// which hears of it by OnPeerUp, OnLaneOpen and OnRequest, has called ForgetPeer.
//
// What an agent before this one had (`recover`) is added before the transport is started: a peer
// that speaks of what is not known here is told that it is gone.
//
// Thread-safe.
class Carrier : public SessionHandler {
 public:
  struct Options {
    std::string node;
    // The bell of all outbound lanes: BellWords (read-write) and GateWord.
    Mapping bell;
    Mapping gate;
    // How many bytes one lane may have on its way unacknowledged.
    uint64_t bulk_window_bytes = uint64_t{1} << 20;
    uint64_t urgent_window_bytes = uint64_t{256} << 10;
    // Who has, or had, a number that marks messages as received; thread-safe. Without it nobody.
    std::function<ProcessId(uint32_t)> name_of;
    std::function<void(absl::string_view)> log;
  };

  // `events` outlives the carrier.
  static std::unique_ptr<Carrier> Start(Options options, CarrierEvents* events);
  ~Carrier() override = default;

  // Ends the thread. No call of the events comes after this. The transport must be shut down first.
  virtual void Stop() = 0;

  virtual void AddOutbound(OutboundLane lane) = 0;
  // The sender is gone: carries the rest, then tells the peer and OnLaneFinished.
  // `end_reason`: why the sender is not there any more, for the destination's node; 0 if it may be.
  virtual void FinishOutbound(uint64_t lane, uint32_t end_reason) = 0;
  virtual void RemoveOutbound(uint64_t lane) = 0;

  // One that is there already, and not closed, stays as it is, and the peer is answered again.
  virtual void AddInbound(InboundLane lane) = 0;
  // `for_good`: whatever its code, it stands; else the lane may be opened again after some.
  virtual void RefuseLane(const std::string& node, uint64_t lane, absl::Status why,
                          bool for_good) = 0;
  virtual void RemoveInbound(const std::string& node, uint64_t lane) = 0;

  // A key that is there already gets the new queue; all else stays as it was.
  virtual void AddReceiver(RemoteReceiver receiver) = 0;
  // What it holds leased goes back to the mailbox. `tell`: the mailbox is destroyed, say so.
  virtual void RemoveReceiver(const std::string& node, uint64_t key, bool tell) = 0;

  virtual void AddProxy(ReceiverProxy proxy) = 0;
  // The receiver is gone: what it had not taken is reported as not taken, and the home is told,
  // also of one that was never added.
  virtual void RemoveProxy(const std::string& node, uint64_t key) = 0;
  // The lease of what stands there in this proxy's private lane ends so long from now: tells the
  // home, if it is connected.
  virtual void ExtendLease(uint64_t key, int priority, uint64_t position, absl::Duration time) = 0;

  // A destination was closed, lanes have joined the queue of a remote receiver, or it may receive
  // now: looks at all.
  virtual void Poke() = 0;

  // Everything about this peer: its lanes, receivers and proxies, because it started anew.
  virtual void ForgetPeer(const std::string& node) = 0;

  // Sends a Request or Reply on the urgent session that we dialed (Request, and ReceiptsSeen), or
  // that the peer dialed (Reply). False when there is none.
  virtual bool Send(const std::string& node, proto::Frame frame) = 0;

  // Messages moved.
  struct Counters {
    uint64_t sent = 0, received = 0, resent = 0;
  };
  virtual Counters counters() const = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_CARRIER_H_
