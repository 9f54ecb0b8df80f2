#include "node/agent/links.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {
namespace {

using internal::ToProto;

absl::StatusOr<std::vector<Fd>> MemoryGrant(const Fd& own, const Fd& peer,
                                            absl::StatusOr<std::vector<Fd>> destination) {
  if (!destination.ok()) return destination.status();
  std::vector<Fd> fds;
  fds.push_back(own.Duplicate());
  absl::StatusOr<Fd> readable = OpenReadOnly(peer);
  if (!readable.ok()) return readable.status();
  fds.push_back(*std::move(readable));
  for (Fd& fd : *destination) fds.push_back(std::move(fd));
  return AllOpen(std::move(fds));
}

control::LinkDirection DirectionOf(const Link& link, bool end_a) {
  if (link.direction == LinkDirection::kBoth) return control::BOTH_WAYS;
  return (link.direction == LinkDirection::kFromA) == end_a ? control::OUTWARD : control::INWARD;
}

absl::Status OneWay(const ProcessId& owner) {
  return absl::PermissionDeniedError(
      absl::StrCat("the link with process ", owner.ToString(),
                   " is one-way: that process has made it for its own sends alone"));
}

}  // namespace

absl::StatusOr<std::vector<Fd>> Links::FdsOf(const Link& link, bool end_a) {
  const Endpoint& other = end_a ? link.b : link.a;
  if (other.remote()) return FarFds(link);
  const LocalProcess* peer = registry_->FindProcess(other.number);
  if (peer == nullptr && other.kind != Endpoint::Kind::kAgent) {
    return absl::NotFoundError("the other end is gone");
  }
  return MemoryGrant(end_a ? link.memory_a : link.memory_b, end_a ? link.memory_b : link.memory_a,
                     peer == nullptr ? carrier_bell_->GrantSender() : peer->inbox.GrantSender());
}

void Links::NotifyLink(const Link& link, bool end_a, bool again) {
  const Endpoint& self = end_a ? link.a : link.b;
  const Endpoint& other = end_a ? link.b : link.a;
  LocalProcess* process = registry_->FindProcess(self.number);
  if (process == nullptr) return;
  control::Notice notice;
  control::LinkGrant* grant = notice.mutable_link_joined();
  if (other.remote()) {
    DescribeFar(link, grant);
  } else {
    const LocalProcess* peer = registry_->FindProcess(other.number);
    if (peer == nullptr && other.kind != Endpoint::Kind::kAgent) return;
    grant->set_link_id(link.id);
    Encode(link.geometry, grant->mutable_geometry());
    ToProto(link.options, grant->mutable_spec());
    ToProto(peer == nullptr ? registry_->agent_id() : peer->id, grant->mutable_peer());
    grant->set_same_user(peer == nullptr || peer->uid == process->uid);
    grant->set_peer_is_agent(peer == nullptr);
    grant->set_direction(DirectionOf(link, end_a));
  }
  notice.set_destination_id(process->inbox_id);
  notice.set_members_version(again ? process->inbox.past_version() : process->inbox.next_version());
  // Opened now, for the memory of an ended link is in these alone; later if that is not possible.
  absl::StatusOr<std::vector<Fd>> fds = FdsOf(link, end_a);
  FdSource source;
  if (fds.ok()) {
    source = OpenedFds(*std::move(fds));
  } else {
    source = [this, id = link.id, end_a]() -> absl::StatusOr<std::vector<Fd>> {
      const Link* joined = registry_->FindLink(id);
      if (joined == nullptr) return absl::NotFoundError("the link has ended");
      return FdsOf(*joined, end_a);
    };
  }
  options_.notify(process->number, std::move(notice), std::move(source));
  if (!again) process->inbox.BumpVersion();
}

