#ifndef MAILRAIL_CORE_OBJECTS_FAR_CALLS_H_
#define MAILRAIL_CORE_OBJECTS_FAR_CALLS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/process/process_impl.h"
#include "core/sync/sync_call.h"
#include "mailrail/sync.h"
#include "proto/common.pb.h"

namespace mailrail::internal {

// Where a party of a barrier stands, or one that waits at a condition.
struct FarPlace {
  uint32_t place = 0;
  uint32_t generation = 0;
};

// An object of another node: what this process has of it, and how it asks for it. Each call is done
// by the home's agent (core/sync/sync_call.h), which this host's agent asks. What comes to no
// answer is undone, by this host's agent, as soon as the home is reached.
//
// A holder is a thread, or of a semaphore a permit. Thread-safe.
class FarCalls {
 public:
  // `process` outlives it. `name`: in full; `id`: as granted.
  FarCalls(ProcessImpl* process, uint64_t id, std::string name)
      : process_(process), id_(id), name_(std::move(name)) {}

  // Of a mutex, or a shared mutex; errors as in mailrail/sync.h. `must`: it is not refused for a
  // wait that would never end.
  absl::StatusOr<Grant> Lock(SyncOp lock, bool must, absl::Time deadline);
  absl::Status Unlock(SyncOp unlock);

  // Whether a thread or permit has it, and it is not lost.
  bool HeldBy(uint32_t holder);

  // Of a semaphore.
  struct Permit {
    uint32_t holder = 0;
    uint64_t fence = 0;
  };
  absl::StatusOr<Permit> Acquire(absl::Time deadline);
  absl::Status Release(uint32_t holder);
  absl::Status UseUp(absl::Time deadline);
  absl::Status Add();

  // Of a barrier: waits for all, and returns the generation.
  absl::StatusOr<uint32_t> Pass(absl::Time deadline);

  // Of a condition: `unlock` is called when this thread is among those that wait. Whether it was
  // notified, if unlock succeeded.
  absl::StatusOr<bool> AwaitNotify(const std::function<absl::Status()>& unlock, absl::Time deadline,
                                   absl::Status* why);
  absl::Status Notify(SyncOp notify);

  // Of a semaphore and a barrier; 0 when the home does not answer.
  uint32_t Value();

  // The agent says that all that was held is lost.
  void OnLost();

 private:
  struct Held {
    bool shared = false;
    bool lost = false;
  };

  // Waits until `deadline` where the op does; one that does not is answered soon or not at all.
  absl::StatusOr<proto::ObjectResult> Ask(SyncOp op, uint32_t holder, absl::Time deadline,
                                          bool must = false, FarPlace place = {});
  absl::StatusOr<proto::ObjectResult> AskNow(SyncOp op, uint32_t holder, FarPlace place = {}) {
    return Ask(op, holder, absl::InfinitePast(), /*must=*/false, place);
  }
  absl::StatusOr<proto::ObjectResult> AskOnce(const proto::ObjectOp& op, absl::Time deadline);
  void Undo(const proto::ObjectOp& op);

  // Asks for something, and notes that the holder has it.
  absl::StatusOr<proto::ObjectResult> Get(SyncOp op, uint32_t holder, bool must,
                                          absl::Time deadline);
  // How often what was held was lost.
  uint64_t Losses();
  // Gives it back. kFailedPrecondition when the holder does not have it.
  absl::Status GiveBack(SyncOp op, uint32_t holder);

  uint32_t NewPermit();
  void FreePermit(uint32_t holder);
  absl::Status Destroyed() const;
  absl::Status Lost() const;

  ProcessImpl* const process_;
  const uint64_t id_;
  const std::string name_;
  absl::Mutex mutex_;
  absl::flat_hash_map<uint32_t, Held> held_ ABSL_GUARDED_BY(mutex_);  // by holder
  uint64_t losses_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<uint32_t> free_permits_ ABSL_GUARDED_BY(mutex_);
  uint32_t last_permit_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_OBJECTS_FAR_CALLS_H_
