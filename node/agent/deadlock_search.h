#ifndef MAILRAIL_NODE_AGENT_DEADLOCK_SEARCH_H_
#define MAILRAIL_NODE_AGENT_DEADLOCK_SEARCH_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "node/agent/far_objects.h"
#include "node/agent/objects.h"
#include "node/agent/registry.h"
#include "node/directory/peer_caller.h"
#include "proto/common.pb.h"
#include "proto/peer.pb.h"

namespace mailrail {

// Finds waits for locks that would never end, over the nodes: who waits is known to the agent of
// its process, who holds a lock to the agent of its home. The agent of one that waits follows the
// waits-for graph by asking them.
//
// What they say is of different moments. So a cycle that was found is followed once more: each of
// its waits must be the same one still. Then all of them waited at the moment in between, and a
// thread that waits lets go of nothing. Of a cycle the wait that has begun last is refused, if it
// can be, by its own agent: the others see the same, and leave it to that one.
//
// One thread at a time: the loop's.
class DeadlockSearch {
 public:
  // All outlive it.
  DeadlockSearch(Registry* registry, Objects* objects, FarObjects* far_objects, PeerCaller* peers)
      : registry_(registry), objects_(objects), far_objects_(far_objects), peers_(peers) {}

  // For a thread of a process of this node: `done` is called, at once or later, with OK, or with
  // kFailedPrecondition and the cycle in words when its wait is to be refused.
  using Callback = std::function<void(const absl::Status&)>;
  void Search(uint32_t number, uint32_t thread, Callback done);

  // What other agents ask. None: it does not wait for a lock.
  absl::optional<proto::ThreadWait> WaitOf(const proto::ThreadRef& thread);
  std::vector<proto::ThreadHold> HoldersOf(const proto::HoldersOf& question);

 private:
  struct Run;
  using RunPtr = std::shared_ptr<Run>;

  void AskWait(const proto::ThreadRef& thread,
               std::function<void(const absl::optional<proto::ThreadWait>&)> done);
  void AskHolders(const proto::ThreadWait& wait, const proto::ThreadRef& waiter,
                  std::function<void(const std::vector<proto::ThreadHold>&)> done);
  void Next(const RunPtr& run);
  void Follow(const RunPtr& run, const proto::ThreadRef& thread, const proto::ThreadWait& wait);
  // Follows the cycle once more, from its `step`th.
  void Verify(const RunPtr& run, size_t step);
  absl::Status Verdict(const Run& run) const;

  Registry* const registry_;
  Objects* const objects_;
  FarObjects* const far_objects_;
  PeerCaller* const peers_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_DEADLOCK_SEARCH_H_
