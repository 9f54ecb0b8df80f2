#ifndef MAILRAIL_CORE_REGION_REGION_MEMORY_H_
#define MAILRAIL_CORE_REGION_REGION_MEMORY_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/fd.h"
#include "core/shm/memory.h"
#include "mailrail/region.h"

namespace mailrail {

// A region as one program has it: its descriptor, which is as good as its mapping and no better.
struct RegionMemory {
  Fd fd;
  Mapping mapping;
  size_t bytes = 0;
  RegionAccess access = RegionAccess::kReadOnly;
  bool is_file = false;
};

// As SharedRegion's of the same names.
absl::StatusOr<RegionMemory> CreateAnonymousRegion(size_t bytes);
absl::StatusOr<RegionMemory> MapRegionFile(const std::string& path,
                                           const RegionFileOptions& options);
absl::StatusOr<RegionMemory> RegionOfDescriptor(int descriptor);
absl::StatusOr<Fd> ShareRegion(const RegionMemory& region, RegionAccess access);

// kResourceExhausted when this host, or this program's cgroup, can never have so much memory.
absl::Status CheckMemoryFor(size_t bytes);

// Has the kernel provide these pages, of a writable mapping, so that who writes to them later is
// not ended for want of memory. kResourceExhausted when it has none.
absl::Status ProvideMemory(char* begin, size_t bytes);

// A copy of somebody else's descriptor, closed on exec.
absl::StatusOr<Fd> CopyDescriptor(int descriptor);

}  // namespace mailrail

#endif  // MAILRAIL_CORE_REGION_REGION_MEMORY_H_