absl::Status Links::CheckWish(const Link& link, bool end_a, LinkWish wish) const {
  if (wish == LinkWish::kAsItIs) return absl::OkStatus();
  const control::LinkDirection direction = DirectionOf(link, end_a);
  if (direction == control::BOTH_WAYS && wish == LinkWish::kOneWay) {
    return absl::FailedPreconditionError(
        "the two processes are linked for both directions already");
  }
  if (direction != control::INWARD) return absl::OkStatus();
  const Endpoint& other = end_a ? link.b : link.a;
  // The other's agent knows whether it still is.
  if (other.remote()) {
    return wish == LinkWish::kTwoWay ? absl::OkStatus() : OneWay(other.process);
  }
  const LocalProcess* process = registry_->FindProcess(other.number);
  return OneWay(process == nullptr ? ProcessId() : process->id);
}

void Links::Widen(Link* link) {
  link->direction = LinkDirection::kBoth;
  registry_->SaveLink(*link);
  NotifyLink(*link, true);
  if (!link->b.remote()) NotifyLink(*link, false);
}

absl::StatusOr<Link*> Links::Between(LocalProcess* a, LocalProcess* b, LinkWish wish) {
  if (a == b && wish == LinkWish::kOneWay) {
    return absl::InvalidArgumentError("a process's link with itself has no direction");
  }
  const Endpoint end_a = Endpoint::OfProcess(a->number);
  const Endpoint end_b = Endpoint::OfProcess(b->number);
  if (Link* link = registry_->FindLink(end_a, end_b)) {
    const bool is_a = link->a.Key() == end_a.Key();
    if (absl::Status status = CheckWish(*link, is_a, wish); !status.ok()) return status;
    if (wish == LinkWish::kTwoWay && link->direction != LinkDirection::kBoth) Widen(link);
    return link;
  }
  absl::StatusOr<Link*> link =
      registry_->AddLink(end_a, end_b, MailboxOptions(),
                         wish == LinkWish::kOneWay ? LinkDirection::kFromA : LinkDirection::kBoth);
  if (!link.ok()) return link;
  NotifyLink(**link, true);
  if (a != b) NotifyLink(**link, false);
  return link;
}

void Links::DescribeFar(const Link& link, control::LinkGrant* grant) const {
  grant->set_link_id(link.id);
  Encode(link.geometry, grant->mutable_geometry());
  ToProto(link.options, grant->mutable_spec());
  // What comes from another node the agent has written.
  grant->set_same_user(true);
  grant->set_peer_is_agent(true);
  if (link.b.kind == Endpoint::Kind::kRemoteProcess) {
    ToProto(link.b.process, grant->mutable_peer());
    grant->set_direction(DirectionOf(link, true));
  } else {
    grant->set_mailbox(absl::StrCat(link.b.mailbox, "@", link.b.node));
  }
}

absl::StatusOr<std::vector<Fd>> Links::GrantFar(const Link& link, control::LinkGrant* grant) {
  DescribeFar(link, grant);
  return FarFds(link);
}

absl::StatusOr<std::vector<Fd>> Links::FarFds(const Link& link) {
  // The control page is the far destination's own; the bell is the carrier's.
  absl::StatusOr<std::vector<Fd>> control = link.far.GrantSender();
  absl::StatusOr<std::vector<Fd>> bell = carrier_bell_->GrantSender();
  if (!control.ok()) return control.status();
  if (!bell.ok()) return bell.status();
  std::vector<Fd> destination;
  destination.push_back(std::move((*control)[0]));
  destination.push_back(std::move((*bell)[1]));
  destination.push_back(std::move((*bell)[2]));
  return MemoryGrant(link.memory_a, link.memory_b, std::move(destination));
}

