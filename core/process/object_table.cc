#include "core/process/object_table.h"

#include <algorithm>

namespace mailrail::internal {

void ObjectTable::BeginOpening() {
  absl::MutexLock lock(&mutex_);
  ++opening_;
}

ObjectTable::Closed ObjectTable::EndOpening() {
  absl::MutexLock lock(&mutex_);
  --opening_;
  return TakeClosed();
}

absl::StatusOr<std::shared_ptr<OpenedObject>> ObjectTable::Add(const control::ObjectGrant& grant,
                                                               Make make) {
  absl::MutexLock lock(&mutex_);
  Entry& entry = objects_[grant.object_id()];
  entry.open_id = std::max(entry.open_id, grant.open_id());
  if (std::shared_ptr<OpenedObject> object = entry.handle.lock()) return object;
  absl::StatusOr<std::shared_ptr<OpenedObject>> made = make();
  // One that goes at this moment is not the one that is there any more; of one that could not be
  // made nobody else will say so.
  entry.object = made.ok() ? made->get() : nullptr;
  any_closed_ |= !made.ok();
  if (made.ok()) entry.handle = *made;
  return made;
}

void ObjectTable::OnLost(uint64_t object_id) {
  absl::MutexLock lock(&mutex_);
  const auto found = objects_.find(object_id);
  // One that goes is here until it has said so.
  if (found != objects_.end() && found->second.object != nullptr) found->second.object->OnLost();
}

ObjectTable::Closed ObjectTable::Remove(uint64_t object_id, const OpenedObject& object) {
  absl::MutexLock lock(&mutex_);
  const auto found = objects_.find(object_id);
  if (found == objects_.end() || found->second.object != &object) return {};
  found->second.object = nullptr;
  any_closed_ = true;
  return TakeClosed();
}

ObjectTable::Closed ObjectTable::TakeClosed() {
  Closed closed;
  if (opening_ > 0 || !any_closed_) return closed;
  any_closed_ = false;
  absl::erase_if(objects_, [&closed](const auto& entry) {
    if (entry.second.object != nullptr) return false;
    closed.emplace_back();
    closed.back().set_object_id(entry.first);
    closed.back().set_open_id(entry.second.open_id);
    return true;
  });
  return closed;
}

}  // namespace mailrail::internal
