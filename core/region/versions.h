#ifndef MAILRAIL_CORE_REGION_VERSIONS_H_
#define MAILRAIL_CORE_REGION_VERSIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/region/snapshot_reader.h"
#include "core/region/snapshot_writer.h"
#include "core/shm/adaptive_spin.h"
#include "core/shm/memory.h"

namespace mailrail {

// The versions of a value or region, as one program has them mapped: to read, to wait for, and,
// where `data` is mapped for writing, to publish. Thread-safe, but that one thread at a time
// publishes.
class Versions {
 public:
  // Whether the number of each version stands before it (region_control.h).
  enum class Numbered { kNo, kYes };

  // REQUIRES: CheckSnapshot was OK.
  Versions(const SnapshotGeometry& geometry, Mapping data, Mapping bell,
           Numbered numbered = Numbered::kNo);

  // Of one version.
  size_t bytes() const { return bytes_; }
  // `what` is what errors say of: "shared value", "region". Returns the version's number.
  absl::StatusOr<uint64_t> Read(absl::string_view what, void* value) const;
  // The number of the last version; 0 without one.
  uint64_t version() const;

  // OK when there is a version newer than `version`. `over` says why there will be none, and is
  // asked before the last look at the version; `slept`: often, and it may cost something.
  // kDeadlineExceeded.
  using Over = absl::FunctionRef<absl::Status(bool slept)>;
  absl::Status AwaitNewer(absl::string_view what, uint64_t version, absl::Time deadline, Over over);
  // Whether its writer has ended it: as SnapshotReader::ended.
  bool ended() const { return reader_.ended(); }

  // To wait for a version by other means than AwaitNewer: as SnapshotReader's.
  Parker MakeParker() const { return reader_.MakeParker(); }

  // A writer that goes on where the one before has ended.
  SnapshotWriter MakeWriter() const {
    return SnapshotWriter(reader_.geometry(), data_.data(), snapshot_bell());
  }

  bool left_behind() const { return data_.left_behind(); }

 private:
  SnapshotBell* snapshot_bell() const { return reinterpret_cast<SnapshotBell*>(bell_.data()); }
  // Looks again and again for a moment, if that pays.
  bool Spin(absl::Time deadline, absl::FunctionRef<bool()> ready);

  const Mapping data_;
  const Mapping bell_;
  const SnapshotReader reader_;
  const bool numbered_;
  const size_t bytes_;

  absl::Mutex spin_mutex_;
  AdaptiveSpin spin_ ABSL_GUARDED_BY(spin_mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_REGION_VERSIONS_H_
