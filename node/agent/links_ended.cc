// How links end, and come back after a restart.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "node/agent/links.h"
#include "node/agent/mapped_lanes.h"

namespace mailrail {

void Links::CountDropped(const Link& link) {
  const uint64_t dropped = CountUnconsumed(link, true);
  if (dropped == 0) return;
  LocalProcess* process = registry_->FindProcess(link.a.number);
  std::string from = "a process that is gone";
  if (process != nullptr) from = absl::StrCat("process ", process->id.ToString());
  if (link.a.kind == Endpoint::Kind::kAgent) from = "programs that had not attached";
  options_.log(absl::StrCat("up to ", dropped, " messages of ", from, " to ", link.b.Name(),
                            " were not received there"));
  if (process == nullptr) return;
  process->dropped += dropped;
  registry_->SaveProcess(*process).IgnoreError();
}

void Links::TellEnds(const Link& link, EndReason end, uint32_t gone) {
  for (const Endpoint* endpoint : {&link.a, &link.b}) {
    LocalProcess* process = registry_->FindProcess(endpoint->number);
    if (process == nullptr || process->number == gone) continue;
    if (link.b.kind == Endpoint::Kind::kRemoteMailbox) continue;  // nothing comes on it
    // It has the memory mapped, or in its socket: what was sent to it it still receives.
    NotifyEnded(options_.notify, process->number, process->inbox, process->inbox_id, link.id, end);
    process->inbox.BumpVersion();
    process->inbox.Ring();
  }
}

void Links::Remove(Link* link, CloseReason reason, EndReason end, uint32_t gone,
                   const absl::Status& why) {
  const uint64_t id = link->id;
  if (link->b.remote()) {
    link->far.Close(reason);
    if (link->outbound) {
      CountDropped(*link);
      carrier_->RemoveOutbound(id);
    }
  }
  TellEnds(*link, end, gone);
  agent_lanes_.erase(id);
  registry_->RemoveLink(id);
  options_.ended(id, why);
}

void Links::Finish(Link* link, CloseReason reason) {
  link->far.Close(reason);
  if (!link->outbound) return OutboundDone(link->id);
  link->finishing = true;
  registry_->SaveLink(*link);
  carrier_->FinishOutbound(link->id, 0);
}

void Links::LetGo(const LocalProcess& process, uint64_t id) {
  Link* link = registry_->FindLink(id);
  if (link == nullptr || link->finishing || link->b.kind != Endpoint::Kind::kRemoteMailbox ||
      link->a.Key() != Endpoint::OfProcess(process.number).Key()) {
    return;
  }
  Finish(link, CloseReason::kProcessGone);
}

bool Links::StillReceives(const Link& link) const {
  return link.inbound_lane != 0 && registry_->FindProcess(link.a.number) != nullptr;
}

uint64_t Links::EndProcess(const LocalProcess& process, EndReason end) {
  uint64_t unreceived = 0;
  const std::vector<uint64_t> ids(process.links.begin(), process.links.end());
  for (const uint64_t id : ids) {
    Link* link = registry_->FindLink(id);
    if (link == nullptr) continue;
    const bool is_a = link->a.kind == Endpoint::Kind::kProcess && link->a.number == process.number;
    unreceived += CountUnconsumed(*link, !is_a);
    if (!link->b.remote() || !link->outbound) {
      Remove(link, CloseReason::kProcessGone, end, process.number);
    } else if (!link->finishing) {
      // What the dead had sent is carried on. Nothing is to be closed: it sends no more.
      link->finishing = true;
      link->end_reason = end;
      registry_->SaveLink(*link);
      carrier_->FinishOutbound(id, static_cast<uint32_t>(end));
    }
  }
  return unreceived;
}

void Links::EndOutbound(uint64_t id, CloseReason reason) {
  Link* link = registry_->FindLink(id);
  if (link == nullptr || !link->b.remote()) return;
  // Nothing that b sends has ever come: who watches b is told of its end by its watch, and why.
  if (!StillReceives(*link)) return Remove(link, reason, EndReason::kNone);
  // It was b's alone, and stays so.
  if (link->direction == LinkDirection::kFromB) {
    link->outbound = false;
    return;
  }
  // What b had sent before it died still comes, and then the end of its lane.
  link->far.Close(reason);
  if (link->outbound) CountDropped(*link);
  carrier_->RemoveOutbound(id);
  OutboundDone(id);
}

bool Links::EndInbound(const std::string& node, uint64_t lane, EndReason end) {
  Link* link = registry_->FindInbound(node, lane);
  if (link == nullptr) return false;
  Remove(link, CloseReason::kProcessGone, end == EndReason::kNone ? EndReason::kUnreachable : end);
  return true;
}

void Links::InboundRefused(const std::string& node, uint64_t lane) {
  Link* link = registry_->FindInbound(node, lane);
  if (link == nullptr) return;
  // When a is gone, its end says the rest.
  if (!StillReceives(*link)) return;
  link->inbound_lane = 0;
  TellEnds(*link, EndReason::kUnreachable, 0);
  Finish(link, CloseReason::kRefused);
}

void Links::OutboundDone(uint64_t id) {
  Link* link = registry_->FindLink(id);
  if (link == nullptr) return;
  link->outbound = false;
  if (!StillReceives(*link)) return Remove(link, CloseReason::kProcessGone, EndReason::kEnded);
  link->finishing = false;
  registry_->SaveLink(*link);
}

void Links::ForgetNode(const std::string& node) {
  std::vector<uint64_t> ids;
  for (const auto& [id, link] : registry_->links()) {
    if (link->b.remote() && link->b.peer_node() == node) ids.push_back(id);
  }
  for (const uint64_t id : ids) {
    Remove(registry_->FindLink(id), CloseReason::kNodeGone, EndReason::kEnded);
  }
}

void Links::CloseOutbound(CloseReason reason) {
  outbound_closed_ = reason;
  for (const auto& [id, link] : registry_->links()) {
    if (link->b.remote()) link->far.Close(reason);
  }
}

bool Links::AllCarried() const {
  return std::all_of(registry_->links().begin(), registry_->links().end(), [](const auto& entry) {
    const Link& link = *entry.second;
    return !link.outbound || CountUnconsumed(link, true) == 0;
  });
}

void Links::LogUncarried() {
  for (const auto& [id, link] : registry_->links()) {
    if (link->outbound) CountDropped(*link);
  }
}

void Links::Resume() {
  std::vector<uint64_t> ids;
  for (const auto& [id, link] : registry_->links()) ids.push_back(id);
  for (const uint64_t id : ids) {
    Link* link = registry_->FindLink(id);
    const auto missing = [&](const Endpoint& end) {
      return end.kind == Endpoint::Kind::kProcess && registry_->FindProcess(end.number) == nullptr;
    };
    if (!link->b.remote()) {
      if (missing(link->a) || missing(link->b)) {
        Remove(link, CloseReason::kProcessGone, EndReason::kEnded);
      }
      continue;
    }
    // Opened for nobody: b's agent asks again. Else there is nothing of a's to be carried.
    if (link->direction == LinkDirection::kFromB) {
      if (!StillReceives(*link)) Remove(link, CloseReason::kProcessGone, EndReason::kEnded);
      continue;
    }
    // The agent before this one was killed while it stopped: what it had accepted is carried on.
    const bool stopping = link->far.reason() == CloseReason::kAgentGone;
    if (missing(link->a) || stopping) link->finishing = true;
    if (link->finishing || !link->far.closed()) {
      StartOutbound(link, true);
    } else if (link->inbound_lane == 0) {
      Remove(link, CloseReason::kProcessGone, EndReason::kEnded);
    }
  }
}

void Links::NotifyAll() {
  for (const auto& [id, link] : registry_->links()) {
    if (link->b.kind == Endpoint::Kind::kRemoteMailbox || (link->finishing && link->b.remote())) {
      continue;
    }
    NotifyLink(*link, true, /*again=*/true);
    if (link->a.Key() != link->b.Key()) NotifyLink(*link, false, /*again=*/true);
  }
}

}  // namespace mailrail
