// The registry's named objects, and who has them open.
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/process/grants.h"
#include "core/sync/any_sync.h"
#include "node/agent/registry.h"

namespace mailrail {
namespace {

std::string ObjectKey(uint64_t id) { return absl::StrCat("object/", id); }

std::string UserKey(uint64_t object, uint32_t number) {
  return absl::StrCat("user/", object, "/", number);
}

state::NamedObject Encode(const NamedObject& object) {
  state::NamedObject value;
  value.set_id(object.id);
  value.set_name(object.name);
  *value.mutable_spec() = object.spec;
  return value;
}

state::ObjectUser EncodeUser(uint64_t object, uint32_t number, uint64_t open_id) {
  state::ObjectUser value;
  value.set_object(object);
  value.set_number(number);
  value.set_open_id(open_id);
  return value;
}

}  // namespace

absl::StatusOr<NamedObject*> Registry::AddObject(const std::string& name,
                                                 const proto::ObjectSpec& spec, Fd memory,
                                                 Mapping map) {
  auto object = std::make_unique<NamedObject>();
  object->id = NewId();
  object->name = name;
  object->spec = spec;
  object->memory = std::move(memory);
  object->map = std::move(map);
  if (absl::Status status =
          vault_->Put(ObjectKey(object->id), Encode(*object), {object->memory.get()});
      !status.ok()) {
    return status;
  }
  NamedObject* const added = object.get();
  object_names_[{spec.kind(), name}] = added->id;
  objects_[added->id] = std::move(object);
  return added;
}

void Registry::RemoveObject(uint64_t id) {
  const auto it = objects_.find(id);
  if (it == objects_.end()) return;
  for (const auto& [number, open_id] : it->second->users) vault_->Drop(UserKey(id, number));
  object_names_.erase({it->second->spec.kind(), it->second->name});
  vault_->Drop(ObjectKey(id));
  objects_.erase(it);
}

NamedObject* Registry::FindObject(uint64_t id) {
  const auto it = objects_.find(id);
  return it == objects_.end() ? nullptr : it->second.get();
}

NamedObject* Registry::FindObject(proto::ObjectKind kind, const std::string& name) {
  const auto it = object_names_.find({kind, name});
  return it == object_names_.end() ? nullptr : FindObject(it->second);
}

absl::StatusOr<uint64_t> Registry::AddUser(NamedObject* object, uint32_t number) {
  const uint64_t open_id = NewId();
  if (absl::Status status =
          vault_->Put(UserKey(object->id, number), EncodeUser(object->id, number, open_id), {});
      !status.ok()) {
    return status;
  }
  object->users[number] = open_id;
  return open_id;
}

void Registry::RemoveUser(NamedObject* object, uint32_t number) {
  if (object->users.erase(number) != 0) vault_->Drop(UserKey(object->id, number));
}

absl::Status Registry::RestoreObject(KeptRecord* record) {
  state::NamedObject value;
  if (!value.ParseFromString(record->value) || record->fds.size() != 1) {
    return absl::DataLossError("it is not well-formed");
  }
  auto object = std::make_unique<NamedObject>();
  object->id = value.id();
  object->name = value.name();
  object->spec = value.spec();
  object->memory = std::move(record->fds[0]);
  if (absl::Status status = AnySync::CheckSpec(object->sync_spec()); !status.ok()) return status;
  absl::StatusOr<Mapping> map =
      Mapping::Map(object->memory, AnySync::BytesFor(object->sync_spec()), Access::kReadWrite);
  if (!map.ok()) return map.status();
  object->map = *std::move(map);
  object_names_[{object->spec.kind(), object->name}] = object->id;
  objects_[object->id] = std::move(object);
  return absl::OkStatus();
}

// The keys of objects come before those of their users.
absl::Status Registry::RestoreUser(const KeptRecord& record) {
  state::ObjectUser value;
  if (!value.ParseFromString(record.value)) return absl::DataLossError("it is not well-formed");
  if (FarObject* const far = FindFarObject(value.object())) {
    far->users[value.number()] = {internal::FromProto(value.process()), value.open_id(),
                                  value.home_open_id(), value.epoch()};
    return absl::OkStatus();
  }
  NamedObject* const object = FindObject(value.object());
  if (object == nullptr) return absl::NotFoundError("its object is not there");
  object->users[value.number()] = value.open_id();
  return absl::OkStatus();
}

void Registry::SaveObjects() {
  for (const auto& [id, object] : objects_) {
    vault_->Put(ObjectKey(id), Encode(*object), {object->memory.get()}).IgnoreError();
    for (const auto& [number, open_id] : object->users) {
      vault_->Put(UserKey(id, number), EncodeUser(id, number, open_id), {}).IgnoreError();
    }
  }
}

}  // namespace mailrail
