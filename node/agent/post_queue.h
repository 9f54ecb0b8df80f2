#ifndef MAILRAIL_NODE_AGENT_POST_QUEUE_H_
#define MAILRAIL_NODE_AGENT_POST_QUEUE_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/mailbox/outgoing_lane.h"
#include "node/agent/loop.h"

namespace mailrail {

// Sends messages on lanes of the agent's, in order. Those for a full lane wait in a line of their
// own for each lane and priority, and only the first of a line is tried again: a full destination
// costs the others nothing. One thread at a time: the loop's.
class PostQueue {
 public:
  struct Post {
    std::shared_ptr<OutgoingLane> lane;
    int priority = 0;
    std::string prefix;
    uint32_t due_tick = DueTick::kAtOnce;
    std::string body;
    absl::Time deadline;
    // Whether somebody still waits for `done`.
    std::function<bool()> wanted;
    // kDeadlineExceeded when there was no room until the deadline; else what Send says.
    std::function<void(const absl::Status&)> done;
  };

  // `loop` outlives it, and this outlives what runs in the loop.
  explicit PostQueue(Loop* loop) : loop_(loop) {}

  void Add(Post post);

 private:
  using Key = std::pair<const OutgoingLane*, int>;
  struct Line {
    std::deque<Post> posts;
    absl::Duration delay;
  };
  // Drops from the line what is sent, given up or failed; false when the first has to wait.
  static bool SendFirst(Line* line);
  void Schedule(const Key& key, absl::Duration delay);
  void Run(const Key& key);

  Loop* const loop_;
  std::map<Key, Line> lines_;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_POST_QUEUE_H_
