// The registry's lanes, links and proxies: whatever has memory for messages.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/shm/memory.h"
#include "mailrail/limits.h"
#include "node/agent/registry.h"
#include "node/agent/registry_codec.h"
#include "node/carrier/proxy_note.h"

namespace mailrail {
namespace {

std::string PairKey(const Endpoint& a, const Endpoint& b) {
  const std::string first = a.Key();
  const std::string second = b.Key();
  return first < second ? absl::StrCat(first, " ", second) : absl::StrCat(second, " ", first);
}

std::string SenderKey(uint64_t mailbox, const Endpoint& sender, uint64_t origin_lane) {
  return absl::StrCat(mailbox, " ", origin_lane, " ", sender.Key());
}

// What one process writes it seals itself, once it has mapped it.
MoreSeals SealsFor(const Endpoint& writer) {
  return writer.kind == Endpoint::Kind::kProcess ? MoreSeals::kAllowed : MoreSeals::kRefused;
}

// One message at a time is on its way to a receiver; what it has leased stays where it came.
CellGeometry GeometryOfProxy(size_t max_message_bytes, bool leases) {
  if (!leases) return CellGeometry::For(16, max_message_bytes);
  const size_t bytes =
      std::min(kMostFarLeases * (max_message_bytes + kMaxHeaderBytes), kMostFarLeaseBytes);
  return CellGeometry::For(2 * kMostFarLeases, std::max(max_message_bytes, bytes / 2));
}

}  // namespace

absl::StatusOr<MailboxLane*> Registry::AddLane(LocalMailbox* mailbox, const Endpoint& sender,
                                               const ProcessId& sender_id, uint32_t sender_uid,
                                               uint64_t origin_lane) {
  auto lane = std::make_unique<MailboxLane>();
  lane->id = NewId();
  lane->mailbox = mailbox->id;
  lane->geometry =
      CellGeometry::For(mailbox->options.capacity_messages, mailbox->options.max_message_bytes);
  lane->sender = sender;
  lane->sender_id = sender_id;
  lane->sender_uid = sender_uid;
  lane->origin_lane = origin_lane;
  absl::StatusOr<Fd> data =
      CreateMemory("mailrail.lane", lane->geometry.data_bytes(), SealsFor(sender));
  if (!data.ok()) return data.status();
  absl::StatusOr<Fd> state = CreateMemory("mailrail.lane.state", lane->geometry.state_bytes());
  if (!state.ok()) return state.status();
  lane->data = *std::move(data);
  lane->state = *std::move(state);
  if (absl::Status status = vault_->Put(absl::StrCat("lane/", lane->id), Encode(*lane),
                                        {lane->data.get(), lane->state.get()});
      !status.ok()) {
    return status;
  }
  MailboxLane* added = lane.get();
  lanes_[lane->id] = std::move(lane);
  IndexLane(added);
  return added;
}

void Registry::IndexLane(MailboxLane* lane) {
  if (LocalMailbox* mailbox = FindMailbox(lane->mailbox); mailbox != nullptr) {
    mailbox->lanes.insert(lane->id);
    lane->max_attempts = mailbox->options.max_attempts;
  }
  if (LocalProcess* process = FindProcess(lane->sender.number); process != nullptr) {
    process->lanes.insert(lane->id);
  }
  if (!lane->orphaned) {
    lane_of_sender_[SenderKey(lane->mailbox, lane->sender, lane->origin_lane)] = lane->id;
  }
}

void Registry::OrphanLane(MailboxLane* lane) {
  if (lane->orphaned) return;
  lane->orphaned = true;
  lane_of_sender_.erase(SenderKey(lane->mailbox, lane->sender, lane->origin_lane));
  Save(absl::StrCat("lane/", lane->id), Encode(*lane)).IgnoreError();
}

void Registry::RemoveLane(uint64_t id) {
  const auto it = lanes_.find(id);
  if (it == lanes_.end()) return;
  if (LocalMailbox* mailbox = FindMailbox(it->second->mailbox); mailbox != nullptr) {
    mailbox->lanes.erase(id);
  }
  if (LocalProcess* process = FindProcess(it->second->sender.number); process != nullptr) {
    process->lanes.erase(id);
  }
  if (!it->second->orphaned) {
    lane_of_sender_.erase(
        SenderKey(it->second->mailbox, it->second->sender, it->second->origin_lane));
  }
  lanes_.erase(it);
  vault_->Drop(absl::StrCat("lane/", id));
}

MailboxLane* Registry::FindLane(uint64_t id) {
  const auto it = lanes_.find(id);
  return it == lanes_.end() ? nullptr : it->second.get();
}

MailboxLane* Registry::FindLane(uint64_t mailbox, const Endpoint& sender, uint64_t origin_lane) {
  const auto it = lane_of_sender_.find(SenderKey(mailbox, sender, origin_lane));
  return it == lane_of_sender_.end() ? nullptr : FindLane(it->second);
}

void Registry::IndexLink(const Link& link) {
  if (link.usable()) link_of_pair_[PairKey(link.a, link.b)] = link.id;
  for (const Endpoint* end : {&link.a, &link.b}) {
    if (LocalProcess* process = FindProcess(end->number); process != nullptr) {
      process->links.insert(link.id);
    }
  }
}

absl::StatusOr<Link*> Registry::AddLink(const Endpoint& a, const Endpoint& b,
                                        const MailboxOptions& options, LinkDirection direction) {
  auto link = std::make_unique<Link>();
  link->id = NewId();
  link->a = a;
  link->b = b;
  link->options = options;
  link->direction = direction;
  link->geometry = RingGeometry::For(options.max_message_bytes);
  absl::StatusOr<Fd> memory =
      CreateMemory("mailrail.link", link->geometry.memory_bytes(), SealsFor(a));
  if (!memory.ok()) return memory.status();
  link->memory_a = *std::move(memory);
  // A process linked to itself is both ends: one memory is its lane and what it says as receiver.
  memory = a.Key() == b.Key()
               ? absl::StatusOr<Fd>(link->memory_a.Duplicate())
               : CreateMemory("mailrail.link", link->geometry.memory_bytes(), SealsFor(b));
  if (!memory.ok()) return memory.status();
  link->memory_b = *std::move(memory);
  std::vector<int> fds = {link->memory_a.get(), link->memory_b.get()};
  if (b.remote()) {
    absl::StatusOr<Destination> far = Destination::Create("mailrail.far");
    if (!far.ok()) return far.status();
    link->far = *std::move(far);
    for (const int fd : link->far.fds()) fds.push_back(fd);
  }
  if (absl::Status status = vault_->Put(absl::StrCat("link/", link->id), Encode(*link), fds);
      !status.ok()) {
    return status;
  }
  Link* added = link.get();
  links_[link->id] = std::move(link);
  IndexLink(*added);
  return added;
}

void Registry::SaveLink(const Link& link) {
  Save(absl::StrCat("link/", link.id), Encode(link)).IgnoreError();
}

void Registry::RemoveLink(uint64_t id) {
  const auto it = links_.find(id);
  if (it == links_.end()) return;
  const auto pair = link_of_pair_.find(PairKey(it->second->a, it->second->b));
  if (pair != link_of_pair_.end() && pair->second == id) link_of_pair_.erase(pair);
  for (const Endpoint* end : {&it->second->a, &it->second->b}) {
    if (LocalProcess* process = FindProcess(end->number); process != nullptr) {
      process->links.erase(id);
    }
  }
  links_.erase(it);
  vault_->Drop(absl::StrCat("link/", id));
}

Link* Registry::FindLink(uint64_t id) {
  const auto it = links_.find(id);
  return it == links_.end() ? nullptr : it->second.get();
}

const Link* Registry::FindLink(uint64_t id) const {
  const auto it = links_.find(id);
  return it == links_.end() ? nullptr : it->second.get();
}

Link* Registry::FindLink(const Endpoint& a, const Endpoint& b) {
  const auto it = link_of_pair_.find(PairKey(a, b));
  Link* link = it == link_of_pair_.end() ? nullptr : FindLink(it->second);
  return link != nullptr && link->usable() ? link : nullptr;
}

Link* Registry::FindInbound(const std::string& node, uint64_t lane) {
  if (lane == 0) return nullptr;
  for (const auto& [id, link] : links_) {
    if (link->inbound_lane == lane && link->b.kind == Endpoint::Kind::kRemoteProcess &&
        link->b.peer_node() == node) {
      return link.get();
    }
  }
  return nullptr;
}

absl::StatusOr<Proxy*> Registry::AddProxy(LocalProcess* process, const std::string& node,
                                          const std::string& mailbox, const MailboxOptions& options,
                                          bool leases) {
  auto proxy = std::make_unique<Proxy>();
  proxy->id = NewId();
  proxy->lane_id = NewId();
  proxy->number = process->number;
  proxy->node = node;
  proxy->mailbox = mailbox;
  proxy->options = options;
  proxy->leases = leases;
  proxy->geometry = GeometryOfProxy(options.max_message_bytes, leases);
  absl::StatusOr<Destination> destination =
      Destination::Create("mailrail.proxy", kProxyControlBytes);
  if (!destination.ok()) return destination.status();
  proxy->destination = *std::move(destination);
  absl::StatusOr<Fd> data = CreateMemory("mailrail.lane", proxy->geometry.data_bytes());
  if (!data.ok()) return data.status();
  absl::StatusOr<Fd> state = CreateMemory("mailrail.lane.state", proxy->geometry.state_bytes());
  if (!state.ok()) return state.status();
  proxy->data = *std::move(data);
  proxy->state = *std::move(state);
  std::vector<int> fds = proxy->destination.fds();
  fds.push_back(proxy->data.get());
  fds.push_back(proxy->state.get());
  if (absl::Status status = vault_->Put(absl::StrCat("proxy/", proxy->id), Encode(*proxy), fds);
      !status.ok()) {
    return status;
  }
  process->proxies.insert(proxy->id);
  Proxy* added = proxy.get();
  proxies_[proxy->id] = std::move(proxy);
  return added;
}

void Registry::RemoveProxy(uint64_t id) {
  const auto it = proxies_.find(id);
  if (it == proxies_.end()) return;
  if (LocalProcess* process = FindProcess(it->second->number); process != nullptr) {
    process->proxies.erase(id);
  }
  proxies_.erase(it);
  vault_->Drop(absl::StrCat("proxy/", id));
}

Proxy* Registry::FindProxy(uint64_t id) {
  const auto it = proxies_.find(id);
  return it == proxies_.end() ? nullptr : it->second.get();
}

}  // namespace mailrail
