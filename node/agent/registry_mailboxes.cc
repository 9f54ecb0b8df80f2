// The registry's mailboxes and who receives from them.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/shm/stamp.h"
#include "mailrail/limits.h"
#include "node/agent/registry.h"
#include "node/agent/registry_codec.h"

namespace mailrail {
namespace {

std::string ReceiverKey(uint64_t mailbox, uint32_t number) {
  return absl::StrCat("receiver/", mailbox, "/", number);
}

// It has the mailbox open no more.
void LeaveOrder(LocalMailbox* mailbox, uint32_t number) {
  std::erase_if(mailbox->order, [number](const auto& entry) { return entry.second == number; });
}

}  // namespace

absl::StatusOr<LocalMailbox*> Registry::AddMailbox(const std::string& name,
                                                   const MailboxOptions& options, uint32_t creator,
                                                   uint64_t request) {
  auto mailbox = std::make_unique<LocalMailbox>();
  mailbox->id = NewId();
  mailbox->name = name;
  mailbox->options = options;
  mailbox->creator = creator;
  mailbox->creator_request = request;
  return KeepMailbox(std::move(mailbox));
}

absl::StatusOr<LocalMailbox*> Registry::AddSubscription(LocalMailbox* broadcast, uint32_t creator,
                                                        uint64_t request) {
  auto mailbox = std::make_unique<LocalMailbox>();
  mailbox->id = NewId();
  // A program may have taken the name for a mailbox of its own.
  do {
    const std::string number = absl::StrCat(".", NewId());
    mailbox->name =
        absl::StrCat("_", broadcast->name.substr(0, kMaxNameLength - 1 - number.size()), number);
  } while (FindMailbox(mailbox->name) != nullptr);
  mailbox->options = broadcast->options;
  mailbox->options.policy = ReceivePolicy::kCompeting;
  mailbox->options.owned = false;
  // What comes to it of a log is in order.
  if (broadcast->options.order == MailboxOrder::kLog) mailbox->options.order = MailboxOrder::kQueue;
  mailbox->creator = creator;
  mailbox->creator_request = request;
  mailbox->broadcast_mailbox = broadcast->id;
  mailbox->opened_stamp = Stamp();
  absl::StatusOr<LocalMailbox*> added = KeepMailbox(std::move(mailbox));
  if (added.ok()) broadcast->subscriptions.insert((*added)->id);
  return added;
}

absl::StatusOr<LocalMailbox*> Registry::KeepMailbox(std::unique_ptr<LocalMailbox> mailbox) {
  absl::StatusOr<Destination> destination = Destination::Create("mailrail.mailbox");
  if (!destination.ok()) return destination.status();
  mailbox->destination = *std::move(destination);
  mailbox->destination.page()->receivers.store(1);  // nobody receives yet
  // Who had subscribed before a message was sent is told by its stamp.
  if (mailbox->broadcasts()) mailbox->destination.page()->stamped.store(1);
  if (absl::Status status = vault_->Put(absl::StrCat("mailbox/", mailbox->id), Encode(*mailbox),
                                        mailbox->destination.fds());
      !status.ok()) {
    return status;
  }
  LocalMailbox* added = mailbox.get();
  mailbox_names_[added->name] = added->id;
  mailboxes_[added->id] = std::move(mailbox);
  return added;
}

void Registry::SaveMailbox(const LocalMailbox& mailbox) {
  Save(absl::StrCat("mailbox/", mailbox.id), Encode(mailbox)).IgnoreError();
}

void Registry::RemoveMailbox(uint64_t id) {
  const auto it = mailboxes_.find(id);
  if (it == mailboxes_.end()) return;
  LocalMailbox* mailbox = it->second.get();
  for (const std::set<uint32_t>* numbers : {&mailbox->receivers, &mailbox->former_receivers}) {
    for (const uint32_t number : std::set<uint32_t>(*numbers)) RemoveReceiver(mailbox, number);
  }
  while (!mailbox->remote_receivers.empty()) {
    const auto [node, key] = mailbox->remote_receivers.begin()->first;
    RemoveRemoteReceiver(mailbox, node, key);
  }
  if (LocalMailbox* const broadcast = FindMailbox(mailbox->broadcast_mailbox)) {
    broadcast->subscriptions.erase(id);
  }
  mailbox_names_.erase(mailbox->name);
  mailboxes_.erase(it);
  vault_->Drop(absl::StrCat("mailbox/", id));
}

absl::Status Registry::AddReceiver(LocalMailbox* mailbox, LocalProcess* process, bool leases) {
  const bool open = mailbox->receivers.contains(process->number);
  const bool leased = mailbox->leasing.contains(process->number);
  if (open && (leased || !leases)) return absl::OkStatus();
  uint64_t place = open ? 0 : NewId();
  for (const auto& [at, number] : mailbox->order) {
    if (open && number == process->number) place = at;
  }
  if (leases) mailbox->leasing.insert(process->number);
  if (absl::Status status = vault_->Put(ReceiverKey(mailbox->id, process->number),
                                        EncodeReceiver(*mailbox, process->number, place), {});
      !status.ok()) {
    if (!leased) mailbox->leasing.erase(process->number);
    return status;
  }
  mailbox->order[place] = process->number;
  mailbox->receivers.insert(process->number);
  mailbox->former_receivers.erase(process->number);
  process->mailboxes.insert(mailbox->id);
  return absl::OkStatus();
}

void Registry::CloseReceiver(LocalMailbox* mailbox, uint32_t number) {
  if (mailbox->receivers.erase(number) == 0) return;
  LeaveOrder(mailbox, number);
  mailbox->former_receivers.insert(number);
  Save(ReceiverKey(mailbox->id, number), EncodeReceiver(*mailbox, number, 0)).IgnoreError();
}

void Registry::RemoveReceiver(LocalMailbox* mailbox, uint32_t number) {
  if (mailbox->receivers.erase(number) + mailbox->former_receivers.erase(number) == 0) return;
  LeaveOrder(mailbox, number);
  mailbox->leasing.erase(number);
  if (LocalProcess* process = FindProcess(number)) process->mailboxes.erase(mailbox->id);
  vault_->Drop(ReceiverKey(mailbox->id, number));
}

absl::Status Registry::AddRemoteReceiver(LocalMailbox* mailbox, const std::string& node,
                                         uint64_t key, const ProcessId& process, bool leases) {
  if (mailbox->remote_receivers.contains({node, key})) return absl::OkStatus();
  const absl::StatusOr<uint32_t> number = NewNumber();
  if (!number.ok()) return number.status();
  RemoteReceiverEntry entry = {*number, process, leases, 0};
  for (const auto& [name, other] : mailbox->remote_receivers) {
    if (other.process == process) entry.place = other.place;
  }
  // It has none, or all of them are cut off.
  if (entry.place == 0) entry.place = NewId();
  if (absl::Status status = vault_->Put(ReceiverKey(mailbox->id, *number),
                                        EncodeReceiver(mailbox->id, node, key, entry), {});
      !status.ok()) {
    return status;
  }
  mailbox->order.emplace(entry.place, *number);
  mailbox->remote_receivers[{node, key}] = entry;
  owner_names_->Add(*number, process);
  return absl::OkStatus();
}

void Registry::MoveRemoteReceiver(LocalMailbox* mailbox, const std::string& node, uint64_t key,
                                  bool open) {
  RemoteReceiverEntry& entry = mailbox->remote_receivers.at({node, key});
  const uint64_t before = std::exchange(entry.place, 0);
  if (before != 0 && mailbox->CountAt(before) == 0) mailbox->order.erase(before);
  if (open) {
    for (const auto& [name, other] : mailbox->remote_receivers) {
      if (other.process == entry.process) entry.place = std::max(entry.place, other.place);
    }
    if (entry.place == 0) entry.place = NewId();
    mailbox->order.emplace(entry.place, entry.number);
  }
  Save(ReceiverKey(mailbox->id, entry.number), EncodeReceiver(mailbox->id, node, key, entry))
      .IgnoreError();
}

void Registry::RemoveRemoteReceiver(LocalMailbox* mailbox, const std::string& node, uint64_t key) {
  const auto entry = mailbox->remote_receivers.find({node, key});
  if (entry == mailbox->remote_receivers.end()) return;
  const uint64_t place = entry->second.place;
  vault_->Drop(ReceiverKey(mailbox->id, entry->second.number));
  owner_names_->Remove(entry->second.number);
  mailbox->remote_receivers.erase(entry);
  if (mailbox->CountAt(place) == 0) mailbox->order.erase(place);
}

LocalMailbox* Registry::FindMailbox(uint64_t id) {
  const auto it = mailboxes_.find(id);
  return it == mailboxes_.end() ? nullptr : it->second.get();
}

LocalMailbox* Registry::FindMailbox(const std::string& name) {
  const auto it = mailbox_names_.find(name);
  return it == mailbox_names_.end() ? nullptr : FindMailbox(it->second);
}

void Registry::SaveReceivers(const LocalMailbox& mailbox) {
  const auto save = [&](uint32_t number, const state::Receiver& value) {
    vault_->Put(ReceiverKey(mailbox.id, number), value, {}).IgnoreError();
  };
  std::map<uint32_t, uint64_t> places;
  for (const auto& [place, number] : mailbox.order) places[number] = place;
  for (const uint32_t number : mailbox.receivers) {
    save(number, EncodeReceiver(mailbox, number, places[number]));
  }
  for (const uint32_t number : mailbox.former_receivers) {
    save(number, EncodeReceiver(mailbox, number, 0));
  }
  for (const auto& [name, entry] : mailbox.remote_receivers) {
    save(entry.number, EncodeReceiver(mailbox.id, name.first, name.second, entry));
  }
}

}  // namespace mailrail
