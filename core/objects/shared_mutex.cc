#include <utility>

#include "absl/strings/str_cat.h"
#include "core/objects/sync_object.h"
#include "core/objects/waiting.h"
#include "core/sync/shared_mutex_memory.h"
#include "mailrail/sync.h"

namespace mailrail {
namespace {

using internal::SyncObject;
using internal::Waiting;

absl::Status HeldBySelf(const SyncObject& object) {
  return absl::FailedPreconditionError(
      absl::StrCat("this thread has the shared mutex '", object.name(), "' already"));
}

}  // namespace

SharedMutex::SharedMutex(std::shared_ptr<SyncObject> object) : object_(std::move(object)) {}
SharedMutex::SharedMutex(SharedMutex&&) noexcept = default;
SharedMutex& SharedMutex::operator=(SharedMutex&&) noexcept = default;
SharedMutex::~SharedMutex() = default;

absl::StatusOr<SharedMutex> SharedMutex::Open(Process& process, absl::string_view name,
                                              const OpenOptions& options, absl::Time deadline) {
  absl::StatusOr<std::shared_ptr<SyncObject>> object =
      SyncObject::Open(process, name, {SyncKind::kSharedMutex}, options, deadline);
  if (!object.ok()) return object.status();
  return SharedMutex(*std::move(object));
}

absl::Status SharedMutex::Destroy(Process& process, absl::string_view name, absl::Time deadline) {
  return SyncObject::Destroy(process, name, SyncKind::kSharedMutex, deadline);
}

absl::StatusOr<Grant> SharedMutex::Lock(absl::Time deadline) {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr)
    return object_->far()->Lock(SyncOp::kLock, /*must=*/false, deadline);
  SharedMutexMemory memory = object_->As<SharedMutexMemory>();
  const Holder me = object_->ThisThread();
  if (memory.ReadBy(me)) return HeldBySelf(*object_);
  Waiting waiting(object_.get(), Waiting::Told::kAll, /*shared=*/false, deadline);
  const auto park = [&] { return memory.Park(); };
  const auto wake = [&] { memory.WakeAll(); };
  // First the right to be the next that writes, then that all readers leave.
  Acquired acquired = memory.TryLock(me);
  if (acquired == Acquired::kNo) {
    const absl::Status status = internal::Await(
        &waiting,
        [&](bool) {
          if (memory.closed()) return true;
          acquired = memory.TryLock(me);
          return acquired != Acquired::kNo;
        },
        park, wake);
    if (!status.ok()) return status;
  }
  if (acquired == Acquired::kHeldBySelf) return HeldBySelf(*object_);
  const bool died = acquired == Acquired::kAfterDeath;
  if (acquired != Acquired::kNo && !memory.Drained()) {
    const absl::Status status = internal::Await(
        &waiting, [&](bool) { return memory.Drained() || memory.closed(); }, park, wake);
    if (!status.ok()) {
      memory.Unlock(me, died);
      return status;
    }
  }
  if (memory.closed()) {
    memory.Unlock(me, died);
    return object_->Destroyed();
  }
  const uint64_t fence = memory.Fence(me, SharedMutexMemory::kNoCell);
  if (fence == 0) return object_->WhyLost();
  return Grant{fence, died};
}

absl::Status SharedMutex::Unlock() {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr) return object_->far()->Unlock(SyncOp::kUnlock);
  if (object_->As<SharedMutexMemory>().Unlock(object_->ThisThread())) return absl::OkStatus();
  return object_->WhyLost();
}

absl::StatusOr<Grant> SharedMutex::LockShared(absl::Time deadline) {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr)
    return object_->far()->Lock(SyncOp::kLockShared, /*must=*/false, deadline);
  SharedMutexMemory memory = object_->As<SharedMutexMemory>();
  const Holder me = object_->ThisThread();
  if (memory.ReadBy(me)) return HeldBySelf(*object_);
  uint32_t cell = SharedMutexMemory::kNoCell;
  Acquired acquired = memory.TryLockShared(me, &cell);
  if (acquired == Acquired::kNo) {
    Waiting waiting(object_.get(), Waiting::Told::kAll, /*shared=*/true, deadline);
    const absl::Status status = internal::Await(
        &waiting,
        [&](bool) {
          if (memory.closed()) return true;
          acquired = memory.TryLockShared(me, &cell);
          return acquired != Acquired::kNo;
        },
        [&] { return memory.Park(); }, [&] { memory.WakeAll(); });
    if (!status.ok()) return status;
  }
  if (acquired == Acquired::kHeldBySelf) return HeldBySelf(*object_);
  if (memory.closed()) {
    if (acquired != Acquired::kNo) memory.UnlockShared(me, cell);
    return object_->Destroyed();
  }
  const uint64_t fence = memory.Fence(me, cell);
  if (fence == 0) return object_->WhyLost();
  object_->SetCell(me.thread, cell);
  return Grant{fence, acquired == Acquired::kAfterDeath};
}

absl::Status SharedMutex::UnlockShared() {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr) return object_->far()->Unlock(SyncOp::kUnlockShared);
  const Holder me = object_->ThisThread();
  uint32_t cell = 0;
  if (object_->TakeCell(me.thread, &cell) &&
      object_->As<SharedMutexMemory>().UnlockShared(me, cell)) {
    return absl::OkStatus();
  }
  return object_->WhyLost();
}

bool SharedMutex::HeldByThisThread() const {
  if (!object_->CheckUsable().ok()) return false;
  const Holder me = object_->ThisThread();
  if (object_->far() != nullptr) return object_->far()->HeldBy(me.thread);
  const SharedMutexMemory memory = object_->As<SharedMutexMemory>();
  return memory.writer() == me || memory.ReadBy(me);
}

}  // namespace mailrail
