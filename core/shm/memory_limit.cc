#include "core/shm/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace mailrail {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

// "max" is none.
uint64_t ReadLimit(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  uint64_t limit = 0;
  return file >> text && absl::SimpleAtoi(text, &limit) ? limit : kNone;
}

// Of the cgroup `path` and all above it.
uint64_t SmallestLimit(const std::string& mount, std::string path, const std::string& file) {
  uint64_t smallest = kNone;
  while (true) {
    smallest = std::min(smallest, ReadLimit(absl::StrCat(mount, path, "/", file)));
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return smallest;
    path.resize(slash);
  }
}

}  // namespace

uint64_t CgroupMemoryLimit(const std::string& root) {
  const std::string mount = absl::StrCat(root, "/sys/fs/cgroup");
  std::ifstream cgroups(absl::StrCat(root, "/proc/self/cgroup"));
  uint64_t smallest = kNone;
  for (std::string line; std::getline(cgroups, line);) {
    // HIERARCHY:CONTROLLERS:PATH; version 2 names no controllers.
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    if (parts[1].empty()) {
      for (const char* const place : {"", "/unified"}) {
        smallest = std::min(smallest, SmallestLimit(mount + place, parts[2], "memory.max"));
      }
    }
    const std::vector<absl::string_view> controllers = absl::StrSplit(parts[1], ',');
    if (std::find(controllers.begin(), controllers.end(), "memory") != controllers.end()) {
      smallest =
          std::min(smallest, SmallestLimit(mount + "/memory", parts[2], "memory.limit_in_bytes"));
    }
  }
  return smallest;
}

uint64_t PhysicalMemory() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace mailrail
