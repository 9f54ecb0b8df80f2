#include "node/agent/limit_watch.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "absl/strings/str_cat.h"
#include "core/base/fd.h"
#include "core/shm/memory.h"

namespace mailrail {
namespace {

constexpr absl::Duration kBetweenLooks = absl::Seconds(1);

// How many mappings a process has for each link or lane of its own.
constexpr size_t kMappingsPerLane = 5;

// The smallest number that no descriptor has: about as many are open.
size_t DescriptorsNow(size_t limit) {
  const Fd next(fcntl(0, F_DUPFD_CLOEXEC, 0));
  return next.valid() ? static_cast<size_t>(next.get()) : limit;
}

}  // namespace

bool LimitWatch::NewlyNear(size_t now, size_t limit, bool* near) {
  const bool was = *near;
  *near = 10 * now >= 9 * limit;
  return *near && !was;
}

void LimitWatch::Look() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const size_t descriptors = DescriptorsNow(limit.rlim_cur);
  if (NewlyNear(descriptors, limit.rlim_cur, &descriptors_near_)) {
    log_(absl::StrCat("has ", descriptors, " descriptors of ", limit.rlim_cur,
                      " (RLIMIT_NOFILE): raise that (ulimit -n, LimitNOFILE=), or some will be "
                      "refused"));
  }
  if (NewlyNear(MappingsNow(), MappingsAtMost(), &mappings_near_)) {
    log_(absl::StrCat("has ", MappingsNow(), " mappings of ", MappingsAtMost(),
                      " (vm.max_map_count): raise that, or some will be refused"));
  }
  LookAtProcesses();
  loop_->RunAfter(kBetweenLooks, [this] { Look(); });
}

void LimitWatch::LookAtProcesses() {
  const auto& processes = registry_->processes();
  if (NewlyNear(processes.size(), max_processes_, &processes_near_)) {
    log_(absl::StrCat("serves ", processes.size(), " processes of ", max_processes_,
                      " (--max-processes)"));
  }
  std::set<uint32_t> near;
  for (const auto& [number, process] : processes) {
    const size_t mappings = kMappingsPerLane * (process->links.size() + process->lanes.size());
    if (10 * mappings < 9 * MappingsAtMost()) continue;
    near.insert(number);
    if (near_.contains(number)) continue;
    log_(absl::StrCat("process ", process->id.ToString(), " has some ", mappings, " mappings of ",
                      MappingsAtMost(), " (vm.max_map_count) for its links and lanes"));
  }
  near_ = std::move(near);
}

}  // namespace mailrail
