// What a named region or value has besides its memory: two more memories.
//
// control, written by the agent alone, mapped read-only by those who have it open:
//
//   offset  size  what
//        0  128   RegionControl: magic; whether it was destroyed
//      128  128   which open of a value is its writer's
//      256  128   whether who publishes is to tell the agent
//
// bell (snapshot_layout.h), written by all.
//
// Its versions are a snapshot (snapshot_layout.h), whose one writer at a time is, at home, the
// process that publishes: of a value the one that the agent granted that, of a region whichever
// orders itself with the others. On another node the writer is that node's agent. There each value
// of the snapshot begins with one 64-bit word more, the version's number at home: numbers at home
// may be passed over, and those of a snapshot may not.
#ifndef MAILRAIL_CORE_REGION_REGION_CONTROL_H_
#define MAILRAIL_CORE_REGION_REGION_CONTROL_H_

#include <cstddef>
#include <cstdint>

#include "core/region/snapshot_layout.h"
#include "core/shm/step.h"

namespace mailrail {

inline constexpr uint64_t kRegionControlMagic = 0x3167657273524c4d;  // "MLRsreg1"

// Shared between processes.
struct RegionControl {
  uint64_t magic;
  // Not 0: there will be no newer version.
  SharedAtomic<uint32_t> destroyed;
  // The open_id of a value's writer; 0: it has none.
  alignas(128) SharedAtomic<uint64_t> writer;
  // Not 0: who publishes tells the agent. A hint: the agent looks by itself now and then.
  alignas(128) SharedAtomic<uint32_t> tell;
};
static_assert(sizeof(RegionControl) == 384 && alignof(RegionControl) == 128);

// The snapshot of a region or value of `bytes`; `replica`: on another node than its home.
inline SnapshotGeometry RegionGeometry(uint64_t bytes, uint64_t schema, bool replica) {
  return SnapshotGeometry::For(bytes + (replica ? sizeof(uint64_t) : 0), schema);
}

// Whether one of this size has versions.
constexpr bool HasVersions(uint64_t bytes) { return bytes <= kLargestSnapshot - sizeof(uint64_t); }

}  // namespace mailrail

#endif  // MAILRAIL_CORE_REGION_REGION_CONTROL_H_
