#ifndef MAILRAIL_NODE_AGENT_LIMIT_WATCH_H_
#define MAILRAIL_NODE_AGENT_LIMIT_WATCH_H_

#include <cstdint>
#include <functional>
#include <set>

#include "absl/strings/string_view.h"
#include "node/agent/loop.h"
#include "node/agent/registry.h"

namespace mailrail {

// Says in the log when the agent is at 90 % of its limit of descriptors, mappings or processes, and
// when a process is at that of mappings, before anybody is refused for it. It says so again when it
// was less in between. One thread at a time: the loop's.
class LimitWatch {
 public:
  // `loop` and `registry` outlive it.
  LimitWatch(std::function<void(absl::string_view)> log, size_t max_processes, Loop* loop,
             const Registry* registry)
      : log_(std::move(log)), max_processes_(max_processes), loop_(loop), registry_(registry) {}

  // Looks now, and then each second.
  void Look();

 private:
  void LookAtProcesses();
  // Whether it is the first look since it was less that finds `now` near `limit`.
  static bool NewlyNear(size_t now, size_t limit, bool* near);

  const std::function<void(absl::string_view)> log_;
  const size_t max_processes_;
  Loop* const loop_;
  const Registry* const registry_;
  bool descriptors_near_ = false;
  bool mappings_near_ = false;
  bool processes_near_ = false;
  std::set<uint32_t> near_;  // processes that are near their limit of mappings
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_LIMIT_WATCH_H_
