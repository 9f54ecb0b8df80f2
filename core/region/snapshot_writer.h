#ifndef MAILRAIL_CORE_REGION_SNAPSHOT_WRITER_H_
#define MAILRAIL_CORE_REGION_SNAPSHOT_WRITER_H_

#include <cstdint>

#include "core/region/snapshot_layout.h"
#include "core/shm/bell.h"

namespace mailrail {

// The writer of a snapshot (snapshot_layout.h), of which there is one at a time. A view: whoever
// mapped the memory keeps it mapped. Thread-compatible.
class SnapshotWriter {
 public:
  // Goes on where the writer before has ended, wherever that was.
  // REQUIRES: CheckSnapshot was OK; no other writes it, nor will.
  SnapshotWriter(const SnapshotGeometry& geometry, char* data, SnapshotBell* bell);

  // Whether a writer can go on there: not where the one before has left a version that is none.
  bool sound() const { return version_ < kSnapshotVersionsEnd; }

  // Publishes `value`, geometry.value_bytes, as the next version. Never waits; no system call while
  // no reader waits. REQUIRES: sound().
  void Publish(const void* value);

  // The number of the last version; 0 without one.
  uint64_t version() const { return version_; }

  // Says that there will be no newer version, and wakes who waits for one.
  void End();

 private:
  SnapshotHeader& header() const { return *reinterpret_cast<SnapshotHeader*>(data_); }

  const SnapshotGeometry geometry_;
  char* const data_;
  GateWord* const gate_;
  Ringer ringer_;
  uint64_t version_;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_REGION_SNAPSHOT_WRITER_H_
