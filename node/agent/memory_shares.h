#ifndef MAILRAIL_NODE_AGENT_MEMORY_SHARES_H_
#define MAILRAIL_NODE_AGENT_MEMORY_SHARES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/shm/budget.h"
#include "node/agent/loop.h"
#include "node/agent/registry.h"

namespace mailrail {

// Who may reserve how much of the shared memory that this node may have for messages. What is there
// is measured, in the files themselves, so that lanes of the dead count, and nobody needs to be
// believed. What is left is shared out: a part for those who have asked for more, a part for all,
// and a part is kept for those who come. Shares are words in the control pages of inboxes, and
// change at any time; all that is granted is never more than what the node has.
//
// One thread at a time: the loop's.
class MemoryShares {
 public:
  struct Options {
    uint64_t node_bytes = 0;
    // The most of one process, however much is left; 0: no such limit.
    uint64_t process_bytes = 0;
    std::function<void(absl::string_view)> log;
  };

  // `loop` and `registry` outlive it.
  MemoryShares(Options options, Loop* loop, Registry* registry);

  // Of the agent's own lanes.
  const std::shared_ptr<Budget>& agent_budget() const { return agent_budget_; }

  // A process has attached; what it may have is in its page when this returns.
  void OnAttach(const LocalProcess& process);
  // What a process says it has reserved, and how much more it wants. Number 0 is the agent itself.
  void OnUse(uint32_t number, uint64_t used_bytes, uint64_t wanted_bytes);
  // After a restart: for all who are here.
  void Resume() { Share(); }

  // What is there of what a process writes, and how much it may have.
  struct Use {
    uint64_t used_bytes = 0;
    uint64_t limit_bytes = 0;
  };
  Use Of(const LocalProcess& process) const;

 private:
  using Uses = absl::flat_hash_map<uint32_t, uint64_t>;

  // All memory for messages there is, and in `uses` that of each who still writes it.
  uint64_t Measure(Uses* uses) const;
  void Share();
  void ShareSoon();
  void Grant(SharedAtomic<uint64_t>* word, uint64_t bytes) const;
  void LogWhenFull(uint64_t total);

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  const std::shared_ptr<SharedAtomic<uint64_t>> agent_word_;
  const std::shared_ptr<Budget> agent_budget_;
  Uses told_;  // what each has said that it has reserved
  std::set<uint32_t> asked_;
  uint64_t newcomers_whole_ = 0;  // kept for those who come, after the last sharing
  uint64_t newcomers_left_ = 0;   // and what they have left of it
  bool scheduled_ = false;
  bool full_ = false;
  absl::Time not_before_ = absl::InfinitePast();
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_MEMORY_SHARES_H_