void Links::StartOutbound(Link* link, bool recover) {
  absl::StatusOr<std::shared_ptr<LinkMemory>> memory = MapLinkEnd(*link, false, options_.budget);
  if (!memory.ok()) {
    options_.log(absl::StrCat("cannot map link ", link->id, ": ", memory.status().ToString()));
    return EndOutbound(link->id, CloseReason::kRefused);
  }
  OutboundLane lane;
  lane.id = link->id;
  lane.peer_node = link->b.peer_node();
  lane.memory = *std::move(memory);
  lane.recover = recover;
  lane.max_message_bytes = link->options.max_message_bytes;
  lane.of_agent = link->a.kind == Endpoint::Kind::kAgent;
  lane.peer_incarnation = registry_->PeerIncarnation(lane.peer_node);
  lane.open.set_lane(link->id);
  const LocalProcess* process = registry_->FindProcess(link->a.number);
  ToProto(process == nullptr ? registry_->agent_id() : process->id, lane.open.mutable_sender());
  if (link->b.kind == Endpoint::Kind::kRemoteProcess) {
    ToProto(link->b.process, lane.open.mutable_process());
    lane.open.set_one_way(link->direction == LinkDirection::kFromA);
  } else {
    lane.open.set_mailbox(link->b.mailbox);
  }
  link->outbound = true;
  carrier_->AddOutbound(std::move(lane));
  if (link->finishing) carrier_->FinishOutbound(link->id, static_cast<uint32_t>(link->end_reason));
}

absl::StatusOr<Link*> Links::ToRemote(const Endpoint& a, const Endpoint& b,
                                      const MailboxOptions& options, LinkWish wish) {
  const absl::Status closed = ClosedStatus(b.Name(), outbound_closed_);
  if (Link* link = registry_->FindLink(a, b); link != nullptr) {
    if (absl::Status status = CheckWish(*link, true, wish); !status.ok()) return status;
    if (wish != LinkWish::kTwoWay) return link;
    if (link->direction == LinkDirection::kFromA) Widen(link);
    if (link->direction == LinkDirection::kFromB && !link->outbound) {
      if (!closed.ok()) return closed;
      const uint64_t id = link->id;
      StartOutbound(link, false);
      if (registry_->FindLink(id) == nullptr || !link->outbound) {
        return absl::ResourceExhaustedError("no memory to map");
      }
    }
    return link;
  }
  if (!closed.ok()) return closed;
  if (wish == LinkWish::kOneWay) {
    // A link that is not the pair's any more may still bring what the other sends.
    for (const auto& [id, link] : registry_->links()) {
      if (link->inbound_lane != 0 && link->a.Key() == a.Key() && link->b.Key() == b.Key()) {
        return absl::FailedPreconditionError("a former link of the two processes still ends");
      }
    }
  }
  return AddRemote(a, b, options,
                   wish == LinkWish::kOneWay ? LinkDirection::kFromA : LinkDirection::kBoth);
}

void Links::OutboundOpened(uint64_t id) {
  Link* link = registry_->FindLink(id);
  if (link != nullptr && link->direction == LinkDirection::kFromB) Widen(link);
}

