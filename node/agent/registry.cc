#include "node/agent/registry.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "node/agent/registry_codec.h"

namespace mailrail {
namespace {

constexpr uint32_t kReserve = 256;

// The program of a process, and its pid as it sees itself: for display.
void Describe(int32_t pid, LocalProcess* process) {
  std::ifstream comm(absl::StrCat("/proc/", pid, "/comm"));
  std::getline(comm, process->program);
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string line;
  while (std::getline(status, line)) {
    if (line.rfind("NSpid:", 0) != 0) continue;
    const std::vector<absl::string_view> pids = absl::StrSplit(line, '\t');
    if (!absl::SimpleAtoi(pids.back(), &process->own_pid)) process->own_pid = 0;
  }
}

}  // namespace

Endpoint Endpoint::OfProcess(uint32_t number) {
  Endpoint end;
  end.kind = Kind::kProcess;
  end.number = number;
  return end;
}

Endpoint Endpoint::OfRemoteProcess(const ProcessId& id) {
  Endpoint end;
  end.kind = Kind::kRemoteProcess;
  end.process = id;
  return end;
}

Endpoint Endpoint::OfRemoteMailbox(const std::string& node, const std::string& mailbox) {
  Endpoint end;
  end.kind = Kind::kRemoteMailbox;
  end.node = node;
  end.mailbox = mailbox;
  return end;
}

std::string Endpoint::Key() const {
  switch (kind) {
    case Kind::kProcess:
      return absl::StrCat("p", number);
    case Kind::kAgent:
      return "a";
    case Kind::kRemoteProcess:
      return absl::StrCat("r", process.ToString());
    case Kind::kRemoteMailbox:
      return absl::StrCat("m", mailbox, "@", node);
  }
  return "";
}

std::string Endpoint::Name() const {
  return kind == Kind::kRemoteMailbox ? absl::StrCat("mailbox ", mailbox, "@", node)
                                      : absl::StrCat("process ", process.ToString());
}

void Registry::SaveNode() {
  state::Node value;
  value.set_node(node_);
  value.set_incarnation(incarnation_);
  value.set_numbers_reserved(numbers_reserved_);
  value.set_ids_reserved(ids_reserved_);
  value.set_numbers_wrapped(numbers_wrapped_);
  // Without descriptors, so never refused for want of them.
  vault_->Put("node", value, {}).IgnoreError();
}

uint64_t Registry::NewId() {
  if (++last_id_ > ids_reserved_) {
    ids_reserved_ = last_id_ + kReserve;
    SaveNode();
  }
  return last_id_;
}

absl::StatusOr<LocalProcess*> Registry::AddProcess(int32_t pid, uint32_t uid, Fd socket, Fd pidfd) {
  const absl::StatusOr<uint32_t> number = NewNumber();
  if (!number.ok()) return number.status();
  auto process = std::make_unique<LocalProcess>();
  process->number = *number;
  process->id = ProcessId(node_, pid, *number);
  process->uid = uid;
  process->inbox_id = NewId();
  process->socket = std::move(socket);
  process->pidfd = std::move(pidfd);
  Describe(pid, process.get());
  absl::StatusOr<Destination> inbox = Destination::Create("mailrail.inbox");
  if (!inbox.ok()) return inbox.status();
  process->inbox = *std::move(inbox);
  std::vector<int> fds = {process->socket.get(), process->pidfd.get()};
  for (const int fd : process->inbox.fds()) fds.push_back(fd);
  if (absl::Status status = vault_->Put(absl::StrCat("process/", *number), Encode(*process), fds);
      !status.ok()) {
    return status;
  }
  LocalProcess* added = process.get();
  owner_names_->Add(*number, added->id);
  processes_[*number] = std::move(process);
  return added;
}

absl::Status Registry::Save(absl::string_view key, const google::protobuf::MessageLite& value) {
  const absl::Status status = vault_->PutValue(key, value);
  if (!status.ok()) log_(absl::StrCat("cannot keep ", key, ": ", status.ToString()));
  return status;
}

absl::Status Registry::SaveProcess(const LocalProcess& process) {
  return Save(absl::StrCat("process/", process.number), Encode(process));
}

void Registry::RemoveProcess(uint32_t number) {
  const auto it = processes_.find(number);
  if (it == processes_.end()) return;
  for (const std::string& name : it->second->names) names_.erase(name);
  processes_.erase(it);
  owner_names_->Remove(number);
  vault_->Drop(absl::StrCat("process/", number));
}

LocalProcess* Registry::FindProcess(uint32_t number) {
  const auto it = processes_.find(number);
  return it == processes_.end() ? nullptr : it->second.get();
}

LocalProcess* Registry::FindProcess(const ProcessId& id) {
  if (id.incarnation() != 0) {
    if (id.incarnation() > kMaxNumber) return nullptr;
    LocalProcess* process = FindProcess(static_cast<uint32_t>(id.incarnation()));
    return process != nullptr && process->id.pid() == id.pid() ? process : nullptr;
  }
  // The latest life of the pid; a program that attached twice has two.
  for (auto it = processes_.rbegin(); it != processes_.rend(); ++it) {
    if (it->second->id.pid() == id.pid()) return it->second.get();
  }
  return nullptr;
}

LocalProcess* Registry::FindName(const std::string& name) {
  const auto it = names_.find(name);
  return it == names_.end() ? nullptr : FindProcess(it->second);
}

absl::Status Registry::AddName(LocalProcess* process, const std::string& name) {
  LocalProcess* holder = FindName(name);
  if (holder == process) return absl::OkStatus();
  if (holder != nullptr) {
    return absl::AlreadyExistsError(
        absl::StrCat("the name '", name, "' belongs to process ", holder->id.ToString()));
  }
  process->names.insert(name);
  if (!SaveProcess(*process).ok()) {
    process->names.erase(name);
    return absl::ResourceExhaustedError(
        absl::StrCat("process ", process->id.ToString(), " has too many names"));
  }
  names_[name] = process->number;
  return absl::OkStatus();
}

void Registry::SavePeer(const std::string& node, uint64_t incarnation) {
  peer_incarnations_[node] = incarnation;
  state::Peer value;
  value.set_node(node);
  value.set_incarnation(incarnation);
  vault_->Put(absl::StrCat("peer/", node), value, {}).IgnoreError();
}

}  // namespace mailrail
