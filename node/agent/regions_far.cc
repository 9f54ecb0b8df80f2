// What is of another node: replicas, and who waits for the first version of one.
#include <utility>

#include "absl/strings/str_cat.h"
#include "node/agent/region_memories.h"
#include "node/agent/regions.h"

namespace mailrail {

NamedRegion* Regions::FindReplica(proto::RegionSpec::Kind kind, const std::string& name,
                                  const std::string& node) {
  if (!node.empty()) return registry_->FindRegion(kind, node, name);
  for (const auto& [id, region] : registry_->regions()) {
    const bool same = region->name == name && region->spec.kind() == kind;
    if (same && region->replica()) return region.get();
  }
  return nullptr;
}

absl::StatusOr<NamedRegion*> Regions::MakeReplica(const std::string& name,
                                                  const FoundRegion& found) {
  auto region = std::make_unique<NamedRegion>();
  region->name = name;
  region->home = found.node;
  region->stamp = found.stamp;
  region->spec = found.spec;
  region->spec.set_transient(false);
  if (found.spec.bytes() == 0 || !HasVersions(found.spec.bytes())) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", name, "' of node ", found.node, " has ", found.spec.bytes(),
                     " bytes, which are too many to have versions: it can only be used there"));
  }
  // With the version that is gathered.
  const uint64_t bytes = RegionMemoryOf(region->spec, /*replica=*/true);
  if (absl::Status status = CheckRoom(bytes); !status.ok()) return status;
  if (absl::Status status = MakeRegionMemories(region.get()); !status.ok()) return status;
  absl::StatusOr<NamedRegion*> added = registry_->AddRegion(std::move(region));
  if (!added.ok()) return added;
  if (absl::Status status = replicas_.Start(**added); !status.ok()) {
    registry_->RemoveRegion((*added)->id);
    return status;
  }
  return added;
}

void Regions::OnFound(const std::string& name, Waiter waiter, absl::Time deadline,
                      absl::StatusOr<FoundRegion> found) {
  if (!found.ok()) return waiter.done(found.status());
  if (waiter.as.writes) {
    return waiter.done(absl::PermissionDeniedError(absl::StrCat(
        "'", name, "' is written on node ", found->node, ", and can only be read here")));
  }
  if (found->spec.kind() != waiter.open.spec().kind()) {
    return waiter.done(absl::DataLossError(
        absl::StrCat("node ", found->node, " has not said what it was asked for")));
  }
  NamedRegion* replica = registry_->FindRegion(found->spec.kind(), found->node, name);
  if (replica != nullptr && replica->stamp != found->stamp) {
    // Another has its name by now.
    OnGone(replica->id);
    replica = nullptr;
  }
  if (replica == nullptr) {
    absl::StatusOr<NamedRegion*> made = MakeReplica(name, *found);
    if (!made.ok()) return waiter.done(made.status());
    replica = *made;
  }
  Await(replica, std::move(waiter), deadline);
}

void Regions::Await(NamedRegion* replica, Waiter waiter, absl::Time deadline) {
  const uint64_t id = replica->id;
  if (absl::Status status = CheckSame(*replica, waiter.open); !status.ok()) {
    waiter.done(status);
    if (replica->opens.empty() && !waiters_.contains(id)) Remove(replica);
    return;
  }
  // The process may have gone while its node was asked.
  if (registry_->FindProcess(waiter.as.number) == nullptr) {
    if (replica->opens.empty() && !waiters_.contains(id)) Remove(replica);
    return;
  }
  if (replicas_.synced(id)) return waiter.done(Grant(replica, waiter.as));
  const auto added = waiters_.emplace(id, std::move(waiter));
  added->second.timer = loop_->RunAt(deadline, [this, added, id] {
    const OpenCallback done = std::move(added->second.done);
    waiters_.erase(added);
    NamedRegion* const region = registry_->FindRegion(id);
    done(absl::DeadlineExceededError(absl::StrCat("node ", region == nullptr ? "" : region->home,
                                                  " has not sent all of it until the deadline")));
    if (region != nullptr && region->opens.empty() && !waiters_.contains(id)) Remove(region);
  });
}

void Regions::OnSynced(uint64_t region) {
  for (auto waiter = waiters_.find(region); waiter != waiters_.end();
       waiter = waiters_.find(region)) {
    loop_->Cancel(waiter->second.timer);
    const Waiter waited = std::move(waiter->second);
    waiters_.erase(waiter);
    NamedRegion* const replica = registry_->FindRegion(region);
    if (replica == nullptr) {
      waited.done(absl::UnavailableError("it was destroyed"));
    } else if (registry_->FindProcess(waited.as.number) != nullptr) {
      waited.done(Grant(replica, waited.as));
    }
  }
  NamedRegion* const replica = registry_->FindRegion(region);
  if (replica != nullptr && replica->opens.empty()) Remove(replica);
}

void Regions::OnGone(uint64_t region) {
  if (NamedRegion* const replica = registry_->FindRegion(region)) Remove(replica);
  OnSynced(region);
}

}  // namespace mailrail