absl::StatusOr<Link*> Links::AddRemote(const Endpoint& a, const Endpoint& b,
                                       const MailboxOptions& options, LinkDirection direction) {
  absl::StatusOr<Link*> link = registry_->AddLink(a, b, options, direction);
  if (!link.ok()) return link;
  const uint64_t id = (*link)->id;
  if (outbound_closed_ != CloseReason::kOpen) (*link)->far.Close(outbound_closed_);
  if (b.kind == Endpoint::Kind::kRemoteProcess) NotifyLink(**link, true);
  if (direction == LinkDirection::kFromB) return link;
  StartOutbound(*link, false);
  if (registry_->FindLink(id) == nullptr) return absl::ResourceExhaustedError("no memory to map");
  return link;
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> Links::AcceptLane(LocalProcess* target,
                                                                const ProcessId& sender,
                                                                uint64_t lane, bool one_way,
                                                                MailboxOptions* options) {
  const Endpoint self = Endpoint::OfProcess(target->number);
  const Endpoint remote = Endpoint::OfRemoteProcess(sender);
  Link* link = registry_->FindInbound(sender.node(), lane);
  if (link != nullptr && (link->a.Key() != self.Key() || link->b.Key() != remote.Key())) {
    return absl::FailedPreconditionError("this lane is another pair's");
  }
  if (link == nullptr) {
    link = registry_->FindLink(self, remote);
    if (link != nullptr && link->inbound_lane > lane) {
      return absl::FailedPreconditionError("this pair has a later link already");
    }
    if (link != nullptr && link->inbound_lane != 0) {
      // The origin has given that link up; what it says of it may still be on its way, as may be
      // messages.
      Finish(link, CloseReason::kProcessGone);
      link = nullptr;
    }
    if (link != nullptr && link->direction == LinkDirection::kFromA) {
      if (!one_way || target->id.ToString() < sender.ToString()) return OneWay(target->id);
      // Both have asked at once. Of these two orders the other agent sees the other one.
      Remove(link, CloseReason::kProcessGone, EndReason::kNone, 0, OneWay(sender));
      link = nullptr;
    }
    if (link == nullptr) {
      // Also while this node stops: what the other sends is none of our outbound.
      absl::StatusOr<Link*> made = AddRemote(
          self, remote, MailboxOptions(), one_way ? LinkDirection::kFromB : LinkDirection::kBoth);
      if (!made.ok()) return made.status();
      link = *made;
    }
    link->inbound_lane = lane;
    registry_->SaveLink(*link);
  }
  *options = link->options;
  return MapLinkSender(absl::StrCat("process ", target->id.ToString()), *link, false, target->inbox,
                       target->inbox, options_.budget);
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> Links::AgentLane(LocalProcess* process) {
  const Endpoint other = Endpoint::OfProcess(process->number);
  Link* link = registry_->FindLink(Endpoint::OfAgent(), other);
  if (link == nullptr) {
    absl::StatusOr<Link*> added = registry_->AddLink(Endpoint::OfAgent(), other, MailboxOptions());
    if (!added.ok()) return added.status();
    link = *added;
    NotifyLink(*link, false);
  }
  std::shared_ptr<OutgoingLane>& lane = agent_lanes_[link->id];
  if (lane == nullptr) {
    absl::StatusOr<std::shared_ptr<OutgoingLane>> mapped =
        MapLinkSender(absl::StrCat("process ", process->id.ToString()), *link, true, process->inbox,
                      process->inbox, options_.budget);
    if (!mapped.ok()) return mapped.status();
    lane = *std::move(mapped);
  }
  return lane;
}

absl::StatusOr<std::shared_ptr<OutgoingLane>> Links::AgentLane(const Link& link) {
  std::shared_ptr<OutgoingLane>& lane = agent_lanes_[link.id];
  if (lane == nullptr) {
    absl::StatusOr<std::shared_ptr<OutgoingLane>> mapped =
        MapLinkSender(link.b.Name(), link, true, link.far, *carrier_bell_, options_.budget);
    if (!mapped.ok()) return mapped.status();
    if (link.b.kind == Endpoint::Kind::kRemoteMailbox) (*mapped)->set_to_far_mailbox();
    lane = *std::move(mapped);
  }
  return lane;
}

void Links::Describe(const Link& link, control::LinkRow* row) const {
  const auto end = [&](const Endpoint& endpoint, proto::ProcessRef* ref) {
    if (endpoint.kind == Endpoint::Kind::kRemoteProcess) {
      ToProto(endpoint.process, ref);
    } else if (endpoint.kind == Endpoint::Kind::kRemoteMailbox) {
      row->set_mailbox(absl::StrCat(endpoint.mailbox, "@", endpoint.node));
    } else {
      const LocalProcess* process = registry_->FindProcess(endpoint.number);
      ToProto(process == nullptr ? registry_->agent_id() : process->id, ref);
    }
  };
  end(link.a, row->mutable_a());
  end(link.b, row->mutable_b());
  row->set_direction(link.b.kind == Endpoint::Kind::kRemoteMailbox ? control::OUTWARD
                                                                   : DirectionOf(link, true));
  row->set_sent(CountPublished(link, true));
  row->set_received(CountPublished(link, false));
}

}  // namespace mailrail
