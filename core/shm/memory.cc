#include "core/shm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/step.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace mailrail {
namespace {

constexpr size_t kPage = 4096;

std::atomic<size_t> mappings_now{0};

absl::Status MappingError(int error) {
  if (error != ENOMEM) return absl::ErrnoToStatus(error, "mmap");
  return absl::ResourceExhaustedError(absl::StrCat(
      program_invocation_short_name, " (pid ", getpid(), ") can map no more memory: it may have ",
      MappingsAtMost(), " mappings (vm.max_map_count): close what is not needed, or raise that"));
}

size_t RoundUpToPages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// Kernels before 6.3 do not know MFD_NOEXEC_SEAL and say EINVAL.
int NewMemfd(const std::string& name) {
  Step();
  const int fd = memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd >= 0 || errno != EINVAL) return fd;
  return memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

}  // namespace

absl::StatusOr<Fd> CreateMemory(const std::string& name, size_t bytes, MoreSeals more) {
  Fd fd(NewMemfd(name));
  if (!fd.valid()) return DescriptorError(errno, "memfd_create");
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | (more == MoreSeals::kRefused ? F_SEAL_SEAL : 0);
  if (ftruncate(fd.get(), static_cast<off_t>(RoundUpToPages(bytes))) != 0 ||
      fchmod(fd.get(), 0400) != 0 || fcntl(fd.get(), F_ADD_SEALS, seals) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("memory ", name));
  }
  return fd;
}

absl::StatusOr<Fd> OpenReadOnly(const Fd& memory) {
  Step();
  Fd fd(open(absl::StrCat("/proc/self/fd/", memory.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return DescriptorError(errno, "reopening memory for reading");
  return fd;
}

absl::Status SealAgainstWriting(const Fd& memory) {
  Step();
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0) {
    return absl::ErrnoToStatus(errno, "sealing memory");
  }
  return absl::OkStatus();
}

size_t MappingsNow() { return mappings_now.load(std::memory_order_relaxed); }

size_t MappingsAtMost() {
  static const size_t most = [] {
    size_t limit = 65530;
    if (FILE* const file = fopen("/proc/sys/vm/max_map_count", "re"); file != nullptr) {
      if (fscanf(file, "%zu", &limit) != 1) limit = 65530;
      fclose(file);
    }
    return limit;
  }();
  return most;
}

absl::Status CheckRoomToMap(int descriptors) {
  std::vector<Fd> fds;
  for (int i = 0; i < descriptors; ++i) {
    fds.emplace_back(eventfd(0, EFD_CLOEXEC));
    if (!fds.back().valid()) return DescriptorError(errno, "opening a descriptor");
  }
  // Shared ones are never merged with their neighbours.
  std::vector<void*> pages;
  int error = 0;
  for (int i = 0; i < descriptors && error == 0; ++i) {
    void* const page = mmap(nullptr, kPage, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
      error = errno;
    } else {
      pages.push_back(page);
    }
  }
  for (void* const page : pages) munmap(page, kPage);
  return error == 0 ? absl::OkStatus() : MappingError(error);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      fork_generation_(other.fork_generation_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(fork_generation_, other.fork_generation_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ == nullptr || left_behind()) return;
  Step();
  munmap(data_, size_);
  mappings_now.fetch_sub(1, std::memory_order_relaxed);
}

absl::StatusOr<Mapping> Mapping::Map(const Fd& memory, size_t bytes, Access access) {
  struct stat status;
  if (fstat(memory.get(), &status) != 0) return absl::ErrnoToStatus(errno, "fstat");
  const int seals = fcntl(memory.get(), F_GET_SEALS);
  const size_t size = RoundUpToPages(bytes);
  if (status.st_size < 0 || static_cast<size_t>(status.st_size) < size || seals < 0 ||
      (seals & F_SEAL_SHRINK) == 0) {
    return absl::DataLossError("memory is too small, or not sealed against shrinking");
  }
  return MapPages(memory, size, access);
}

absl::StatusOr<Mapping> Mapping::MapFile(const Fd& file, size_t bytes, Access access) {
  struct stat status;
  if (fstat(file.get(), &status) != 0) return absl::ErrnoToStatus(errno, "fstat");
  if (!S_ISREG(status.st_mode)) return absl::InvalidArgumentError("not a regular file");
  if (status.st_size < 0 || static_cast<size_t>(status.st_size) < bytes) {
    return absl::DataLossError(
        absl::StrCat("the file has ", status.st_size, " bytes, and ", bytes, " are to be mapped"));
  }
  return MapPages(file, RoundUpToPages(bytes), access);
}

absl::StatusOr<Mapping> Mapping::MapPages(const Fd& fd, size_t size, Access access) {
  const int protection = access == Access::kReadOnly ? PROT_READ : PROT_READ | PROT_WRITE;
  Step();
  void* data = mmap(nullptr, size, protection, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
  if (data == MAP_FAILED) return MappingError(errno);
  mappings_now.fetch_add(1, std::memory_order_relaxed);
  Step();
  madvise(data, size, MADV_DONTFORK);
  madvise(data, size, MADV_DONTDUMP);
  Mapping mapping;
  mapping.data_ = static_cast<char*>(data);
  mapping.size_ = size;
  mapping.fork_generation_ = ForkGeneration();
  return mapping;
}

}  // namespace mailrail
