#include "node/agent/post_queue.h"

#include <algorithm>

#include "absl/time/clock.h"

namespace mailrail {
namespace {

// The consumer tells of room by a futex, which the loop cannot wait for: it looks again, less often
// the longer nothing moves.
constexpr absl::Duration kFirstLook = absl::Milliseconds(1);
constexpr absl::Duration kRarestLook = absl::Milliseconds(20);

}  // namespace

bool PostQueue::SendFirst(Line* line) {
  Post& first = line->posts.front();
  if (first.wanted()) {
    const absl::Status status =
        first.lane->Send(first.priority, {first.prefix, first.body}, absl::InfinitePast(),
                         {.due_tick = first.due_tick});
    if (absl::IsDeadlineExceeded(status) && absl::Now() < first.deadline) return false;
    first.done(status);
  }
  line->posts.pop_front();
  return true;
}

void PostQueue::Schedule(const Key& key, absl::Duration delay) {
  lines_[key].delay = delay;
  loop_->RunAfter(delay, [this, key] { Run(key); });
}

void PostQueue::Add(Post post) {
  const Key key(post.lane.get(), post.priority);
  const auto [line, added] = lines_.try_emplace(key);
  line->second.posts.push_back(std::move(post));
  if (!added) return;
  if (SendFirst(&line->second)) {
    lines_.erase(line);
  } else {
    Schedule(key, kFirstLook);
  }
}

void PostQueue::Run(const Key& key) {
  Line& line = lines_.at(key);
  bool moved = false;
  while (!line.posts.empty() && SendFirst(&line)) moved = true;
  // Those behind the first give up at their own deadlines.
  const absl::Time now = absl::Now();
  std::erase_if(line.posts, [now](const Post& post) {
    if (post.wanted() && now < post.deadline) return false;
    if (post.wanted()) {
      post.done(absl::DeadlineExceededError("there was no room until the deadline"));
    }
    return true;
  });
  if (line.posts.empty()) {
    lines_.erase(key);
  } else {
    Schedule(key, moved ? kFirstLook : std::min(2 * line.delay, kRarestLook));
  }
}

}  // namespace mailrail
