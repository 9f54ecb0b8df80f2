#ifndef MAILRAIL_CORE_PROCESS_OBJECT_TABLE_H_
#define MAILRAIL_CORE_PROCESS_OBJECT_TABLE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/fd.h"
#include "proto/agent.pb.h"

namespace mailrail::internal {

// A named object that a process has open, once for all of its handles. Its open_id is the table's.
class OpenedObject {
 public:
  virtual ~OpenedObject() = default;

 private:
  friend class ObjectTable;
  uint64_t open_id_ = 0;
};

// The named objects that a process has open. Thread-safe.
class ObjectTable {
 public:
  using Make = absl::FunctionRef<absl::StatusOr<std::shared_ptr<OpenedObject>>()>;

  // The one that was granted: the one that is there, else a new one, by `make`.
  absl::StatusOr<std::shared_ptr<OpenedObject>> Add(const control::ObjectGrant& grant, Make make);

  // The id of the last open of an object that goes, from which on there is none.
  uint64_t Remove(uint64_t object_id, const OpenedObject& object);

 private:
  struct Entry {
    const OpenedObject* object = nullptr;
    std::weak_ptr<OpenedObject> handle;
  };
  absl::Mutex mutex_;
  absl::flat_hash_map<uint64_t, Entry> objects_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_OBJECT_TABLE_H_
