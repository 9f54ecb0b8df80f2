#include "node/agent/region_memories.h"

#include <utility>

namespace mailrail {
namespace {

constexpr uint64_t kPage = 4096;

// Makes memory, and has `map` of it, of its first `mapped` bytes.
absl::Status MakeMemory(const char* name, uint64_t bytes, size_t mapped, Fd* fd, Mapping* map) {
  absl::StatusOr<Fd> memory = CreateMemory(name, bytes);
  if (!memory.ok()) return memory.status();
  *fd = *std::move(memory);
  if (mapped == 0) return absl::OkStatus();
  absl::StatusOr<Mapping> mapping = Mapping::Map(*fd, mapped, Access::kReadWrite);
  if (!mapping.ok()) return mapping.status();
  *map = *std::move(mapping);
  return absl::OkStatus();
}

}  // namespace

uint64_t RegionPages(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

uint64_t RegionMemoryOf(const proto::RegionSpec& spec, bool replica) {
  const bool has_memory = spec.kind() == proto::RegionSpec::REGION && !replica;
  return RegionPages(sizeof(RegionControl)) + RegionPages(sizeof(SnapshotBell)) +
         (has_memory ? RegionPages(spec.bytes()) : 0) +
         (HasVersions(spec.bytes())
              ? RegionPages(RegionGeometry(spec.bytes(), spec.schema(), replica).data_bytes())
              : 0);
}

absl::Status MakeRegionMemories(NamedRegion* region) {
  Mapping header;
  absl::Status status = MakeMemory("mailrail.region-control", sizeof(RegionControl),
                                   sizeof(RegionControl), &region->control, &region->control_map);
  if (status.ok()) region->words().magic = kRegionControlMagic;
  if (status.ok()) {
    status = MakeMemory("mailrail.region-bell", sizeof(SnapshotBell), 0, &region->bell, nullptr);
  }
  if (status.ok() && HasVersions(region->spec.bytes())) {
    status = MakeMemory("mailrail.region-versions", region->geometry().data_bytes(),
                        sizeof(SnapshotHeader), &region->versions, &header);
    if (status.ok()) FormatSnapshot(region->geometry(), header.data());
  }
  if (status.ok() && !region->value() && !region->replica()) {
    status = MakeMemory("mailrail.region", region->spec.bytes(), 0, &region->memory, nullptr);
  }
  return status;
}

}  // namespace mailrail
