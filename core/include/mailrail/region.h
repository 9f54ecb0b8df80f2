#ifndef MAILRAIL_REGION_H_
#define MAILRAIL_REGION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "mailrail/process.h"

namespace mailrail {

namespace internal {
class RegionImpl;
}  // namespace internal

// What a region may be used for. The kernel sees to it: who has kReadOnly has a descriptor that
// cannot be mapped for writing, and a mapping that cannot be made writable. (A program of the same
// user may open anonymous memory anew, if it sets out to.)
enum class RegionAccess { kReadOnly, kReadWrite };

// How to map a file.
struct RegionFileOptions {
  RegionAccess access = RegionAccess::kReadWrite;

  // Makes the file, with this mode, when there is none; kInvalidArgument with kReadOnly.
  bool create = false;
  uint32_t mode = 0600;

  // How much of it: from its beginning. A file that is smaller grows to this, unless it is opened
  // for reading; 0: as large as it is.
  size_t bytes = 0;
};

// How to make a region, or a value, that has a name.
struct NamedRegionOptions {
  // kAlreadyExists when there is one.
  bool exclusive = false;

  // It is gone when no process has it open any more; else when it is destroyed, or its node ends.
  bool transient = false;
};

// What a region was when a version of it was published.
struct RegionVersion {
  std::string bytes;
  uint64_t version = 0;
};

// Memory that several programs have: anonymous, for whoever is given a descriptor, a mapped file,
// or by a name that any process of this node opens. What they do in it beside each other is theirs
// to order, by a Mutex, say; SharedValue does it for one value.
//
// A named region has versions, too: Publish copies all of it, and readers get the last version,
// whole, here and on other nodes. What is opened from another node (`prices@alpha`, or a name that
// only another node has) is a read-only replica of the versions. Each version comes there as what
// has changed since the one that is there; between two that come any number may be passed over.
// While its home is cut off the last version stays; then it goes on.
//
// Move-only. Thread-safe, but for move and destruction. It stays as long as anybody has it. The
// child of a fork has it no more: every call refuses there (kFailedPrecondition), data() is null;
// it takes a descriptor from before the fork with FromDescriptor.
//
// Errors of all that make one: kResourceExhausted at the limit of descriptors, of mappings or of
// memory.
class SharedRegion {
 public:
  // New memory of `bytes`, rounded up to pages, all zeros. It has no name, so nothing is left of it
  // when the last program that has it ends, and nobody can shrink it. It is sparse: a page that was
  // never touched takes no memory, and one that was counts as this program's. kInvalidArgument for
  // 0 bytes; kResourceExhausted when the host, or this program's cgroup, can never have so much.
  static absl::StatusOr<SharedRegion> CreateAnonymous(size_t bytes);

  // Maps a regular file. What is written is in the file for others at once, and on the disk when
  // Flush has returned, or some time later. Room for all of it is reserved on the disk before this
  // returns (unless it is opened for reading), so a disk that is full cannot end who writes.
  // Whoever may write the file can also shrink it, and then who touches what is gone is ended by
  // SIGBUS: map only files of those that are trusted so far.
  //   kNotFound          there is none, and it is not to be made
  //   kPermissionDenied  its owner has not granted this
  //   kInvalidArgument   not a regular file; it is empty, and `bytes` is 0
  //   kDataLoss          it is smaller than `bytes`, and opened for reading
  //   kResourceExhausted no room on the disk
  //   kUnimplemented     its file system cannot reserve room
  static absl::StatusOr<SharedRegion> MapFile(const std::string& path,
                                              const RegionFileOptions& options = {});

  // What Share has made, of this program before a fork or of another. The descriptor stays the
  // caller's, and may be closed. The access is the descriptor's. kDataLoss when it is not of a
  // region that nobody can shrink; a file's is not, map that by its path.
  static absl::StatusOr<SharedRegion> FromDescriptor(int descriptor);

