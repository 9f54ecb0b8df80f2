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
#include "proto/agent.pb.h"

namespace mailrail::internal {

// A named object that a process has open, once for all of its handles.
class OpenedObject {
 public:
  virtual ~OpenedObject() = default;
  // What this process held of it is lost. Calls nobody.
  virtual void OnLost() {}
};

// The named objects that a process has open. The agent knows of one user for all handles of a
// process, and each open has a number larger than all before it: a close that names an earlier one
// closes nothing. So nothing is closed while something is being opened, which may be the same.
// Thread-safe.
class ObjectTable {
 public:
  // What the agent is to be told: that nobody here has an object open any more.
  using Closed = std::vector<control::CloseObject>;

  // Around each open, from before the agent is asked until its answer is in the table. End returns
  // what was to be closed meanwhile, and is not open.
  void BeginOpening();
  Closed EndOpening();

  // The one that was granted: the one that is there, else a new one, by `make`.
  using Make = absl::FunctionRef<absl::StatusOr<std::shared_ptr<OpenedObject>>()>;
  absl::StatusOr<std::shared_ptr<OpenedObject>> Add(const control::ObjectGrant& grant, Make make);

  // What was held of one is lost.
  void OnLost(uint64_t object_id);

  // An object goes.
  Closed Remove(uint64_t object_id, const OpenedObject& object);

 private:
  struct Entry {
    uint64_t open_id = 0;            // the last one
    OpenedObject* object = nullptr;  // null: it is to be closed
    std::weak_ptr<OpenedObject> handle;
  };
  // Takes out what is to be closed, unless something is being opened.
  Closed TakeClosed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  int opening_ ABSL_GUARDED_BY(mutex_) = 0;
  bool any_closed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_map<uint64_t, Entry> objects_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_OBJECT_TABLE_H_
