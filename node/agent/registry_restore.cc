// How the registry comes back from the keeper, and goes to a new one.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "node/agent/registry.h"
#include "node/agent/registry_codec.h"

namespace mailrail {
namespace {

template <typename T>
absl::StatusOr<T> Parse(const KeptRecord& record, size_t fds) {
  T value;
  if (!value.ParseFromString(record.value) || record.fds.size() != fds) {
    return absl::DataLossError(absl::StrCat("the kept record ", record.key, " is not well-formed"));
  }
  return value;
}

// The descriptors from `begin` on.
std::vector<Fd> Rest(std::vector<Fd>* fds, size_t begin, size_t count) {
  return std::vector<Fd>(
      std::make_move_iterator(fds->begin() + static_cast<std::ptrdiff_t>(begin)),
      std::make_move_iterator(fds->begin() + static_cast<std::ptrdiff_t>(begin + count)));
}

}  // namespace

absl::Status Registry::RestoreProcess(KeptRecord* record) {
  absl::StatusOr<state::Process> value = Parse<state::Process>(*record, 5);
  if (!value.ok()) return value.status();
  auto process = std::make_unique<LocalProcess>();
  Decode(*value, node_, process.get());
  process->socket = std::move(record->fds[0]);
  process->pidfd = std::move(record->fds[1]);
  absl::StatusOr<Destination> inbox = Destination::Adopt(Rest(&record->fds, 2, 3));
  if (!inbox.ok()) return inbox.status();
  process->inbox = *std::move(inbox);
  for (const std::string& name : process->names) names_[name] = process->number;
  owner_names_->Add(process->number, process->id);
  processes_[process->number] = std::move(process);
  return absl::OkStatus();
}

absl::Status Registry::RestoreMailbox(KeptRecord* record) {
  absl::StatusOr<state::Mailbox> value = Parse<state::Mailbox>(*record, 3);
  if (!value.ok()) return value.status();
  auto mailbox = std::make_unique<LocalMailbox>();
  Decode(*value, mailbox.get());
  absl::StatusOr<Destination> destination = Destination::Adopt(std::move(record->fds));
  if (!destination.ok()) return destination.status();
  mailbox->destination = *std::move(destination);
  mailbox_names_[mailbox->name] = mailbox->id;
  mailboxes_[mailbox->id] = std::move(mailbox);
  return absl::OkStatus();
}

// The keys of mailboxes and processes come before those of receivers.
absl::Status Registry::RestoreReceiver(const KeptRecord& record) {
  absl::StatusOr<state::Receiver> value = Parse<state::Receiver>(record, 0);
  if (!value.ok()) return value.status();
  LocalMailbox* mailbox = FindMailbox(value->mailbox());
  if (mailbox == nullptr) return absl::NotFoundError("its mailbox is not there");
  Decode(*value, mailbox);
  if (!value->node().empty()) {
    const RemoteReceiverEntry& entry = mailbox->remote_receivers.at({value->node(), value->key()});
    owner_names_->Add(entry.number, entry.process);
    return absl::OkStatus();
  }
  if (LocalProcess* process = FindProcess(value->number()); process != nullptr) {
    process->mailboxes.insert(mailbox->id);
  }
  return absl::OkStatus();
}

absl::Status Registry::RestoreLane(KeptRecord* record) {
  absl::StatusOr<state::MailboxLane> value = Parse<state::MailboxLane>(*record, 2);
  if (!value.ok()) return value.status();
  auto lane = std::make_unique<MailboxLane>();
  Decode(*value, lane.get());
  lane->data = std::move(record->fds[0]);
  lane->state = std::move(record->fds[1]);
  lanes_[lane->id] = std::move(lane);
  return absl::OkStatus();
}

absl::Status Registry::RestoreLink(KeptRecord* record) {
  absl::StatusOr<state::Link> value = Parse<state::Link>(*record, record->fds.size());
  if (!value.ok()) return value.status();
  auto link = std::make_unique<Link>();
  Decode(*value, link.get());
  if (record->fds.size() != (link->b.remote() ? 5u : 2u)) {
    return absl::DataLossError("a kept link is incomplete");
  }
  link->memory_a = std::move(record->fds[0]);
  link->memory_b = std::move(record->fds[1]);
  if (link->b.remote()) {
    absl::StatusOr<Destination> far = Destination::Adopt(Rest(&record->fds, 2, 3));
    if (!far.ok()) return far.status();
    link->far = *std::move(far);
  }
  links_[link->id] = std::move(link);
  return absl::OkStatus();
}

absl::Status Registry::RestoreProxy(KeptRecord* record) {
  absl::StatusOr<state::Proxy> value = Parse<state::Proxy>(*record, 5);
  if (!value.ok()) return value.status();
  auto proxy = std::make_unique<Proxy>();
  Decode(*value, proxy.get());
  proxy->data = std::move(record->fds[3]);
  proxy->state = std::move(record->fds[4]);
  absl::StatusOr<Destination> destination = Destination::Adopt(Rest(&record->fds, 0, 3));
  if (!destination.ok()) return destination.status();
  proxy->destination = *std::move(destination);
  proxies_[proxy->id] = std::move(proxy);
  return absl::OkStatus();
}

absl::Status Registry::RestoreRecord(KeptRecord* record) {
  const auto is = [&](absl::string_view kind) { return absl::StartsWith(record->key, kind); };
  if (is("process/")) return RestoreProcess(record);
  if (is("mailbox/")) return RestoreMailbox(record);
  if (is("receiver/")) return RestoreReceiver(*record);
  if (is("lane/")) return RestoreLane(record);
  if (is("link/")) return RestoreLink(record);
  if (is("proxy/")) return RestoreProxy(record);
  if (is("watch/")) {
    absl::StatusOr<state::Watch> value = Parse<state::Watch>(*record, 0);
    return value.ok() ? RestoreWatch(*value) : value.status();
  }
  if (is("object/")) return RestoreObject(record);
  if (is("user/")) return RestoreUser(*record);
  if (is("far-") || is("settling/")) {
    return RestoreFar(*record, record->key.substr(0, record->key.find('/')));
  }
  if (is("region/")) return RestoreRegion(record);
  if (is("regionuser/")) return RestoreRegionOpen(*record);
  if (is("peer/")) {
    absl::StatusOr<state::Peer> value = Parse<state::Peer>(*record, 0);
    if (!value.ok()) return value.status();
    peer_incarnations_[value->node()] = value->incarnation();
  }
  return absl::OkStatus();
}

absl::Status Registry::Restore(std::vector<KeptRecord> records) {
  for (KeptRecord& record : records) {
    if (record.key == "node") {
      absl::StatusOr<state::Node> value = Parse<state::Node>(record, 0);
      if (!value.ok()) return value.status();
      incarnation_ = value->incarnation();
      last_number_ = numbers_reserved_ = value->numbers_reserved();
      numbers_wrapped_ = value->numbers_wrapped();
      last_id_ = ids_reserved_ = value->ids_reserved();
    } else if (absl::Status status = RestoreRecord(&record); !status.ok()) {
      // One process's doing, perhaps: the others are not to suffer from it.
      log_(absl::StrCat("the kept record ", record.key, " is dropped: ", status.ToString()));
      vault_->Drop(record.key);
    }
  }
  // What refers to each other.
  for (const auto& [id, lane] : lanes_) IndexLane(lane.get());
  for (const auto& [id, mailbox] : mailboxes_) {
    if (LocalMailbox* const broadcast = FindMailbox(mailbox->broadcast_mailbox)) {
      broadcast->subscriptions.insert(id);
    }
  }
  for (const auto& [id, link] : links_) IndexLink(*link);
  for (const auto& [id, proxy] : proxies_) {
    if (LocalProcess* process = FindProcess(proxy->number); process != nullptr) {
      process->proxies.insert(id);
    }
  }
  return absl::OkStatus();
}

void Registry::SaveAll() {
  // What a new keeper has no room for it does not hold; the agent goes on all the same.
  SaveNode();
  for (const auto& [node, incarnation] : std::map<std::string, uint64_t>(peer_incarnations_)) {
    SavePeer(node, incarnation);
  }
  for (const auto& [number, process] : processes_) {
    std::vector<int> fds = {process->socket.get(), process->pidfd.get()};
    for (const int fd : process->inbox.fds()) fds.push_back(fd);
    vault_->Put(absl::StrCat("process/", number), Encode(*process), fds).IgnoreError();
  }
  for (const auto& [id, mailbox] : mailboxes_) {
    vault_->Put(absl::StrCat("mailbox/", id), Encode(*mailbox), mailbox->destination.fds())
        .IgnoreError();
    SaveReceivers(*mailbox);
  }
  SaveWatches();
  SaveObjects();
  SaveFar();
  SaveRegions();
  for (const auto& [id, lane] : lanes_) {
    vault_->Put(absl::StrCat("lane/", id), Encode(*lane), {lane->data.get(), lane->state.get()})
        .IgnoreError();
  }
  for (const auto& [id, link] : links_) {
    std::vector<int> fds = {link->memory_a.get(), link->memory_b.get()};
    if (link->b.remote()) {
      for (const int fd : link->far.fds()) fds.push_back(fd);
    }
    vault_->Put(absl::StrCat("link/", id), Encode(*link), fds).IgnoreError();
  }
  for (const auto& [id, proxy] : proxies_) {
    std::vector<int> fds = proxy->destination.fds();
    fds.push_back(proxy->data.get());
    fds.push_back(proxy->state.get());
    vault_->Put(absl::StrCat("proxy/", id), Encode(*proxy), fds).IgnoreError();
  }
}

}  // namespace mailrail
