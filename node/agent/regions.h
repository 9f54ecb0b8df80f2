#ifndef MAILRAIL_NODE_AGENT_REGIONS_H_
#define MAILRAIL_NODE_AGENT_REGIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/fd.h"
#include "node/agent/limits.h"
#include "node/agent/loop.h"
#include "node/agent/region_feeds.h"
#include "node/agent/region_replicas.h"
#include "node/agent/registry.h"
#include "node/directory/directory.h"
#include "node/directory/peer_caller.h"
#include "proto/agent.pb.h"

namespace mailrail {

// What the agent does for named regions and values: makes their memory, hands it out for reading
// or writing, and says who writes a value. Reading and publishing is the processes' own business.
// What is of another node is granted as a replica, one for all of this node that read it, which
// goes with the last of them.
//
// One thread at a time: the loop's.
class Regions {
 public:
  struct Options {
    // How much memory all of them may have together.
    uint64_t max_bytes = kMaxRegionBytes;
    // To what another node has asked.
    RegionFeeds::Answer answer;
    std::function<void(absl::string_view)> log;
  };

  // What a process is granted, with the descriptors of it.
  struct Opened {
    control::RegionGrant grant;
    std::vector<Fd> fds;
  };

  // All outlive it.
  Regions(const Options& options, Loop* loop, Registry* registry, Directory* directory,
          PeerCaller* peers);

  // For the process of this number, by its request of this id. `done` is called at once, or later.
  // Errors as SharedRegion::Open and Create.
  using OpenCallback = std::function<void(absl::StatusOr<Opened>)>;
  void Open(uint32_t number, uint64_t request, const control::OpenRegion& open, absl::Time deadline,
            OpenCallback done);
  void Close(uint32_t number, const control::CloseRegion& close);
  // A process says that it has published.
  void Published(uint64_t region);
  // kNotFound; kPermissionDenied for one of another node.
  absl::Status Destroy(const control::DestroyRegion& destroy);

  // What it had open is closed.
  void OnProcessGone(uint32_t number);
  // After a restart, when all processes are known again: what those had open who are gone.
  void Resume();

  control::RegionRow Describe(const NamedRegion& region);

  // What another node asks for. kNotFound.
  absl::StatusOr<proto::FoundRegion> Find(const proto::FindRegion& find);
  RegionFeeds& feeds() { return feeds_; }

 private:
  // An open that waits for the first version of a replica.
  struct Waiter {
    RegionOpen as;
    control::OpenRegion open;
    OpenCallback done;
    Loop::TimerId timer = 0;
  };

  // Of this node, or makes it. kNotFound: it may be another's.
  absl::StatusOr<Opened> OpenHere(const std::string& name, const RegionOpen& as,
                                  const control::OpenRegion& open);
  NamedRegion* FindReplica(proto::RegionSpec::Kind kind, const std::string& name,
                           const std::string& node);
  void OnFound(const std::string& name, Waiter waiter, absl::Time deadline,
               absl::StatusOr<FoundRegion> found);
  absl::StatusOr<NamedRegion*> MakeReplica(const std::string& name, const FoundRegion& found);
  // Grants a replica, when it has what there is.
  void Await(NamedRegion* replica, Waiter waiter, absl::Time deadline);
  void OnSynced(uint64_t region);
  void OnGone(uint64_t region);
  // Whether it stays when nobody has it open.
  bool Lingers(const NamedRegion& region) const {
    return !region.spec.transient() && !region.replica();
  }
  absl::StatusOr<NamedRegion*> Make(const std::string& name, const proto::RegionSpec& spec);
  absl::Status CheckRoom(uint64_t bytes) const;
  // Whether it is as `open` says.
  absl::Status CheckSame(const NamedRegion& region, const control::OpenRegion& open);
  absl::StatusOr<Opened> Grant(NamedRegion* region, const RegionOpen& as);
  absl::StatusOr<std::vector<Fd>> DescriptorsFor(const NamedRegion& region, bool writes) const;
  void Release(NamedRegion* region, uint64_t open_id);
  void Remove(NamedRegion* region);

  const Options options_;
  Registry* const registry_;
  Directory* const directory_;
  Loop* const loop_;
  RegionFeeds feeds_;
  RegionReplicas replicas_;
  std::multimap<uint64_t, Waiter> waiters_;  // by region
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_AGENT_REGIONS_H_
