#include "core/sync/sync_layout.h"

#include "absl/strings/str_cat.h"

namespace mailrail {

void SyncMemory::Format(char* memory, SyncKind kind, uint32_t cells) {
  auto* const header = reinterpret_cast<SyncHeader*>(memory);
  header->magic = kSyncMagic;
  header->kind = static_cast<uint32_t>(kind);
  header->cells = cells;
}

absl::Status SyncMemory::Check(const char* memory, size_t bytes, SyncKind kind) {
  const auto* const header = reinterpret_cast<const SyncHeader*>(memory);
  if (bytes < sizeof(SyncHeader) || header->magic != kSyncMagic ||
      header->kind != static_cast<uint32_t>(kind)) {
    return absl::DataLossError("this memory is no lock of this kind");
  }
  const uint32_t cells = header->cells;
  if (bytes < BytesFor(cells)) {
    return absl::DataLossError(absl::StrCat("a lock of ", cells, " cells in ", bytes, " bytes"));
  }
  return absl::OkStatus();
}

void SyncMemory::WakeOne() {
  header_->gate.fetch_add(1);
  FutexWake(&header_->gate, 1);
}

void SyncMemory::WakeAllSleepers() {
  header_->gate.fetch_add(1);
  FutexWakeAll(&header_->gate);
}

void SyncMemory::WakeOnlookers() {
  // First: who reads the gate as it is after that says again that it sleeps.
  header_->onlookers.store(0);
  header_->onlookers_gate.fetch_add(1);
  FutexWakeAll(&header_->onlookers_gate);
}

void SyncMemory::WakeAll() {
  WakeAllSleepers();
  WakeOnlookers();
}

void SyncMemory::Close() {
  header_->closed.store(1);
  WakeAll();
}

}  // namespace mailrail
