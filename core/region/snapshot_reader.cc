#include "core/region/snapshot_reader.h"

#include <atomic>

#include "core/region/word_copy.h"

namespace mailrail {

SnapshotLook SnapshotReader::ReadFirst(size_t bytes, void* value, uint64_t* version,
                                       int attempts) const {
  for (int attempt = 0; attempt < attempts; ++attempt) {
    // Acquires the words of that version, which Publish has released with it.
    const uint64_t latest = header().latest.load(std::memory_order_acquire);
    if (latest == 0) return SnapshotLook::kNone;
    if (latest >= kSnapshotVersionsEnd) return SnapshotLook::kCorrupt;
    CopyFromWords(
        reinterpret_cast<const SharedAtomic<uint64_t>*>(data_ + geometry_.offset_of(latest)), bytes,
        value);
    // Behind all words. Partner: the fence in SnapshotWriter::Publish.
    std::atomic_thread_fence(std::memory_order_acquire);
    const uint64_t now = header().latest.load(std::memory_order_relaxed);
    // The version that has this buffer next is `latest + buffers`, begun when `now` is one less. A
    // number that went back is no sound writer's, and is as far away.
    if (now - latest < geometry_.buffers - 1) {
      *version = latest;
      return SnapshotLook::kRead;
    }
  }
  return SnapshotLook::kOvertaken;
}

}  // namespace mailrail
