#include "node/agent/wait_graph.h"

#include <algorithm>
#include <map>

namespace mailrail {

bool WaitGraph::Add(Holder who, uint64_t object, bool shared, absl::Time now, bool must) {
  const auto known = waits_.find(Key(who));
  if (known == waits_.end()) {
    size_t of_process = 0;
    auto next = waits_.lower_bound(Key({who.number, 0}));
    while (next != waits_.end() && IsHeldBy(next->first, who.number)) {
      const bool over = now - next->second.said > kBelieved;
      of_process += over ? 0 : 1;
      next = over ? waits_.erase(next) : std::next(next);
    }
    if (of_process >= kMostOfProcess) return false;
  }
  Wait& wait = waits_[Key(who)];
  const bool same = wait.object == object && wait.shared == shared && now - wait.said <= kBelieved;
  wait = {object, shared, must, same ? wait.began : now, now};
  return true;
}

void WaitGraph::RemoveProcess(uint32_t number) {
  std::erase_if(waits_, [number](const auto& entry) { return IsHeldBy(entry.first, number); });
}

void WaitGraph::RemoveObject(uint64_t object) {
  std::erase_if(waits_, [object](const auto& entry) { return entry.second.object == object; });
}

const WaitGraph::Wait* WaitGraph::Find(Holder who, absl::Time now) const {
  const auto it = waits_.find(Key(who));
  if (it == waits_.end() || now - it->second.said > kBelieved) return nullptr;
  return &it->second;
}

std::vector<WaitGraph::Step> WaitGraph::FindCycle(Holder who, absl::Time now,
                                                  HoldersOf holders) const {
  // Breadth first, so that the cycle is the shortest one: from whom each was reached.
  std::map<uint64_t, Step> reached_from;
  std::vector<Holder> next = {who};
  for (size_t i = 0; i < next.size(); ++i) {
    const Holder waiter = next[i];
    const Wait* const wait = Find(waiter, now);
    if (wait == nullptr) continue;
    const Step step = {waiter, wait->object, wait->shared};
    for (const Holder holder : holders(waiter, wait->object, wait->shared)) {
      if (holder == who) {
        std::vector<Step> cycle = {step};
        while (!(cycle.back().who == who)) cycle.push_back(reached_from.at(Key(cycle.back().who)));
        std::reverse(cycle.begin(), cycle.end());
        return cycle;
      }
      if (reached_from.emplace(Key(holder), step).second) next.push_back(holder);
    }
  }
  return {};
}

std::vector<std::pair<Holder, WaitGraph::Wait>> WaitGraph::WaitersOf(uint64_t object,
                                                                     absl::Time now) const {
  std::vector<std::pair<Holder, Wait>> waiters;
  for (const auto& [key, wait] : waits_) {
    if (wait.object == object && now - wait.said <= kBelieved) {
      waiters.emplace_back(Holder::Unpack(key), wait);
    }
  }
  return waiters;
}

}  // namespace mailrail
