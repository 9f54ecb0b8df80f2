// Objects and shared values as members of wait sets.
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/objects/sync_object.h"
#include "core/process/wait_set_impl.h"
#include "core/process/waitable.h"
#include "core/sync/barrier_memory.h"
#include "core/sync/mutex_memory.h"
#include "core/sync/semaphore_memory.h"
#include "core/sync/shared_mutex_memory.h"
#include "mailrail/sync.h"
#include "mailrail/wait_set.h"

namespace mailrail {
namespace internal {
namespace {

// Looks on at an object. What is its user's to have is never taken here.
class Onlooker : public Waitable {
 public:
  explicit Onlooker(std::shared_ptr<SyncObject> object)
      : object_(std::move(object)), memory_(object_->As<SyncMemory>()) {}

  void Join() override {}
  void Leave() override {}
  bool Ready() override {
    return HasCome() || memory_.closed() || object_->process().gone() ||
           !object_->process().connection().connected();
  }
  FutexWord Park(absl::Duration* /*longest*/) override { return memory_.ParkAsOnlooker(); }

 protected:
  const SyncObject& object() const { return *object_; }

 private:
  virtual bool HasCome() = 0;

  const std::shared_ptr<SyncObject> object_;
  SyncMemory memory_;
};

class MayBeHad final : public Onlooker {
 public:
  using Look = bool (*)(const SyncObject& object);
  MayBeHad(std::shared_ptr<SyncObject> object, Look look)
      : Onlooker(std::move(object)), look_(look) {}

 private:
  bool HasCome() override { return look_(object()); }
  const Look look_;
};

class RoundHasEnded final : public Onlooker {
 public:
  explicit RoundHasEnded(std::shared_ptr<SyncObject> object)
      : Onlooker(std::move(object)), seen_(Round()) {}

  void Told() override { seen_ = Round(); }

 private:
  bool HasCome() override { return Round() != seen_; }
  uint32_t Round() const { return object().As<BarrierMemory>().generation(); }
  uint32_t seen_;
};

// OK when an object may be a member of the set.
absl::Status Check(const WaitSetImpl& set, SyncObject& object) {
  if (&object.process() != set.process()) {
    return absl::InvalidArgumentError("the object was opened by another Process");
  }
  if (object.far() == nullptr) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(
      "'", object.name(), "' is of another node: it is waited for by its own calls, not in a set"));
}

absl::Status AddLook(WaitSetImpl* set, uint64_t key, std::shared_ptr<SyncObject> object,
                     MayBeHad::Look look) {
  if (absl::Status status = Check(*set, *object); !status.ok()) return status;
  return set->Add(key, std::make_unique<MayBeHad>(std::move(object), look));
}

}  // namespace
}  // namespace internal

using internal::SyncObject;

absl::Status WaitSet::Add(uint64_t key, Mutex& mutex) {
  return internal::AddLook(impl_.get(), key, mutex.object_, [](const SyncObject& object) {
    return object.As<MutexMemory>().holder().number == 0;
  });
}

absl::Status WaitSet::Add(uint64_t key, SharedMutex& mutex) {
  return internal::AddLook(impl_.get(), key, mutex.object_, [](const SyncObject& object) {
    const SharedMutexMemory memory = object.As<SharedMutexMemory>();
    return memory.writer().number == 0 && memory.Drained();
  });
}

absl::Status WaitSet::AddShared(uint64_t key, SharedMutex& mutex) {
  return internal::AddLook(impl_.get(), key, mutex.object_, [](const SyncObject& object) {
    return object.As<SharedMutexMemory>().MayRead();
  });
}

absl::Status WaitSet::Add(uint64_t key, Semaphore& semaphore) {
  return internal::AddLook(impl_.get(), key, semaphore.object_, [](const SyncObject& object) {
    return object.As<SemaphoreMemory>().HasFree();
  });
}

absl::Status WaitSet::Add(uint64_t key, Barrier& barrier) {
  if (absl::Status status = internal::Check(*impl_, *barrier.object_); !status.ok()) return status;
  return impl_->Add(key, std::make_unique<internal::RoundHasEnded>(barrier.object_));
}

absl::Status WaitSet::AddValue(uint64_t key, const internal::SharedValueHandle& value,
                               uint64_t seen) {
  absl::StatusOr<std::unique_ptr<internal::Waitable>> waitable = value.MakeWaitable(seen);
  if (!waitable.ok()) return waitable.status();
  return impl_->Add(key, *std::move(waitable));
}

}  // namespace mailrail
