#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/objects/sync_object.h"
#include "core/objects/waiting.h"
#include "core/sync/semaphore_memory.h"
#include "mailrail/sync.h"

namespace mailrail {
namespace {

using internal::SyncObject;
using internal::Waiting;

// Waits until `attempt` has a unit, or the semaphore is destroyed.
template <typename Attempt>
absl::Status AwaitUnit(SyncObject* object, absl::Time deadline, Attempt attempt) {
  SemaphoreMemory memory = object->As<SemaphoreMemory>();
  Waiting waiting(object, Waiting::Told::kAll, /*shared=*/false, deadline);
  return internal::Await(
      &waiting, [&](bool has_slept) { return memory.closed() || attempt(has_slept); },
      [&] { return memory.Park(); }, [&] { memory.WakeOne(); });
}

}  // namespace

Semaphore::Semaphore(std::shared_ptr<SyncObject> object) : object_(std::move(object)) {}
Semaphore::Semaphore(Semaphore&&) noexcept = default;
Semaphore& Semaphore::operator=(Semaphore&&) noexcept = default;
Semaphore::~Semaphore() = default;

absl::StatusOr<Semaphore> Semaphore::Open(Process& process, absl::string_view name,
                                          const SemaphoreOptions& options, absl::Time deadline) {
  SyncSpec spec = {SyncKind::kSemaphore, options.most_units, options.units};
  absl::StatusOr<std::shared_ptr<SyncObject>> object = absl::NotFoundError("");
  if (spec.limit == 0) {
    // Whatever the one that is there has.
    OpenOptions there = options.open;
    there.create = false;
    object = SyncObject::Open(process, name, spec, there, deadline);
    spec.limit = std::max(options.units, 1u);
  }
  if (absl::IsNotFound(object.status()) && (options.open.create || options.most_units != 0)) {
    object = SyncObject::Open(process, name, spec, options.open, deadline);
    // Somebody else was quicker: then whatever that one has.
    if (options.most_units == 0 && absl::IsFailedPrecondition(object.status())) {
      spec.limit = 0;
      object = SyncObject::Open(process, name, spec, options.open, deadline);
    }
  }
  if (!object.ok()) return object.status();
  return Semaphore(*std::move(object));
}

absl::Status Semaphore::Destroy(Process& process, absl::string_view name, absl::Time deadline) {
  return SyncObject::Destroy(process, name, SyncKind::kSemaphore, deadline);
}

absl::StatusOr<Semaphore::Permit> Semaphore::Acquire(absl::Time deadline) {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr) {
    const absl::StatusOr<internal::FarCalls::Permit> permit = object_->far()->Acquire(deadline);
    if (!permit.ok()) return permit.status();
    return Permit(object_, permit->holder, /*cell=*/0, permit->fence);
  }
  SemaphoreMemory memory = object_->As<SemaphoreMemory>();
  const Holder me = object_->ThisThread();
  uint32_t cell = me.thread % object_->limit();
  bool acquired = memory.TryAcquire(me, /*has_slept=*/false, &cell);
  if (!acquired) {
    const absl::Status status = AwaitUnit(object_.get(), deadline, [&](bool has_slept) {
      return acquired = memory.TryAcquire(me, has_slept, &cell);
    });
    if (!status.ok()) return status;
  }
  if (memory.closed()) {
    if (acquired) memory.Release(me, cell);
    return object_->Destroyed();
  }
  const uint64_t fence = memory.Fence(me, cell);
  if (fence == 0) return object_->WhyLost();
  return Permit(object_, me.thread, cell, fence);
}

absl::Status Semaphore::Wait(absl::Time deadline) {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr) return object_->far()->UseUp(deadline);
  SemaphoreMemory memory = object_->As<SemaphoreMemory>();
  uint32_t cell = object_->ThisThread().thread % object_->limit();
  if (memory.TryTake(/*has_slept=*/false, &cell)) return absl::OkStatus();
  bool taken = false;
  const absl::Status status = AwaitUnit(object_.get(), deadline, [&](bool has_slept) {
    return taken = memory.TryTake(has_slept, &cell);
  });
  return status.ok() && !taken ? object_->Destroyed() : status;
}

absl::Status Semaphore::Post() {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr) return object_->far()->Add();
  SemaphoreMemory memory = object_->As<SemaphoreMemory>();
  if (memory.closed()) return object_->Destroyed();
  uint32_t cell = object_->ThisThread().thread % object_->limit();
  if (memory.Add(&cell)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the semaphore '", object_->name(), "' has its ", object_->limit(), " units"));
}

uint32_t Semaphore::value() const {
  if (!object_->CheckUsable().ok()) return 0;
  return object_->far() != nullptr ? object_->far()->Value()
                                   : object_->As<SemaphoreMemory>().value();
}

Semaphore::Permit::Permit(std::shared_ptr<SyncObject> object, uint32_t thread, uint32_t cell,
                          uint64_t fence)
    : object_(std::move(object)), thread_(thread), cell_(cell), fence_(fence) {}
Semaphore::Permit::Permit(Permit&&) noexcept = default;
Semaphore::Permit& Semaphore::Permit::operator=(Permit&& other) noexcept {
  if (this == &other) return *this;
  Release().IgnoreError();
  object_ = std::move(other.object_);
  thread_ = other.thread_;
  cell_ = other.cell_;
  fence_ = other.fence_;
  return *this;
}
Semaphore::Permit::~Permit() { Release().IgnoreError(); }

bool Semaphore::Permit::held() const {
  if (object_ == nullptr || !object_->CheckUsable().ok()) return false;
  if (object_->far() != nullptr) return object_->far()->HeldBy(thread_);
  const Holder holder = {object_->ThisThread().number, thread_};
  return object_->As<SemaphoreMemory>().HoldsAt(holder, cell_);
}

absl::Status Semaphore::Permit::Release() {
  const std::shared_ptr<SyncObject> object = std::exchange(object_, nullptr);
  if (object == nullptr) return absl::OkStatus();
  if (absl::Status status = object->CheckUsable(); !status.ok()) return status;
  if (object->far() != nullptr) return object->far()->Release(thread_);
  const Holder holder = {object->ThisThread().number, thread_};
  if (object->As<SemaphoreMemory>().Release(holder, cell_)) return absl::OkStatus();
  return object->WhyLost();
}

}  // namespace mailrail
