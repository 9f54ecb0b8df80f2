#ifndef MAILRAIL_NODE_AGENT_LINKS_H_
#define MAILRAIL_NODE_AGENT_LINKS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/mailbox/outgoing_lane.h"
#include "node/agent/notices.h"
#include "node/agent/registry.h"
#include "node/carrier/carrier.h"
#include "proto/agent.pb.h"

namespace mailrail {

// What who asks for the link of a pair wants of it: as control::LinkWish.
enum class LinkWish { kTwoWay, kOneWay, kAsItIs };

// The links of this node, from their making to their end: direct channels between two processes,
// and the ways to processes and mailboxes of other nodes.
//
// A link between two processes of this node ends with either. Of one with a remote end b each
// direction ends by itself; `outbound` is what end a sends, `inbound` what b sends:
//
//   what happens                        outbound                     inbound
//   end a is gone                       finishes                     ends
//   all was carried                     done                         -
//   the peer refuses our lane (b is     closed, the rest is dropped  -
//     gone), or a's memory is broken
//   a lets go of its way to mailbox b   closed and finishes          -
//   a refuses b's lane as broken        closed and finishes          ends
//   b has opened another lane to a      closed and finishes          -
//   the peer ends its lane (b is gone)  closed, the rest is dropped  ends
//   the peer has started anew           closed, the rest is dropped  ends
//
// The link goes when neither is left.
//
// A link may be one end's alone (Link::direction), which is that of the process that has asked for
// it so, until it asks for a two-way one. On this node the agent refuses the other end, and the
// first end's library takes what is written there for nothing. Between nodes the agent of the first
// refuses the other's lane, whatever is said there; the agent of the other opens none by itself,
// and asks when its process wants to send. When two agents meet that have made the link of a pair
// one-way, each for its own process, that of the lesser id stays.
//
// "Closed" is told to a's senders by the far destination's control page; Remove is the only place
// where a link goes, here, in the carrier and in the registry. A link whose outbound is closed or
// finishes is not the pair's any more: who asks for one gets a new one, with new memory. Messages
// that are dropped are counted and logged.
//
// One thread at a time: the loop's.
class Links {
 public:
  struct Options {
    Notify notify;
    std::function<void(absl::string_view)> log;
    // A link has gone: whoever waits for it to open waits in vain.
    std::function<void(uint64_t link, const absl::Status& why)> ended;
    // For what the agent writes itself; may be null.
    std::shared_ptr<Budget> budget;
  };

  // All outlive it. `carrier_bell` is the bell of all lanes that the carrier reads.
  Links(Options options, Registry* registry, const Destination* carrier_bell)
      : options_(std::move(options)), registry_(registry), carrier_bell_(carrier_bell) {}

  void set_carrier(Carrier* carrier) { carrier_ = carrier; }

  // The link of a pair of this node, made on first use, as `a` wishes. kPermissionDenied when it is
  // b's alone; kFailedPrecondition when it is both's and is to be one's; kInvalidArgument when that
  // one is both.
  absl::StatusOr<Link*> Between(LocalProcess* a, LocalProcess* b,
                                LinkWish wish = LinkWish::kTwoWay);
  // To a remote end; the lane is handed to the carrier, which opens it there; errors as above. When
  // it is b's alone and is to be both's, the lane is opened now, or refused, and only then is it
  // known what it is (OutboundOpened). kAborted for a new one once this node stops.
  absl::StatusOr<Link*> ToRemote(const Endpoint& a, const Endpoint& b,
                                 const MailboxOptions& options, LinkWish wish = LinkWish::kTwoWay);
  // The peer has opened our lane.
  void OutboundOpened(uint64_t id);
  // The descriptors for end a of a link with a remote end b.
  absl::StatusOr<std::vector<Fd>> GrantFar(const Link& link, control::LinkGrant* grant);

  // The agent's own lane to a process of this node, or on a link whose end a the agent is.
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AgentLane(LocalProcess* process);
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AgentLane(const Link& link);

  // A process of another node opens its direction of its link with `target`: the lane that the
  // carrier writes for it. `one_way`: it wants the link for itself. `options`: what the link takes.
  // kFailedPrecondition when a later lane of the pair is open, kPermissionDenied when the link is
  // the target's alone.
  absl::StatusOr<std::shared_ptr<OutgoingLane>> AcceptLane(LocalProcess* target,
                                                           const ProcessId& sender, uint64_t lane,
                                                           bool one_way, MailboxOptions* options);

  // What ends, as above. Nothing happens for a link that is not there.
  // Returns how many messages the process had not received.
  uint64_t EndProcess(const LocalProcess& process, EndReason end);
  void EndOutbound(uint64_t id, CloseReason reason);
  // The process sends no more on its way to a mailbox.
  void LetGo(const LocalProcess& process, uint64_t id);
  // `end`: why its sender is not there any more. False when no link has this inbound lane.
  bool EndInbound(const std::string& node, uint64_t lane, EndReason end);
  // The carrier found that nothing can be put into the inbound lane any more.
  void InboundRefused(const std::string& node, uint64_t lane);
  void OutboundDone(uint64_t id);
  void ForgetNode(const std::string& node);

  // Before an orderly stop: nothing more is accepted for other nodes, on no link that is there or
  // is made from now on; what was is carried on.
  void CloseOutbound(CloseReason reason);
  // Whether nothing that was accepted here is still on its way to another node.
  bool AllCarried() const;
  // What was not, in an orderly stop that did not have the time.
  void LogUncarried();

  // After a restart: hands all to the carrier, and ends what has ended.
  void Resume();
  // Tells every process of its links again; a notice with a new version is to follow.
  void NotifyAll();

  void Describe(const Link& link, control::LinkRow* row) const;

 private:
  absl::StatusOr<Link*> AddRemote(const Endpoint& a, const Endpoint& b,
                                  const MailboxOptions& options,
                                  LinkDirection direction = LinkDirection::kBoth);
  // Whether the link is as end a (or b) wishes, or may become so.
  absl::Status CheckWish(const Link& link, bool end_a, LinkWish wish) const;
  // Both ends may send from now on, and are told.
  void Widen(Link* link);
  void DescribeFar(const Link& link, control::LinkGrant* grant) const;
  // The descriptors for one end, which is here. kNotFound when the other is gone.
  absl::StatusOr<std::vector<Fd>> FdsOf(const Link& link, bool end_a);
  // The same for end a of a link with a remote end b.
  absl::StatusOr<std::vector<Fd>> FarFds(const Link& link);
  // `again`: after a restart; it says nothing of what else was joined, so it is no new version.
  void NotifyLink(const Link& link, bool end_a, bool again = false);
  void StartOutbound(Link* link, bool recover);
  // Counts what end a has sent and b will not get.
  void CountDropped(const Link& link);
  // Whether end a lives and what b sends may still come.
  bool StillReceives(const Link& link) const;
  // What was accepted is carried on and nothing more is accepted; then outbound is done.
  void Finish(Link* link, CloseReason reason);
  // `gone`: the number of a process that is not to be told; the others are told why their peer is
  // not there any more.
  void Remove(Link* link, CloseReason reason, EndReason end, uint32_t gone = 0,
              const absl::Status& why = absl::UnavailableError("the link has ended"));
  void TellEnds(const Link& link, EndReason end, uint32_t gone);

  const Options options_;
  Registry* const registry_;
  const Destination* const carrier_bell_;
  Carrier* carrier_ = nullptr;
  CloseReason outbound_closed_ = CloseReason::kOpen;
  absl::flat_hash_map<uint64_t, std::shared_ptr<OutgoingLane>> agent_lanes_;  // by link
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_LINKS_H_
