#include "node/agent/objects.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "node/agent/limits.h"
#include "node/directory/unknown_name.h"

namespace mailrail {
namespace {

// Of one object, for display, and for the graph.
constexpr uint32_t kHoldersShown = 64;
constexpr uint32_t kHoldersFollowed = 1025;

// Who waits for one of these waits for all who hold it.
bool IsLock(const NamedObject& object) {
  return object.spec.kind() == proto::MUTEX || object.spec.kind() == proto::SHARED_MUTEX;
}

// That a token of a lock that is made anew is above all of the one before: nobody takes a lock more
// often than once in a nanosecond.
uint64_t FirstFence() { return static_cast<uint64_t>(absl::ToUnixNanos(absl::Now())); }

}  // namespace

absl::StatusOr<NamedObject*> Objects::Make(const std::string& name, const proto::ObjectSpec& spec) {
  if (registry_->objects().size() >= kMaxObjects) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this node has ", kMaxObjects, " named objects already"));
  }
  const SyncSpec sync = {static_cast<SyncKind>(spec.kind()), spec.limit(), spec.initial()};
  if (absl::Status status = AnySync::CheckSpec(sync); !status.ok()) return status;
  const size_t bytes = AnySync::BytesFor(sync);
  size_t all = bytes;
  for (const auto& [id, object] : registry_->objects()) all += object->map.size();
  if (all > kMaxObjectBytes) {
    return absl::ResourceExhaustedError(absl::StrCat("the named objects of this node have ",
                                                     kMaxObjectBytes >> 20, " MiB already"));
  }
  absl::StatusOr<Fd> memory = CreateMemory("mailrail.object", bytes);
  if (!memory.ok()) return memory.status();
  absl::StatusOr<Mapping> map = Mapping::Map(*memory, bytes, Access::kReadWrite);
  if (!map.ok()) return map.status();
  AnySync::Format(map->data(), sync, FirstFence());
  return registry_->AddObject(name, spec, *std::move(memory), *std::move(map));
}

absl::StatusOr<Objects::Opened> Objects::Open(uint32_t number, const std::string& name,
                                              const proto::ObjectSpec& spec, bool create) {
  Opened opened;
  opened.object = registry_->FindObject(spec.kind(), name);
  if (opened.object == nullptr) {
    if (!create) return UnknownObject(spec.kind(), name, registry_->node());
    absl::StatusOr<NamedObject*> made = Make(name, spec);
    if (!made.ok()) return made.status();
    opened.object = *made;
    opened.created = true;
  } else if (spec.limit() != 0 && spec.limit() != opened.object->spec.limit()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the ", KindName(spec.kind()), " '", name, "' was made for ",
                     opened.object->spec.limit(), ", not for ", spec.limit()));
  }
  const absl::StatusOr<uint64_t> open_id = registry_->AddUser(opened.object, number);
  if (!open_id.ok()) {
    if (opened.object->users.empty() && opened.object->spec.transient()) Remove(opened.object);
    return open_id.status();
  }
  opened.open_id = *open_id;
  return opened;
}

absl::StatusOr<std::vector<Fd>> Objects::Open(uint32_t number, const std::string& name,
                                              const control::OpenObject& open,
                                              control::ObjectGrant* grant) {
  const NamedObject* const known = registry_->FindObject(open.spec().kind(), name);
  const bool had = known != nullptr && known->users.contains(number);
  const absl::StatusOr<Opened> opened = Open(number, name, open.spec(), open.create());
  if (!opened.ok()) return opened.status();
  NamedObject* const object = opened->object;
  std::vector<Fd> fds;
  fds.push_back(object->memory.Duplicate());
  if (!fds[0].valid()) {
    if (!had) Release(object, number);
    return OutOfDescriptors();
  }
  grant->set_object_id(object->id);
  grant->set_open_id(opened->open_id);
  *grant->mutable_spec() = object->spec;
  grant->set_name(name);
  grant->set_created(opened->created);
  return fds;
}

