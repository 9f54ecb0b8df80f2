#ifndef MAILRAIL_NODE_AGENT_REGION_REPLICAS_H_
#define MAILRAIL_NODE_AGENT_REGION_REPLICAS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/region/snapshot_writer.h"
#include "core/shm/memory.h"
#include "node/agent/loop.h"
#include "node/agent/registry.h"
#include "node/directory/peer_caller.h"
#include "proto/peer.pb.h"

namespace mailrail {

// The replicas of other nodes' regions and values: of each, asks its home for what has changed,
// gathers it, and publishes each version that is whole to this node's readers. A question waits at
// home until there is something newer, and is asked again after a reconnect, or by the next agent.
//
// One thread at a time: the loop's.
class RegionReplicas {
 public:
  struct Options {
    // The first version has come, or it is known that there is none yet.
    std::function<void(uint64_t region)> synced;
    // It is destroyed at home; the last version has come, if home was reached.
    std::function<void(uint64_t region)> gone;
    std::function<void(absl::string_view)> log;
  };

  // All outlive it.
  RegionReplicas(Options options, Loop* loop, Registry* registry, PeerCaller* peers)
      : options_(std::move(options)), loop_(loop), registry_(registry), peers_(peers) {}

  // Begins to ask, and goes on where an agent before this one was.
  absl::Status Start(const NamedRegion& region);
  void Stop(const NamedRegion& region);
  bool synced(uint64_t region) const {
    const auto replica = replicas_.find(region);
    return replica != replicas_.end() && replica->second.synced;
  }

 private:
  struct Replica {
    uint64_t serial = 0;  // of all that were started
    Mapping data;
    Mapping bell;
    std::unique_ptr<SnapshotWriter> writer;
    std::string next;      // the version's number, and what of it has come
    uint64_t version = 0;  // published here
    // As of NextRegion.
    uint64_t lineage = 0;
    uint64_t base = 0;
    uint64_t target = 0;
    uint64_t next_block = 0;
    bool synced = false;
  };

  void Ask(uint64_t region);
  void AskLater(uint64_t region);
  void OnAnswer(uint64_t region, const absl::StatusOr<proto::Reply>& reply);
  // kDataLoss for what no sound home says.
  absl::Status Take(Replica* replica, const proto::RegionChange& change);
  static absl::Status CheckChange(const Replica& replica, const proto::RegionChange& change);

  const Options options_;
  Loop* const loop_;
  Registry* const registry_;
  PeerCaller* const peers_;
  uint64_t last_serial_ = 0;
  std::map<uint64_t, Replica> replicas_;  // by region
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_REGION_REPLICAS_H_
