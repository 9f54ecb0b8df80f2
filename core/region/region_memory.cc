#include "core/region/region_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/shm/memory_limit.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace mailrail {
namespace {

constexpr size_t kPage = 4096;

Access MappedAs(RegionAccess access) {
  return access == RegionAccess::kReadOnly ? Access::kReadOnly : Access::kReadWrite;
}

absl::StatusOr<size_t> SizeOf(const Fd& fd) {
  struct stat status;
  if (fstat(fd.get(), &status) != 0) return absl::ErrnoToStatus(errno, "fstat");
  return static_cast<size_t>(std::max<off_t>(status.st_size, 0));
}

absl::StatusOr<Fd> OpenFile(const std::string& path, const RegionFileOptions& options) {
  const bool writes = options.access == RegionAccess::kReadWrite;
  // O_NONBLOCK: not to wait for whoever else opens it, should it be a FIFO.
  const int flags = (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
                    (writes && options.create ? O_CREAT : 0);
  Fd fd(open(path.c_str(), flags, options.mode));
  if (!fd.valid()) return DescriptorError(errno, path);
  struct stat status;
  if (fstat(fd.get(), &status) != 0) return absl::ErrnoToStatus(errno, path);
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  return fd;
}

// Has the file system provide what will be written; the file grows to `bytes`, and what is in it
// stays. What another program does in it meanwhile stays too.
absl::Status ReserveFile(const Fd& fd, size_t bytes, const std::string& path) {
  int result;
  do {
    result = fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return absl::OkStatus();
  const int error = errno;
  const std::string what = absl::StrCat("reserving ", bytes, " bytes for ", path);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": ", absl::ErrnoToStatus(error, "").message()));
  }
  if (error == EOPNOTSUPP) {
    return absl::UnimplementedError(
        absl::StrCat(what, ": its file system cannot; take another, or map it for reading"));
  }
  return absl::ErrnoToStatus(error, what);
}

}  // namespace

absl::Status CheckMemoryFor(size_t bytes) {
  const uint64_t host = PhysicalMemory(), cgroup = CgroupMemoryLimit();
  if (bytes <= std::min(host, cgroup)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("a region of ", bytes, " bytes is more than ",
                   cgroup < host ? "the memory limit of this cgroup" : "this host's memory", ", ",
                   std::min(host, cgroup), " bytes"));
}

absl::Status ProvideMemory(char* begin, size_t bytes) {
  // EINVAL: a kernel that does not know it.
  if (madvise(begin, bytes, MADV_POPULATE_WRITE) == 0 || errno == EINVAL) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the kernel has no ", bytes, " bytes of memory to share"));
}

absl::StatusOr<Fd> CopyDescriptor(int descriptor) {
  Fd fd(fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (!fd.valid()) return DescriptorError(errno, "the descriptor of a region");
  return fd;
}

absl::StatusOr<RegionMemory> CreateAnonymousRegion(size_t bytes) {
  if (bytes == 0) return absl::InvalidArgumentError("a region has at least one byte");
  if (absl::Status status = CheckMemoryFor(bytes); !status.ok()) return status;
  const size_t pages = (bytes + kPage - 1) / kPage * kPage;
  absl::StatusOr<Fd> fd = CreateMemory("mailrail-region", pages);
  if (!fd.ok()) return fd.status();
  absl::StatusOr<Mapping> mapping = Mapping::Map(*fd, pages, Access::kReadWrite);
  if (!mapping.ok()) return mapping.status();
  return RegionMemory{.fd = *std::move(fd),
                      .mapping = *std::move(mapping),
                      .bytes = pages,
                      .access = RegionAccess::kReadWrite};
}

absl::StatusOr<RegionMemory> MapRegionFile(const std::string& path,
                                           const RegionFileOptions& options) {
  if (options.create && options.access == RegionAccess::kReadOnly) {
    return absl::InvalidArgumentError("a file that is made is opened to be written");
  }
  if (options.bytes > std::numeric_limits<off_t>::max() - kPage) {
    return absl::InvalidArgumentError(absl::StrCat("no file has ", options.bytes, " bytes"));
  }
  absl::StatusOr<Fd> fd = OpenFile(path, options);
  if (!fd.ok()) return fd.status();
  absl::StatusOr<size_t> size = SizeOf(*fd);
  if (!size.ok()) return size.status();
  const size_t bytes = options.bytes == 0 ? *size : options.bytes;
  if (bytes == 0) return absl::InvalidArgumentError(absl::StrCat(path, " is empty"));
  if (options.access == RegionAccess::kReadWrite) {
    if (absl::Status status = ReserveFile(*fd, bytes, path); !status.ok()) return status;
  }
  absl::StatusOr<Mapping> mapping = Mapping::MapFile(*fd, bytes, MappedAs(options.access));
  if (!mapping.ok()) return mapping.status();
  return RegionMemory{.fd = *std::move(fd),
                      .mapping = *std::move(mapping),
                      .bytes = bytes,
                      .access = options.access,
                      .is_file = true};
}

absl::StatusOr<RegionMemory> RegionOfDescriptor(int descriptor) {
  absl::StatusOr<Fd> fd = CopyDescriptor(descriptor);
  if (!fd.ok()) return fd.status();
  const int flags = fcntl(fd->get(), F_GETFL);
  absl::StatusOr<size_t> size = SizeOf(*fd);
  if (flags < 0 || !size.ok() || *size == 0) {
    return absl::DataLossError("this is no region's descriptor");
  }
  const RegionAccess access =
      (flags & O_ACCMODE) == O_RDWR ? RegionAccess::kReadWrite : RegionAccess::kReadOnly;
  absl::StatusOr<Mapping> mapping = Mapping::Map(*fd, *size, MappedAs(access));
  if (!mapping.ok()) return mapping.status();
  return RegionMemory{
      .fd = *std::move(fd), .mapping = *std::move(mapping), .bytes = *size, .access = access};
}

absl::StatusOr<Fd> ShareRegion(const RegionMemory& region, RegionAccess access) {
  if (access == RegionAccess::kReadOnly && region.access == RegionAccess::kReadWrite) {
    return OpenReadOnly(region.fd);
  }
  if (access == RegionAccess::kReadWrite && region.access == RegionAccess::kReadOnly) {
    return absl::PermissionDeniedError("a region that is read-only here cannot be shared as more");
  }
  return CopyDescriptor(region.fd.get());
}

}  // namespace mailrail
