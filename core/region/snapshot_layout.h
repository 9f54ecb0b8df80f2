// The memory of a value that one process writes and any number read (SharedValue). There are two.
//
// data, written by the writer, mapped read-only by readers:
//
//   offset  size                what
//        0  128                 SnapshotHeader
//      128  128                 latest: the number of the last version, from 1; 0: there is none
//      256  buffers x stride    buffers; version v is in buffer v % buffers: the value, and zeros
//      up
//                               to the end of its last 64-bit word
//
// `stride` is the value's size in whole lines of 128 bytes, so that the writer of one buffer takes
// no line from who reads another, or `latest`.
//
// bell, written by all:
//
//   offset  size                what
//        0  384                 BellWords
//      384  256                 GateWord
//
//   write version v   all words of buffer v % buffers; latest = v; ring
//   read              v = latest; copy buffer v % buffers; again if latest > v + buffers - 2
//
// Nobody locks, and no version is ever half there: `latest` tells of a version only when it is
// whole, so a writer that is stopped or dies, wherever that is, leaves the last one as it was; who
// writes next does that version again. Readers write nothing. The first word of version v +
// buffers, which has the buffer of v, is written after latest = v + buffers - 1; so a reader that
// sees a word of it sees that, too, and comes again. It does so only when so many versions were
// published while it copied one.
//
// The words of buffers are relaxed atomics, since what is overwritten may be read (and thrown
// away). Two fences order them: before the writer's first word, so that it stands after `latest` of
// the version before; and after the reader's last word, before it looks at `latest` again. Each is
// the other's partner.
//
// Nothing in data is trusted by a reader but to be inside: what the header says is copied once and
// checked, and `latest` can be any number. What is wrong there spoils this value alone. Whoever has
// the bell may ring it, or lose a ring, which delays those that wait by 50 ms at most (bell.h).
#ifndef MAILRAIL_CORE_REGION_SNAPSHOT_LAYOUT_H_
#define MAILRAIL_CORE_REGION_SNAPSHOT_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "core/shm/bell.h"
#include "core/shm/step.h"

namespace mailrail {

inline constexpr uint64_t kSnapshotMagic = 0x3170616e734c524d;  // "MRLsnap1"

// The largest value, in bytes: 16 MiB, and a number before it (region_control.h).
inline constexpr size_t kLargestSnapshot = (size_t{16} << 20) + sizeof(uint64_t);

// A writer never comes so far; a version from here on is none.
inline constexpr uint64_t kSnapshotVersionsEnd = uint64_t{1} << 63;

// Shared between processes.
struct SnapshotHeader {
  uint64_t magic;
  uint64_t value_bytes;
  uint64_t schema;  // the program's own number of the value's type
  uint32_t buffers;
  // Not 0: there will be no newer version.
  SharedAtomic<uint32_t> ended;
  alignas(128) SharedAtomic<uint64_t> latest;
};
static_assert(sizeof(SnapshotHeader) == 256 && alignof(SnapshotHeader) == 128);
static_assert(SharedAtomic<uint64_t>::is_always_lock_free);

// Shared between processes.
struct SnapshotBell {
  BellWords bell;
  GateWord gate;
};
static_assert(sizeof(SnapshotBell) == 640);

// The sizes of one such memory.
struct SnapshotGeometry {
  // With fewer, every version that is published beside a read would spoil it.
  static constexpr uint32_t kFewestBuffers = 4;
  static constexpr uint32_t kMostBuffers = 64;

  uint64_t value_bytes = 0;
  uint64_t schema = 0;
  uint32_t buffers = 0;

  // How many buffers a value gets: a small one is written faster than a reader gets to its lines,
  // and so has more.
  static SnapshotGeometry For(uint64_t value_bytes, uint64_t schema);

  size_t stride() const { return (value_bytes + 127) / 128 * 128; }
  size_t data_bytes() const { return sizeof(SnapshotHeader) + stride() * buffers; }
  size_t offset_of(uint64_t version) const {
    return sizeof(SnapshotHeader) + stride() * (version % buffers);
  }
};

// Makes geometry.data_bytes() of zeroed memory one without a version. The bell is zeros.
void FormatSnapshot(const SnapshotGeometry& geometry, char* data);

// The geometry that `data` says, of which `bytes` are mapped, when it is of a value of this size
// and schema: kInvalidArgument for another value's, kDataLoss when it is not well-formed.
absl::Status CheckSnapshot(const char* data, size_t bytes, uint64_t value_bytes, uint64_t schema,
                           SnapshotGeometry* geometry);

}  // namespace mailrail

#endif  // MAILRAIL_CORE_REGION_SNAPSHOT_LAYOUT_H_
