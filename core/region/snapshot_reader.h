#ifndef MAILRAIL_CORE_REGION_SNAPSHOT_READER_H_
#define MAILRAIL_CORE_REGION_SNAPSHOT_READER_H_

#include <cstdint>

#include "absl/time/time.h"
#include "core/region/snapshot_layout.h"
#include "core/shm/bell.h"

namespace mailrail {

// What a look at a snapshot came to.
enum class SnapshotLook {
  kRead,
  kNone,       // there is no version yet
  kOvertaken,  // versions came too fast to copy one, kAttempts times
  kCorrupt,    // its memory says what no writer writes
};

// A reader of a snapshot (snapshot_layout.h). A view: whoever mapped the memory keeps it mapped.
// Thread-safe.
class SnapshotReader {
 public:
  // A sound writer, which takes as long for a version as a reader does, never keeps one from it so
  // often; one that writes `latest` alone could for ever.
  static constexpr int kAttempts = 1000;

  // REQUIRES: CheckSnapshot was OK.
  SnapshotReader(const SnapshotGeometry& geometry, const char* data, SnapshotBell* bell)
      : geometry_(geometry), data_(data), bell_(bell) {}

  // Copies the last version, whole, to `value` (geometry.value_bytes); *version is its number.
  // Unless it is kRead, `value` may hold anything. Never waits: it copies again only when
  // buffers - 1 versions came meanwhile.
  SnapshotLook Read(void* value, uint64_t* version, int attempts = kAttempts) const {
    return ReadFirst(geometry_.value_bytes, value, version, attempts);
  }
  // The same of the first `bytes` of it alone.
  SnapshotLook ReadFirst(size_t bytes, void* value, uint64_t* version,
                         int attempts = kAttempts) const;

  const SnapshotGeometry& geometry() const { return geometry_; }

  // The number of the last version; 0 without one. Its value alone counts: Read acquires.
  uint64_t latest() const { return header().latest.load(std::memory_order_relaxed); }
  // Whether there will be no newer one: look at latest() after this. Partner: SnapshotWriter::End.
  bool ended() const { return header().ended.load(std::memory_order_acquire) != 0; }

  // To wait for a version: Park, look again, sleep. Each that waits has a Parker of its own.
  Parker MakeParker() const { return Parker(&bell_->bell, &bell_->gate); }

 private:
  const SnapshotHeader& header() const { return *reinterpret_cast<const SnapshotHeader*>(data_); }

  const SnapshotGeometry geometry_;
  const char* const data_;
  SnapshotBell* const bell_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_REGION_SNAPSHOT_READER_H_
