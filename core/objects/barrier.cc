#include <utility>

#include "core/objects/sync_object.h"
#include "core/objects/waiting.h"
#include "core/sync/barrier_memory.h"
#include "mailrail/sync.h"

namespace mailrail {

using internal::SyncObject;
using internal::Waiting;

Barrier::Barrier(std::shared_ptr<SyncObject> object) : object_(std::move(object)) {}
Barrier::Barrier(Barrier&&) noexcept = default;
Barrier& Barrier::operator=(Barrier&&) noexcept = default;
Barrier::~Barrier() = default;

absl::StatusOr<Barrier> Barrier::Open(Process& process, absl::string_view name, uint32_t parties,
                                      const OpenOptions& options, absl::Time deadline) {
  OpenOptions how = options;
  how.create = options.create && parties != 0;
  absl::StatusOr<std::shared_ptr<SyncObject>> object =
      SyncObject::Open(process, name, {SyncKind::kBarrier, parties}, how, deadline);
  if (!object.ok()) return object.status();
  return Barrier(*std::move(object));
}

absl::Status Barrier::Destroy(Process& process, absl::string_view name, absl::Time deadline) {
  return SyncObject::Destroy(process, name, SyncKind::kBarrier, deadline);
}

absl::StatusOr<uint32_t> Barrier::Wait(absl::Time deadline) {
  if (absl::Status status = object_->CheckUsable(); !status.ok()) return status;
  if (object_->far() != nullptr) return object_->far()->Pass(deadline);
  BarrierMemory memory = object_->As<BarrierMemory>();
  const Holder me = object_->ThisThread();
  Waiting waiting(object_.get(), Waiting::Told::kAll, /*shared=*/false, deadline);
  const auto park = [&] { return memory.Park(); };
  const auto wake = [&] { memory.WakeAll(); };
  BarrierMemory::Place place;
  bool arrived = memory.Arrive(me, &place);
  if (!arrived) {
    const absl::Status status = internal::Await(
        &waiting,
        [&](bool) {
          if (memory.closed()) return true;
          return arrived = memory.Arrive(me, &place);
        },
        park, wake);
    if (!status.ok()) return status;
    if (!arrived) return object_->Destroyed();
  }
  if (memory.Passed(place)) return place.generation;
  absl::Status status = internal::Await(
      &waiting, [&](bool) { return memory.Passed(place) || memory.closed(); }, park, wake);
  if (status.ok() && memory.Passed(place)) return place.generation;
  if (status.ok()) status = object_->Destroyed();
  switch (memory.Leave(me, place)) {
    case BarrierMemory::Left::kPassed:
      return place.generation;
    case BarrierMemory::Left::kTakenAway:
      return object_->WhyLost();
    case BarrierMemory::Left::kLeft:
      wake();  // its place is another's
  }
  return status;
}

uint32_t Barrier::parties() const { return object_->limit(); }

uint32_t Barrier::waiting() const {
  if (!object_->CheckUsable().ok()) return 0;
  return object_->far() != nullptr ? object_->far()->Value()
                                   : object_->As<BarrierMemory>().arrived();
}

}  // namespace mailrail
