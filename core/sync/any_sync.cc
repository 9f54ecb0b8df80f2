#include "core/sync/any_sync.h"

#include "absl/strings/str_cat.h"
#include "core/sync/barrier_memory.h"
#include "core/sync/condition_memory.h"
#include "core/sync/mutex_memory.h"
#include "core/sync/semaphore_memory.h"
#include "core/sync/shared_mutex_memory.h"

namespace mailrail {
namespace {

uint32_t CellsOf(const SyncSpec& spec) {
  switch (spec.kind) {
    case SyncKind::kMutex:
      return 0;
    case SyncKind::kSharedMutex:
      return SharedMutexMemory::kReaders;
    case SyncKind::kCondition:
      return 2 * ConditionMemory::kWaiters;
    case SyncKind::kSemaphore:
    case SyncKind::kBarrier:
      break;
  }
  return spec.limit;
}

// Calls `visit` with the view that `kind` says.
template <typename Visit>
void As(char* memory, size_t bytes, SyncKind kind, Visit visit) {
  switch (kind) {
    case SyncKind::kMutex:
      return visit(MutexMemory(memory, bytes));
    case SyncKind::kSharedMutex:
      return visit(SharedMutexMemory(memory, bytes));
    case SyncKind::kSemaphore:
      return visit(SemaphoreMemory(memory, bytes));
    case SyncKind::kCondition:
      return visit(ConditionMemory(memory, bytes));
    case SyncKind::kBarrier:
      return visit(BarrierMemory(memory, bytes));
  }
}

std::vector<Holder> HoldersOf(const MutexMemory& mutex, uint32_t) {
  const Holder holder = mutex.holder();
  return holder.number == 0 ? std::vector<Holder>() : std::vector<Holder>{holder};
}
std::vector<Holder> HoldersOf(const SharedMutexMemory& mutex, uint32_t max) {
  std::vector<Holder> readers(max);
  readers.resize(mutex.Readers(readers.data(), max));
  return readers;
}
std::vector<Holder> HoldersOf(const SemaphoreMemory& semaphore, uint32_t max) {
  std::vector<Holder> holders(max);
  holders.resize(semaphore.Holders(holders.data(), max));
  return holders;
}
std::vector<Holder> HoldersOf(const BarrierMemory& barrier, uint32_t max) {
  std::vector<Holder> parties(max);
  parties.resize(barrier.Arrived(parties.data(), max));
  return parties;
}
std::vector<Holder> HoldersOf(const ConditionMemory& condition, uint32_t max) {
  std::vector<Holder> waiting(max);
  waiting.resize(condition.Waiting(waiting.data(), max));
  return waiting;
}

}  // namespace

absl::Status AnySync::CheckSpec(const SyncSpec& spec) {
  switch (spec.kind) {
    case SyncKind::kMutex:
    case SyncKind::kSharedMutex:
    case SyncKind::kCondition:
      return absl::OkStatus();
    case SyncKind::kSemaphore:
      if (spec.limit < 1 || spec.limit > SemaphoreMemory::kLargest || spec.initial > spec.limit) {
        return absl::InvalidArgumentError(
            absl::StrCat("a semaphore with ", spec.initial, " of at most ", spec.limit,
                         " units: it may have at most 1 to ", SemaphoreMemory::kLargest));
      }
      return absl::OkStatus();
    case SyncKind::kBarrier:
      if (spec.limit < 1 || spec.limit > BarrierMemory::kLargest) {
        return absl::InvalidArgumentError(absl::StrCat(
            "a barrier for ", spec.limit, " parties: it is for 1 to ", BarrierMemory::kLargest));
      }
      return absl::OkStatus();
  }
  return absl::InvalidArgumentError("an object of no known kind");
}

size_t AnySync::BytesFor(const SyncSpec& spec) { return SyncMemory::BytesFor(CellsOf(spec)); }

void AnySync::Format(char* memory, const SyncSpec& spec, uint64_t fence) {
  SyncMemory::Format(memory, spec.kind, CellsOf(spec));
  SyncMemory(memory, BytesFor(spec)).SetFence(fence);
  if (spec.kind == SyncKind::kSemaphore)
    SemaphoreMemory::Fill(memory, BytesFor(spec), spec.initial);
}

absl::Status AnySync::Check(const char* memory, size_t bytes, const SyncSpec& spec) {
  if (absl::Status status = CheckSpec(spec); !status.ok()) {
    return absl::DataLossError(status.message());
  }
  if (bytes < BytesFor(spec)) return absl::DataLossError("a lock in too little memory");
  return SyncMemory::Check(memory, bytes, spec.kind);
}

std::vector<Hold> AnySync::Holds(uint32_t max) const {
  std::vector<Hold> holds;
  if (kind_ == SyncKind::kCondition || max == 0) return holds;
  if (kind_ == SyncKind::kSharedMutex) {
    const Holder writer = SharedMutexMemory(memory_, bytes_).writer();
    if (writer.number != 0) holds.push_back({writer, false});
  }
  As(memory_, bytes_, kind_, [&](const auto& view) {
    for (const Holder holder : HoldersOf(view, max)) {
      if (holds.size() < max) holds.push_back({holder, kind_ == SyncKind::kSharedMutex});
    }
  });
  return holds;
}

uint32_t AnySync::Value() const {
  switch (kind_) {
    case SyncKind::kSemaphore:
      return SemaphoreMemory(memory_, bytes_).value();
    case SyncKind::kBarrier:
      return BarrierMemory(memory_, bytes_).arrived();
    case SyncKind::kCondition:
      return static_cast<uint32_t>(
          HoldersOf(ConditionMemory(memory_, bytes_), ConditionMemory::kWaiters).size());
    case SyncKind::kMutex:
    case SyncKind::kSharedMutex:
      break;
  }
  return 0;
}

void AnySync::RemoveHolder(uint32_t number) {
  As(memory_, bytes_, kind_, [&](auto view) {
    view.RemoveHolder(number);
    view.WakeAll();
  });
  if (kind_ == SyncKind::kCondition) ConditionMemory(memory_, bytes_).WakeWaiters();
}

void AnySync::RemoveHolders(Gone gone) {
  As(memory_, bytes_, kind_, [gone](auto view) {
    if (view.RemoveHolders(gone)) view.WakeAll();
  });
}

void AnySync::Close() {
  SyncMemory(memory_, bytes_).Close();
  if (kind_ == SyncKind::kCondition) ConditionMemory(memory_, bytes_).WakeWaiters();
}

}  // namespace mailrail
