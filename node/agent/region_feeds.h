#ifndef MAILRAIL_NODE_AGENT_REGION_FEEDS_H_
#define MAILRAIL_NODE_AGENT_REGION_FEEDS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/region/snapshot_reader.h"
#include "core/shm/memory.h"
#include "node/agent/loop.h"
#include "node/agent/registry.h"
#include "proto/peer.pb.h"

namespace mailrail {

// What other nodes ask for of this one's regions and values: the next version, as what has changed
// since the one that they have. Of each that is asked for there is a copy of one version, and by
// block in which version it changed last: so any node is told what it lacks. The copy moves on to a
// newer version only when nobody has gathered a part of it.
//
// Nothing of this is kept: a node asks again after each reconnect. An agent that starts again
// counts changes anew (its lineage), and then all of it is sent once more.
//
// Bounded by what there is here and by the number of nodes. One thread at a time: the loop's.
class RegionFeeds {
 public:
  using Answer = std::function<void(const std::string& node, uint64_t id, const proto::Reply&)>;

  // How much one answer has of blocks of so many bytes.
  static constexpr size_t kBlock = 4096;
  static constexpr size_t kPartBytes = 128 << 10;
  // Whoever has published tells the agent, unless it is behind: then this look finds it.
  static constexpr absl::Duration kLookAgain = absl::Milliseconds(250);
  // Who has gathered a part, and does not ask for the next, does not hold up others for longer.
  static constexpr absl::Duration kGathering = absl::Seconds(2);
  // Who has not asked for so long does not read it any more.
  static constexpr absl::Duration kSilence = absl::Seconds(10);

  // Both outlive it.
  RegionFeeds(Loop* loop, Registry* registry, Answer answer)
      : loop_(loop), registry_(registry), answer_(std::move(answer)) {}

  void Next(const std::string& node, uint64_t id, const proto::NextRegion& next);
  void Forget(const std::string& node, uint64_t id, const proto::ForgetRegion& forget);

  // A process says that it has published.
  void Look(const NamedRegion& region);
  // There will be no newer version: whoever has the last one is told.
  void OnDestroyed(const NamedRegion& region);
  // The node asks again when it is back.
  void OnPeerDown(const std::string& node);

  // The nodes that have asked lately.
  std::vector<std::string> NodesOf(const NamedRegion& region) const;

 private:
  struct Asker {
    bool waits = false;  // for an answer
    uint64_t id = 0;
    proto::NextRegion asked;
    bool gathers = false;
    absl::Time heard;
  };
  struct Feed {
    uint64_t region = 0;
    Mapping data;
    SnapshotReader reader;
    uint64_t lineage = 0;
    uint64_t version = 0;
    std::string copy;
    std::vector<uint64_t> changed;  // by block
    bool ended = false;
    std::map<std::string, Asker> askers = {};
  };
  using Feeds = std::map<uint64_t, Feed>;  // by stamp

  absl::StatusOr<Feed*> FindOrMake(const proto::NextRegion& next);
  // Takes over a newer version, if there is one and it may.
  void Refresh(Feed* feed);
  // Answers all that can be answered, and asks to be told if somebody waits.
  void Settle(Feed* feed);
  // False: it is to wait.
  bool AnswerOne(const Feed& feed, const std::string& node, Asker* asker);
  void Say(const std::string& node, uint64_t id, const absl::Status& status);
  void LookAgain();
  void Drop(Feeds::iterator feed);

  Loop* const loop_;
  Registry* const registry_;
  const Answer answer_;
  Feeds feeds_;
  bool looks_ = false;  // a timer runs
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_REGION_FEEDS_H_
