// The registry's objects of other nodes, and users from other nodes.
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "node/agent/limits.h"
#include "node/agent/registry.h"

namespace mailrail {
namespace {

std::string ObjectKey(uint64_t id) { return absl::StrCat("far-object/", id); }
std::string UserKey(uint64_t object, uint32_t number) {
  return absl::StrCat("user/", object, "/", number);
}
std::string FarUserKey(uint32_t number) { return absl::StrCat("far-user/", number); }
std::string SettlingKey(uint64_t id) { return absl::StrCat("settling/", id); }
std::string HomeKey(const std::string& node) { return absl::StrCat("far-home/", node); }

state::FarObject Encode(const FarObject& object) {
  state::FarObject value;
  value.set_id(object.id);
  value.set_node(object.node);
  value.set_object_id(object.object_id);
  value.set_name(object.name);
  *value.mutable_spec() = object.spec;
  return value;
}

state::ObjectUser EncodeUser(uint64_t object, uint32_t number, const FarObject::User& user) {
  state::ObjectUser value;
  value.set_object(object);
  value.set_number(number);
  value.set_open_id(user.open_id);
  internal::ToProto(user.process, value.mutable_process());
  value.set_home_open_id(user.home_open_id);
  value.set_epoch(user.epoch);
  return value;
}

state::FarUser Encode(const FarUser& user) {
  state::FarUser value;
  value.set_number(user.number);
  internal::ToProto(user.process, value.mutable_process());
  value.set_epoch(user.epoch);
  return value;
}

state::Settling Encode(const Settling& settling) {
  state::Settling value;
  value.set_id(settling.id);
  value.set_node(settling.node);
  if (settling.op.has_op()) *value.mutable_op() = settling.op;
  if (settling.close.has_process()) *value.mutable_close() = settling.close;
  return value;
}

state::FarHome Encode(const std::string& node, const HomeState& home) {
  state::FarHome value;
  value.set_node(node);
  value.set_epoch(home.epoch);
  value.set_valid_until_us(absl::ToUnixMicros(home.valid_until));
  return value;
}

}  // namespace

absl::StatusOr<FarObject*> Registry::AddFarObject(const std::string& node, uint64_t object_id,
                                                  const std::string& name,
                                                  const proto::ObjectSpec& spec) {
  if (FarObject* const known = FindFarObject(node, object_id)) return known;
  if (far_objects_.size() >= kMaxObjects) {
    return absl::ResourceExhaustedError(
        absl::StrCat("processes of this node use ", kMaxObjects, " objects of others already"));
  }
  FarObject object = {NewId(), node, object_id, name, spec, {}};
  if (absl::Status status = vault_->Put(ObjectKey(object.id), Encode(object), {}); !status.ok()) {
    return status;
  }
  far_object_ids_[{node, object_id}] = object.id;
  return &(far_objects_[object.id] = std::move(object));
}

FarObject* Registry::FindFarObject(uint64_t id) {
  const auto it = far_objects_.find(id);
  return it == far_objects_.end() ? nullptr : &it->second;
}

FarObject* Registry::FindFarObject(const std::string& node, uint64_t object_id) {
  const auto it = far_object_ids_.find({node, object_id});
  return it == far_object_ids_.end() ? nullptr : FindFarObject(it->second);
}

absl::Status Registry::SetUser(FarObject* object, uint32_t number, const FarObject::User& user) {
  if (absl::Status status =
          vault_->Put(UserKey(object->id, number), EncodeUser(object->id, number, user), {});
      !status.ok()) {
    return status;
  }
  object->users[number] = user;
  return absl::OkStatus();
}

void Registry::RemoveUser(FarObject* object, uint32_t number) {
  if (object->users.erase(number) != 0) vault_->Drop(UserKey(object->id, number));
  if (!object->users.empty()) return;
  vault_->Drop(ObjectKey(object->id));
  if (object->object_id != 0) far_object_ids_.erase({object->node, object->object_id});
  far_objects_.erase(object->id);
}

void Registry::ForgetFarIds(const std::string& node) {
  for (auto& [id, object] : far_objects_) {
    if (object.node != node || object.object_id == 0) continue;
    far_object_ids_.erase({node, object.object_id});
    object.object_id = 0;
    vault_->Put(ObjectKey(id), Encode(object), {}).IgnoreError();
  }
}

void Registry::SetHome(const std::string& node, const HomeState& state) {
  homes_[node] = state;
  vault_->Put(HomeKey(node), Encode(node, state), {}).IgnoreError();
}

absl::StatusOr<const Settling*> Registry::AddSettling(Settling settling) {
  settling.id = NewId();
  // Without it an agent after this one does not know of it.
  if (absl::Status status = vault_->Put(SettlingKey(settling.id), Encode(settling), {});
      !status.ok()) {
    return status;
  }
  const uint64_t id = settling.id;
  return &(settlings_[id] = std::move(settling));
}

void Registry::RemoveSettling(uint64_t id) {
  if (settlings_.erase(id) != 0) vault_->Drop(SettlingKey(id));
}

absl::StatusOr<FarUser*> Registry::AddFarUser(const ProcessId& process, uint64_t epoch) {
  if (FarUser* const known = FindFarUser(process)) return known;
  if (far_users_.size() >= kMaxFarUsers) {
    return absl::ResourceExhaustedError(absl::StrCat(
        kMaxFarUsers, " processes of other nodes use objects of node ", node_, " already"));
  }
  const absl::StatusOr<uint32_t> number = NewNumber();
  if (!number.ok()) return number.status();
  const FarUser user = {*number, process, epoch};
  if (absl::Status status = vault_->Put(FarUserKey(*number), Encode(user), {}); !status.ok()) {
    return status;
  }
  owner_names_->Add(*number, process);
  far_numbers_[process] = *number;
  return &(far_users_[*number] = user);
}

FarUser* Registry::FindFarUser(uint32_t number) {
  const auto it = far_users_.find(number);
  return it == far_users_.end() ? nullptr : &it->second;
}

FarUser* Registry::FindFarUser(const ProcessId& process) {
  const auto it = far_numbers_.find(process);
  return it == far_numbers_.end() ? nullptr : FindFarUser(it->second);
}

void Registry::RemoveFarUser(uint32_t number) {
  const auto it = far_users_.find(number);
  if (it == far_users_.end()) return;
  vault_->Drop(FarUserKey(number));
  owner_names_->Remove(number);
  far_numbers_.erase(it->second.process);
  far_users_.erase(it);
}

absl::Status Registry::RestoreFar(const KeptRecord& record, absl::string_view kind) {
  const absl::Status malformed = absl::DataLossError("it is not well-formed");
  if (kind == "far-object") {
    state::FarObject value;
    if (!value.ParseFromString(record.value)) return malformed;
    if (value.object_id() != 0) far_object_ids_[{value.node(), value.object_id()}] = value.id();
    far_objects_[value.id()] = {value.id(),   value.node(), value.object_id(),
                                value.name(), value.spec(), {}};
  } else if (kind == "far-home") {
    state::FarHome value;
    if (!value.ParseFromString(record.value)) return malformed;
    homes_[value.node()] = {value.epoch(), absl::FromUnixMicros(value.valid_until_us())};
  } else if (kind == "far-user") {
    state::FarUser value;
    if (!value.ParseFromString(record.value)) return malformed;
    const ProcessId process = internal::FromProto(value.process());
    owner_names_->Add(value.number(), process);
    far_numbers_[process] = value.number();
    far_users_[value.number()] = {value.number(), process, value.epoch()};
  } else {
    state::Settling value;
    if (!value.ParseFromString(record.value)) return malformed;
    settlings_[value.id()] = {value.id(), value.node(), value.op(), value.close()};
  }
  return absl::OkStatus();
}

void Registry::SaveFar() {
  for (const auto& [id, object] : far_objects_) {
    vault_->Put(ObjectKey(id), Encode(object), {}).IgnoreError();
    for (const auto& [number, user] : object.users) {
      vault_->Put(UserKey(id, number), EncodeUser(id, number, user), {}).IgnoreError();
    }
  }
  for (const auto& [node, home] : homes_) {
    vault_->Put(HomeKey(node), Encode(node, home), {}).IgnoreError();
  }
  for (const auto& [number, user] : far_users_) {
    vault_->Put(FarUserKey(number), Encode(user), {}).IgnoreError();
  }
  for (const auto& [id, settling] : settlings_) {
    vault_->Put(SettlingKey(id), Encode(settling), {}).IgnoreError();
  }
}

}  // namespace mailrail
