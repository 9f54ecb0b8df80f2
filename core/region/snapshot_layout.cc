#include "core/region/snapshot_layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mailrail {
namespace {

// What the buffers of a small value take together.
constexpr size_t kSmallBytes = 8192;

}  // namespace

SnapshotGeometry SnapshotGeometry::For(uint64_t value_bytes, uint64_t schema) {
  SnapshotGeometry geometry = {.value_bytes = value_bytes, .schema = schema};
  geometry.buffers = static_cast<uint32_t>(
      std::clamp<size_t>(kSmallBytes / geometry.stride(), kFewestBuffers, kMostBuffers));
  return geometry;
}

void FormatSnapshot(const SnapshotGeometry& geometry, char* data) {
  auto* const header = reinterpret_cast<SnapshotHeader*>(data);
  header->magic = kSnapshotMagic;
  header->value_bytes = geometry.value_bytes;
  header->schema = geometry.schema;
  header->buffers = geometry.buffers;
}

absl::Status CheckSnapshot(const char* data, size_t bytes, uint64_t value_bytes, uint64_t schema,
                           SnapshotGeometry* geometry) {
  // Volatile: each is read once, whatever its writer does meanwhile.
  const auto* const header = reinterpret_cast<const volatile SnapshotHeader*>(data);
  if (bytes < sizeof(SnapshotHeader) || header->magic != kSnapshotMagic) {
    return absl::DataLossError("this memory is no shared value");
  }
  const SnapshotGeometry said = {
      .value_bytes = header->value_bytes, .schema = header->schema, .buffers = header->buffers};
  if (said.value_bytes != value_bytes || said.schema != schema) {
    return absl::InvalidArgumentError(
        absl::StrCat("the shared value has ", said.value_bytes, " bytes and schema ", said.schema,
                     ", and is opened as one of ", value_bytes, " bytes and schema ", schema));
  }
  if (said.value_bytes == 0 || said.value_bytes > kLargestSnapshot ||
      said.buffers < SnapshotGeometry::kFewestBuffers ||
      said.buffers > SnapshotGeometry::kMostBuffers || bytes < said.data_bytes()) {
    return absl::DataLossError(absl::StrCat("a shared value of ", said.buffers, " x ",
                                            said.value_bytes, " bytes in ", bytes, " bytes"));
  }
  *geometry = said;
  return absl::OkStatus();
}

}  // namespace mailrail