bool Objects::Close(uint32_t number, uint64_t object_id, uint64_t open_id) {
  NamedObject* const object = registry_->FindObject(object_id);
  if (object == nullptr) return false;
  const auto user = object->users.find(number);
  if (user == object->users.end() || user->second != open_id) return false;
  Release(object, number);
  return true;
}

absl::Status Objects::Destroy(proto::ObjectKind kind, const std::string& name, uint64_t object_id) {
  NamedObject* const object = registry_->FindObject(kind, name);
  if (object == nullptr || (object_id != 0 && object->id != object_id)) {
    return UnknownObject(kind, name, registry_->node());
  }
  Remove(object);
  return absl::OkStatus();
}

void Objects::Remove(NamedObject* object) {
  object->view().Close();
  far_.on_removed(object->id);
  waits_.RemoveObject(object->id);
  registry_->RemoveObject(object->id);
}

void Objects::Release(NamedObject* object, uint32_t number) {
  // First: an agent that dies in between finds it among the users yet.
  object->view().RemoveHolder(number);
  registry_->RemoveUser(object, number);
  if (object->users.empty() && object->spec.transient()) Remove(object);
}

bool Objects::Uses(uint32_t number, uint64_t except) const {
  for (const auto& [id, object] : registry_->objects()) {
    if (id != except && object->users.contains(number)) return true;
  }
  return false;
}

void Objects::OnProcessGone(uint32_t number) {
  waits_.RemoveProcess(number);
  std::erase_if(refused_, [number](const auto& entry) { return entry.first.first == number; });
  std::vector<uint64_t> used;
  for (const auto& [id, object] : registry_->objects()) {
    if (object->users.contains(number)) used.push_back(id);
  }
  for (const uint64_t id : used) Release(registry_->FindObject(id), number);
}

void Objects::Resume() {
  std::set<uint32_t> gone;
  for (const auto& [id, object] : registry_->objects()) {
    for (const auto& [number, open_id] : object->users) {
      if (!registry_->MayHold(number)) gone.insert(number);
    }
  }
  for (const uint32_t number : gone) OnProcessGone(number);
  std::vector<uint64_t> unused;
  for (const auto& [id, object] : registry_->objects()) {
    if (object->users.empty() && object->spec.transient()) unused.push_back(id);
  }
  for (const uint64_t id : unused) Remove(registry_->FindObject(id));
}

std::vector<Hold> Objects::Blockers(Holder who, uint64_t id, bool shared) const {
  const NamedObject* const object = registry_->FindObject(id);
  if (object == nullptr || !IsLock(*object)) return {};
  std::vector<Hold> blockers;
  for (const Hold& hold : object->view().Holds(kHoldersFollowed)) {
    // One that reads waits no more, and has not said so yet; or it looks whether it may read.
    // Readers do not wait for readers, nor one that has the right to write, and waits for readers
    // to leave, for itself.
    if (hold.shared && hold.holder == who) return {};
    if (shared && hold.shared) continue;
    if (!hold.shared && hold.holder == who) continue;
    blockers.push_back(hold);
  }
  return blockers;
}

absl::optional<proto::ThreadWait> Objects::WaitOf(Holder who) const {
  const WaitGraph::Wait* const wait = waits_.Find(who, absl::Now());
  if (wait == nullptr) return absl::nullopt;
  const NamedObject* const object = registry_->FindObject(wait->object);
  if (object == nullptr || !IsLock(*object)) return absl::nullopt;
  proto::ThreadWait found;
  found.set_home(registry_->node());
  found.set_object_id(object->id);
  found.set_kind(object->spec.kind());
  found.set_name(object->name);
  found.set_shared(wait->shared);
  found.set_must(wait->must);
  found.set_serial(static_cast<uint64_t>(absl::ToUnixNanos(wait->began)));
  return found;
}

void Objects::Refuse(Holder who, uint64_t serial, absl::Status why) {
  refused_[{who.number, who.thread}] = {serial, std::move(why)};
}

