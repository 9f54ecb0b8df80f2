#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "core/objects/sync_object.h"
#include "core/objects/waiting.h"
#include "core/sync/mutex_memory.h"
#include "mailrail/sync.h"

namespace mailrail {

using internal::SyncObject;
using internal::Waiting;

Mutex::Mutex(std::shared_ptr<SyncObject> object) : object_(std::move(object)) {}
Mutex::Mutex(Mutex&&) noexcept = default;
Mutex& Mutex::operator=(Mutex&&) noexcept = default;
Mutex::~Mutex() = default;

absl::StatusOr<Mutex> Mutex::Open(Process& process, absl::string_view name,
                                  const OpenOptions& options, absl::Time deadline) {
  absl::StatusOr<std::shared_ptr<SyncObject>> object =
      SyncObject::Open(process, name, {SyncKind::kMutex}, options, deadline);
  if (!object.ok()) return object.status();
  return Mutex(*std::move(object));
}

absl::Status Mutex::Destroy(Process& process, absl::string_view name, absl::Time deadline) {
  return SyncObject::Destroy(process, name, SyncKind::kMutex, deadline);
}

namespace {

// Apart, so that Lock's own frame is small.
ABSL_ATTRIBUTE_NOINLINE absl::Status AwaitMutex(SyncObject* object, MutexMemory memory, Holder me,
                                                Waiting::Told told, absl::Time deadline,
                                                Acquired* acquired) {
  Waiting waiting(object, told, /*shared=*/false, deadline);
  return internal::Await(
      &waiting,
      [&](bool has_slept) {
        if (memory.closed()) return true;
        *acquired = memory.TryLock(me, has_slept);
        return *acquired != Acquired::kNo;
      },
      [&] { return memory.Park(); }, [&] { memory.WakeOne(); });
}

ABSL_ATTRIBUTE_NOINLINE absl::Status HeldAlready(const SyncObject& object) {
  return absl::FailedPreconditionError(
      absl::StrCat("this thread has the mutex '", object.name(), "' already"));
}

inline absl::StatusOr<Grant> LockMutex(SyncObject* object, Waiting::Told told,
                                       absl::Time deadline) {
  if (absl::Status status = object->CheckUsable(); ABSL_PREDICT_FALSE(!status.ok())) {
    return status;
  }
  if (internal::FarCalls* const far = object->far(); ABSL_PREDICT_FALSE(far != nullptr)) {
    return far->Lock(SyncOp::kLock, told == Waiting::Told::kMust, deadline);
  }
  MutexMemory memory = object->As<MutexMemory>();
  const Holder me = object->ThisThread();
  Acquired acquired = memory.TryLock(me, /*has_slept=*/false);
  if (ABSL_PREDICT_FALSE(acquired == Acquired::kNo)) {
    const absl::Status status = AwaitMutex(object, memory, me, told, deadline, &acquired);
    if (!status.ok()) return status;
  }
  if (ABSL_PREDICT_FALSE(acquired == Acquired::kHeldBySelf)) return HeldAlready(*object);
  if (ABSL_PREDICT_FALSE(memory.closed())) {
    memory.Unlock(me);
    return object->Destroyed();
  }
  const uint64_t fence = memory.Fence(me);
  if (ABSL_PREDICT_FALSE(fence == 0)) return object->WhyLost();
  return Grant{fence, acquired == Acquired::kAfterDeath};
}

}  // namespace

absl::StatusOr<Grant> Mutex::Lock(absl::Time deadline) {
  return LockMutex(object_.get(), Waiting::Told::kAll, deadline);
}

absl::StatusOr<Grant> Mutex::LockAgain() {
  return LockMutex(object_.get(), Waiting::Told::kMust, absl::InfiniteFuture());
}

absl::Status Mutex::Unlock() {
  if (absl::Status status = object_->CheckUsable(); ABSL_PREDICT_FALSE(!status.ok())) {
    return status;
  }
  if (internal::FarCalls* const far = object_->far(); ABSL_PREDICT_FALSE(far != nullptr)) {
    return far->Unlock(SyncOp::kUnlock);
  }
  if (ABSL_PREDICT_TRUE(object_->As<MutexMemory>().Unlock(object_->ThisThread()))) {
    return absl::OkStatus();
  }
  return object_->WhyLost();
}

bool Mutex::HeldByThisThread() const {
  if (!object_->CheckUsable().ok()) return false;
  if (internal::FarCalls* const far = object_->far())
    return far->HeldBy(object_->ThisThread().thread);
  return object_->As<MutexMemory>().HeldBy(object_->ThisThread());
}

}  // namespace mailrail
