#ifndef MAILRAIL_CORE_SHM_MEMORY_H_
#define MAILRAIL_CORE_SHM_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/fd.h"
#include "core/base/fork.h"

namespace mailrail {

// Shared memory is sealed memfd: no name in any file system, so nothing can be left behind, and a
// size that nobody can change, so that no access is ever out of the file.

// Whether whoever has a writable descriptor of a memory may seal it further. Only the memory that
// one process alone writes is to be sealed by it (SealAgainstWriting); any other could be made
// unusable so, for whoever maps it for writing later: new senders, or an agent that is started
// again.
enum class MoreSeals { kRefused, kAllowed };

// Creates zeroed, sparse memory of `bytes` (rounded up to pages), sealed against shrinking and
// growing, mode 0400. `name` shows in /proc/PID/maps. kResourceExhausted when the limit of
// descriptors is reached.
absl::StatusOr<Fd> CreateMemory(const std::string& name, size_t bytes,
                                MoreSeals more = MoreSeals::kRefused);

// A descriptor of the same memory that can only be mapped for reading. Other users cannot reopen
// it for writing, because of the mode.
absl::StatusOr<Fd> OpenReadOnly(const Fd& memory);

// Refuses every further writable mapping, the owner's later ones too; existing ones stay.
// kPermissionDenied for memory that was created with MoreSeals::kRefused.
absl::Status SealAgainstWriting(const Fd& memory);

// kResourceExhausted, in words, when this program could not take over so many descriptors, or not
// map them, for its limits. A look: others may take what is left.
absl::Status CheckRoomToMap(int descriptors);

// How many of these mappings this program has, and how many of all kinds the kernel lets it have.
size_t MappingsNow();
size_t MappingsAtMost();

enum class Access { kReadOnly, kReadWrite };

// A mapping of such memory, or of a file, not in core dumps and not inherited by fork: where it
// stood the child has whatever it maps there itself, so its copy of this is not to be used, and
// unmaps nothing. Move-only.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  // Maps at least `bytes` of `memory`. kDataLoss when the memory is smaller or not sealed against
  // shrinking, so that using it could end in SIGBUS; kResourceExhausted at the limit of mappings.
  static absl::StatusOr<Mapping> Map(const Fd& memory, size_t bytes, Access access);

  // The same of a regular file, which nothing keeps from shrinking: whoever touches what is behind
  // its end then gets SIGBUS. kDataLoss when it is smaller than `bytes` now.
  static absl::StatusOr<Mapping> MapFile(const Fd& file, size_t bytes, Access access);

  bool valid() const { return data_ != nullptr; }
  char* data() const { return data_; }
  size_t size() const { return size_; }

  // Whether this is the copy of a forked child, where there is no mapping.
  bool left_behind() const { return fork_generation_ != ForkGeneration(); }

 private:
  static absl::StatusOr<Mapping> MapPages(const Fd& fd, size_t size, Access access);

  char* data_ = nullptr;
  size_t size_ = 0;
  uint32_t fork_generation_ = 0;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_MEMORY_H_
