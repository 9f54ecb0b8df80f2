#ifndef MAILRAIL_REGION_H_
#define MAILRAIL_REGION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

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

// Memory that several programs have: anonymous, for whoever is given a descriptor, or a mapped
// file. What they do in it beside each other is theirs to order; SharedValue does it for one value.
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

  SharedRegion(SharedRegion&&) noexcept;
  SharedRegion& operator=(SharedRegion&&) noexcept;
  // Unmaps it here. Others keep it.
  ~SharedRegion();

  // Its first byte, aligned to pages. Null in the child of a fork.
  const char* data() const;
  // The same to write to; null too when it is read-only.
  char* mutable_data();
  // In bytes: whole pages, but for a file's.
  size_t size() const;
  RegionAccess access() const;

  // A new descriptor for somebody who is to have this region with no more than `access`: to be sent
  // over a Unix socket, or kept for a child. The caller closes it; it is closed on exec, unless
  // that is undone or it is a copy by dup2. kPermissionDenied to give more than one has, and to
  // make a read-only one of another user's region.
  absl::StatusOr<int> Share(RegionAccess access) const;

  // Of a file: waits until what was written so far is on the disk. Of anonymous memory: nothing.
  absl::Status Flush();

 private:
  explicit SharedRegion(std::unique_ptr<internal::RegionImpl> impl);
  std::unique_ptr<internal::RegionImpl> impl_;
};

}  // namespace mailrail

#endif  // MAILRAIL_REGION_H_