absl::Status Objects::Wait(const LocalProcess& process, const control::WaitForObject& wait) {
  const NamedObject* const object = registry_->FindObject(wait.object_id());
  if (wait.thread() > Holder::kLargest) {
    return absl::InvalidArgumentError("there is no such thread");
  }
  if (object == nullptr || !object->users.contains(process.number)) {
    return absl::NotFoundError("no such object is open");
  }
  // One that runs on though its connection has ended may have taken it after that.
  object->view().RemoveHolders([this, object](uint32_t number) {
    return !object->users.contains(number) || !registry_->MayHold(number);
  });
  const Holder who = {process.number, wait.thread()};
  const absl::Time now = absl::Now();
  if (!waits_.Add(who, object->id, wait.shared(), now, wait.must())) {
    return absl::ResourceExhaustedError("too many threads of this process wait");
  }
  if (!IsLock(*object)) return absl::OkStatus();  // for display
  if (const auto refused = refused_.find({who.number, who.thread}); refused != refused_.end()) {
    const Refusal refusal = refused->second;
    refused_.erase(refused);
    if (refusal.serial == WaitOf(who)->serial()) {
      waits_.Remove(who);
      return refusal.why;
    }
  }
  const std::vector<WaitGraph::Step> cycle =
      waits_.FindCycle(who, now, [this](Holder waiter, uint64_t of, bool shared) {
        std::vector<Holder> holders;
        for (const Hold& hold : Blockers(waiter, of, shared)) holders.push_back(hold.holder);
        return holders;
      });
  // One that has to go on waiting leaves it to the others, who look again.
  if (cycle.empty() || wait.must()) return absl::OkStatus();
  waits_.Remove(who);
  return absl::FailedPreconditionError(InWords(cycle));
}

std::string Objects::NameOf(Holder holder) {
  const ProcessId process = registry_->owner_names()->NameOf(holder.number);
  return absl::StrCat("thread ", holder.thread, " of ",
                      process.pid() == 0 ? "a process that is gone" : process.ToString());
}

std::string Objects::InWords(const std::vector<WaitGraph::Step>& cycle) {
  std::string words = "this wait would never end: ";
  for (size_t i = 0; i < cycle.size(); ++i) {
    const NamedObject* const object = registry_->FindObject(cycle[i].object);
    const Holder holder = cycle[(i + 1) % cycle.size()].who;
    absl::StrAppend(&words, i == 0 ? "" : "; ", NameOf(cycle[i].who), " waits for ",
                    object == nullptr ? "" : KindName(object->spec.kind()), " '",
                    object == nullptr ? "" : object->name, "', which ", NameOf(holder), " holds");
  }
  return words;
}

control::ObjectRow Objects::Describe(const NamedObject& object) {
  control::ObjectRow row;
  row.set_name(object.name);
  *row.mutable_spec() = object.spec;
  row.set_users(static_cast<uint32_t>(object.users.size()));
  row.set_value(object.view().Value());
  const auto add = [this](Holder holder, bool shared, auto* rows) {
    control::ObjectHolder* const added = rows->Add();
    internal::ToProto(registry_->owner_names()->NameOf(holder.number),
                      added->mutable_thread()->mutable_process());
    added->mutable_thread()->set_thread(holder.thread);
    added->set_shared(shared);
  };
  for (const Hold& hold : object.view().Holds(kHoldersShown)) {
    add(hold.holder, hold.shared, row.mutable_holders());
  }
  for (const auto& [holder, wait] : waits_.WaitersOf(object.id, absl::Now())) {
    if (row.waiters_size() < static_cast<int>(kHoldersShown)) {
      add(holder, wait.shared, row.mutable_waiters());
    }
  }
  for (const auto& [holder, shared] : far_.waiters(object.id)) {
    if (row.waiters_size() < static_cast<int>(kHoldersShown)) {
      add(holder, shared, row.mutable_waiters());
    }
  }
  return row;
}

}  // namespace mailrail
