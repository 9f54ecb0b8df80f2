#include "core/region/snapshot_writer.h"

#include <atomic>

#include "core/region/word_copy.h"

namespace mailrail {

SnapshotWriter::SnapshotWriter(const SnapshotGeometry& geometry, char* data, SnapshotBell* bell)
    : geometry_(geometry),
      data_(data),
      gate_(&bell->gate),
      ringer_(&bell->bell, &bell->gate),
      // Its writer has ended, which is ordered before this by whoever has told of that.
      version_(header().latest.load(std::memory_order_relaxed)) {}

void SnapshotWriter::Publish(const void* value) {
  const uint64_t version = version_ + 1;
  // Behind `latest` of the version before. Partner: the fence in SnapshotReader::ReadFirst.
  std::atomic_thread_fence(std::memory_order_release);
  CopyIntoWords(value, geometry_.value_bytes,
                reinterpret_cast<SharedAtomic<uint64_t>*>(data_ + geometry_.offset_of(version)));
  // Both release the words to the first load in SnapshotReader::ReadFirst.
  if (ringer_.publication() == Publication::kPlain) {
    header().latest.store(version, std::memory_order_release);
  } else {
    header().latest.exchange(version);
  }
  version_ = version;
  ringer_.Ring();
}

void SnapshotWriter::End() {
  // Releases `latest` to SnapshotReader::ended.
  header().ended.store(1, std::memory_order_release);
  RingGate(gate_);
}

}  // namespace mailrail
