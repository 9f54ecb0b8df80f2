#ifndef MAILRAIL_NODE_AGENT_WAIT_GRAPH_H_
#define MAILRAIL_NODE_AGENT_WAIT_GRAPH_H_

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "core/sync/sync_layout.h"

namespace mailrail {

// Who waits for which lock: the waits-for graph. Who holds what is not in it, but asked for when it
// is followed. A thread waits for one thing at a time.
//
// A wait closes a cycle when it begins, or never, since a thread that waits gets nothing meanwhile
// that others wait for. So the last one to begin finds it, and nobody else need look.
//
// One thread at a time.
class WaitGraph {
 public:
  struct Wait {
    uint64_t object = 0;
    bool shared = false;  // to read
    bool must = false;    // it cannot be refused
    absl::Time began;     // since it was said first
    absl::Time said;      // last
  };
  // Somebody of a cycle, and what it waits for: it is held by the next one, by the first after the
  // last one.
  struct Step {
    Holder who;
    uint64_t object = 0;
    bool shared = false;
  };
  // Those for whom somebody waits who waits for `object`.
  using HoldersOf =
      absl::FunctionRef<std::vector<Holder>(Holder who, uint64_t object, bool shared)>;

  // How long a wait is believed that is not said again.
  static constexpr absl::Duration kBelieved = absl::Seconds(3);

  // False when so many threads of its process wait already. REQUIRES: of this and Remove, a thread
  // up to Holder::kLargest.
  static constexpr size_t kMostOfProcess = 4096;
  bool Add(Holder who, uint64_t object, bool shared, absl::Time now, bool must = false);
  void Remove(Holder who) { waits_.erase(Key(who)); }
  void RemoveProcess(uint32_t number);
  void RemoveObject(uint64_t object);

  // The cycle that `who`, which waits, is in, beginning with it; empty when it is in none.
  std::vector<Step> FindCycle(Holder who, absl::Time now, HoldersOf holders) const;

  // What a thread waits for; null when it does not wait.
  const Wait* Find(Holder who, absl::Time now) const;

  // Those that wait for an object.
  std::vector<std::pair<Holder, Wait>> WaitersOf(uint64_t object, absl::Time now) const;

 private:
  static uint64_t Key(Holder who) { return who.Pack(); }

  std::map<uint64_t, Wait> waits_;  // by Holder::Pack
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_WAIT_GRAPH_H_
