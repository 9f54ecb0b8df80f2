#include "core/process/object_table.h"

#include <algorithm>

namespace mailrail::internal {

absl::StatusOr<std::shared_ptr<OpenedObject>> ObjectTable::Add(const control::ObjectGrant& grant,
                                                               Make make) {
  absl::MutexLock lock(&mutex_);
  const auto found = objects_.find(grant.object_id());
  std::shared_ptr<OpenedObject> object;
  if (found != objects_.end()) object = found->second.handle.lock();
  if (object == nullptr) {
    absl::StatusOr<std::shared_ptr<OpenedObject>> made = make();
    if (!made.ok()) return made;
    object = *std::move(made);
    // One that goes at this moment does not find itself here any more.
    objects_[grant.object_id()] = {object.get(), object};
  }
  object->open_id_ = std::max(object->open_id_, grant.open_id());
  return object;
}

uint64_t ObjectTable::Remove(uint64_t object_id, const OpenedObject& object) {
  absl::MutexLock lock(&mutex_);
  const auto found = objects_.find(object_id);
  if (found != objects_.end() && found->second.object == &object) objects_.erase(found);
  return object.open_id_;
}

}  // namespace mailrail::internal