  // A region of this node, to be read and written: the one of this name, of so many bytes (rounded
  // up to pages), or a new one of zeros. Its memory is there until it is destroyed, whoever ends;
  // it is sparse. Whoever may reach the agent may open it, and be trusted with it.
  //   kInvalidArgument     a malformed name; 0 bytes
  //   kAlreadyExists       there is one (options.exclusive)
  //   kFailedPrecondition  there is one of another size
  //   kPermissionDenied    the name is of another node
  //   kResourceExhausted   also: the regions of this node have as much memory as they may
  // and as of all calls that ask the agent.
  static absl::StatusOr<SharedRegion> Create(Process& process, absl::string_view name, size_t bytes,
                                             const NamedRegionOptions& options = {},
                                             absl::Time deadline = absl::Now() + absl::Seconds(10));

  // One that is there: of this node, else, for reading, a replica of another's, when the last
  // version has come. kNotFound; kUnavailable while a node that may have it does not answer;
  // kPermissionDenied to write another node's; kFailedPrecondition for another node's without
  // versions.
  static absl::StatusOr<SharedRegion> Open(Process& process, absl::string_view name,
                                           RegionAccess access = RegionAccess::kReadWrite,
                                           absl::Time deadline = absl::Now() + absl::Seconds(10));

  // Whoever has it keeps its memory; there are no more versions. Of this node. kNotFound.
  static absl::Status Destroy(Process& process, absl::string_view name,
                              absl::Time deadline = absl::Now() + absl::Seconds(10));

  SharedRegion(SharedRegion&&) noexcept;
  SharedRegion& operator=(SharedRegion&&) noexcept;
  // Unmaps it here. Others keep it.
  ~SharedRegion();

  // Its first byte, aligned to pages. Null in the child of a fork, and of a replica.
  const char* data() const;
  // The same to write to; null too when it is read-only.
  char* mutable_data();
  // In bytes: whole pages, but for a file's.
  size_t size() const;
  RegionAccess access() const;

  // A new descriptor for somebody who is to have this region with no more than `access`: to be sent
  // over a Unix socket, or kept for a child. The caller closes it; it is closed on exec, unless
  // that is undone or it is a copy by dup2. kPermissionDenied to give more than one has, and to
  // make a read-only one of another user's region; kFailedPrecondition of a replica.
  absl::StatusOr<int> Share(RegionAccess access) const;

  // The largest region that has versions, in bytes.
  static constexpr size_t kLargestVersioned = size_t{16} << 20;

  // Makes what is in a named region now its next version, and returns its number; the first is 1.
  // It waits for nobody. One at a time publishes, and nobody changes the region meanwhile, or the
  // version may be a mixture: writers hold a Mutex. When a writer is killed in the midst the last
  // version stays.
  //   kPermissionDenied    opened for reading
  //   kUnavailable         it was destroyed
  //   kFailedPrecondition  it has no versions: without a name, or larger than kLargestVersioned
  absl::StatusOr<uint64_t> Publish();

  // The last version. It waits for nobody.
  //   kNotFound     nothing was published yet
  //   kUnavailable  versions came too fast to copy one, a thousand times
  //   kDataLoss     its memory is not well-formed
  //   kFailedPrecondition, as of Publish
  absl::StatusOr<RegionVersion> ReadVersion() const;

  // Waits for a version newer than `version`, and returns the last one then. As ReadVersion, but
  //   kDeadlineExceeded  there was none until `deadline`
  //   kUnavailable       also: it was destroyed, and there will be none
  //   kAborted           this process is detached
  absl::StatusOr<RegionVersion> WaitNewer(uint64_t version,
                                          absl::Time deadline = absl::InfiniteFuture()) const;

  // The number of the last version; 0 without one.
  uint64_t version() const;

  // Whether it is a replica of another node's.
  bool replica() const;

  // Of a file: waits until what was written so far is on the disk. Of anonymous memory: nothing.
  absl::Status Flush();

 private:
  explicit SharedRegion(std::unique_ptr<internal::RegionImpl> impl);
  std::unique_ptr<internal::RegionImpl> impl_;
};

}  // namespace mailrail

#endif  // MAILRAIL_REGION_H_
