#ifndef MAILRAIL_CORE_OBJECTS_SYNC_OBJECT_H_
#define MAILRAIL_CORE_OBJECTS_SYNC_OBJECT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/objects/far_calls.h"
#include "core/objects/thread_number.h"
#include "core/process/object_table.h"
#include "core/process/process_impl.h"
#include "core/shm/memory.h"
#include "core/sync/any_sync.h"
#include "mailrail/sync.h"

namespace mailrail::internal {

// A mutex, shared mutex, semaphore, condition or barrier that a process has open: its memory, or if
// it is one of another node the way there, and the way to the agent. Thread-safe.
class SyncObject : public OpenedObject {
 public:
  // Errors as of Open in mailrail/sync.h.
  static absl::StatusOr<std::shared_ptr<SyncObject>> Open(Process& process, absl::string_view name,
                                                          const SyncSpec& spec,
                                                          const OpenOptions& options,
                                                          absl::Time deadline);
  static absl::Status Destroy(Process& process, absl::string_view name, SyncKind kind,
                              absl::Time deadline);

  // Use Open.
  SyncObject(std::shared_ptr<ProcessImpl> process, const control::ObjectGrant& grant, Mapping map)
      : process_(std::move(process)),
        id_(grant.object_id()),
        number_(process_->number()),
        name_(grant.name()),
        limit_(grant.spec().limit()),
        map_(std::move(map)),
        far_(grant.home().empty() ? nullptr
                                  : std::make_unique<FarCalls>(process_.get(), id_, grant.name())) {
  }
  // Tells the agent, which takes what the process holds of it.
  ~SyncObject() override;

  absl::Status CheckUsable() const { return process_->CheckUsable(); }
  ProcessImpl& process() { return *process_; }
  uint64_t id() const { return id_; }
  const std::string& name() const { return name_; }
  uint32_t limit() const { return limit_; }

  // Not null: it is of another node, and has no memory here.
  FarCalls* far() const { return far_.get(); }
  void OnLost() override {
    if (far_ != nullptr) far_->OnLost();
  }

  // REQUIRES: of this kind, and of this node.
  template <typename Memory>
  Memory As() const {
    return Memory(map_.data(), map_.size());
  }
  Holder ThisThread() const { return {number_, ThreadNumber()}; }

  // Where a reader of a shared mutex stands, by thread.
  void SetCell(uint32_t thread, uint32_t cell);
  // And none from now on; false when it does not read.
  bool TakeCell(uint32_t thread, uint32_t* cell);

  // Why something that a thread has had is not its own any more.
  absl::Status WhyLost() const;
  absl::Status Destroyed() const;

 private:
  const std::shared_ptr<ProcessImpl> process_;
  const uint64_t id_;
  const uint32_t number_;
  const std::string name_;
  const uint32_t limit_;
  const Mapping map_;
  const std::unique_ptr<FarCalls> far_;
  absl::Mutex mutex_;
  absl::flat_hash_map<uint32_t, uint32_t> cells_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_OBJECTS_SYNC_OBJECT_H_
