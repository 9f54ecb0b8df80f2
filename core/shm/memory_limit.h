#ifndef MAILRAIL_CORE_SHM_MEMORY_LIMIT_H_
#define MAILRAIL_CORE_SHM_MEMORY_LIMIT_H_

#include <cstdint>
#include <string>

namespace mailrail {

// The smallest memory limit of the cgroups that this process is in, each up to the root, in version
// 2 and 1; UINT64_MAX without one. `root` goes before /proc and /sys, for tests.
uint64_t CgroupMemoryLimit(const std::string& root = "");

// The host's memory, in bytes.
uint64_t PhysicalMemory();

}  // namespace mailrail

#endif  // MAILRAIL_CORE_SHM_MEMORY_LIMIT_H_
