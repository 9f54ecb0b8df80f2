// What the tests of this folder share.
#ifndef MAILRAIL_CORE_REGION_SNAPSHOT_TESTING_H_
#define MAILRAIL_CORE_REGION_SNAPSHOT_TESTING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/lane/lane_testing.h"
#include "core/region/snapshot_layout.h"
#include "core/region/snapshot_reader.h"
#include "core/region/snapshot_writer.h"

namespace mailrail {

// Memory of a value. Child processes map it anew.
class TestSnapshot {
 public:
  explicit TestSnapshot(uint64_t value_bytes, uint64_t schema = 0)
      : TestSnapshot(SnapshotGeometry::For(value_bytes, schema)) {}
  explicit TestSnapshot(const SnapshotGeometry& of) : geometry(of) {
    FormatSnapshot(geometry, data.writable());
  }

  SnapshotWriter MakeWriter() const {
    return SnapshotWriter(geometry, data.writable(), Bell(bell));
  }
  SnapshotReader MakeReader() const {
    return SnapshotReader(geometry, data.seen_by_other(), Bell(bell));
  }
  static SnapshotBell* Bell(const TwiceMapped& memory) {
    return reinterpret_cast<SnapshotBell*>(memory.writable());
  }
  static SnapshotBell* Bell(const Mapping& mapping) {
    return reinterpret_cast<SnapshotBell*>(mapping.data());
  }

  const SnapshotGeometry geometry;
  const TwiceMapped data{geometry.data_bytes()};
  const TwiceMapped bell{sizeof(SnapshotBell)};
};

// Version `version`, as `generation` of writers writes it: a BodyHead and more where there is room,
// else the number in each whole word.
inline std::string ValueOf(uint64_t version, uint64_t generation, size_t bytes) {
  if (bytes >= sizeof(BodyHead)) return MakeBody(version, generation, bytes);
  std::string value(bytes, '\0');
  for (size_t at = 0; at + sizeof(version) <= bytes; at += sizeof(version)) {
    std::memcpy(value.data() + at, &version, sizeof(version));
  }
  return value;
}

// Whether `value` is version `version`, whole, of whatever generation.
inline bool IsVersion(absl::string_view value, uint64_t version) {
  if (value.size() < sizeof(BodyHead)) return value == ValueOf(version, 0, value.size());
  const absl::optional<BodyHead> head = ReadBody(value);
  return head.has_value() && head->number == version;
}

inline void PublishNext(SnapshotWriter* writer, uint64_t generation, size_t bytes) {
  writer->Publish(ValueOf(writer->version() + 1, generation, bytes).data());
}

// Waits for a version after `version` and never looks by itself: a wake-up that is lost stays so,
// and the test hangs.
inline void WaitUntilWoken(const SnapshotReader& reader, uint64_t version) {
  Parker parker = reader.MakeParker();
  while (reader.latest() <= version && !reader.ended()) {
    const FutexWord word = parker.Park();
    if (reader.latest() > version || reader.ended()) return;
    FutexWait(word.word, word.expected, absl::Hours(1));
  }
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_REGION_SNAPSHOT_TESTING_H_
