// The registry's named regions and values, and who has them open.
#include <utility>

#include "absl/strings/str_cat.h"
#include "node/agent/registry.h"

namespace mailrail {
namespace {

std::string RegionKey(uint64_t id) { return absl::StrCat("region/", id); }

// Behind those of regions in the keeper's order.
std::string OpenKey(uint64_t region, uint64_t open) {
  return absl::StrCat("regionuser/", region, "/", open);
}

state::NamedRegion Encode(const NamedRegion& region) {
  state::NamedRegion value;
  value.set_id(region.id);
  value.set_name(region.name);
  *value.mutable_spec() = region.spec;
  value.set_stamp(region.stamp);
  value.set_home(region.home);
  return value;
}

state::RegionUser EncodeOpen(uint64_t region, uint64_t open_id, const RegionOpen& open) {
  state::RegionUser value;
  value.set_region(region);
  value.set_open_id(open_id);
  value.set_number(open.number);
  value.set_request(open.request);
  value.set_writes(open.writes);
  return value;
}

std::vector<int> FdsOf(const NamedRegion& region) {
  std::vector<int> fds = {region.control.get(), region.bell.get()};
  if (region.versions.valid()) fds.push_back(region.versions.get());
  if (region.memory.valid()) fds.push_back(region.memory.get());
  return fds;
}

}  // namespace

absl::StatusOr<NamedRegion*> Registry::AddRegion(std::unique_ptr<NamedRegion> region) {
  region->id = NewId();
  if (absl::Status status = vault_->Put(RegionKey(region->id), Encode(*region), FdsOf(*region));
      !status.ok()) {
    return status;
  }
  NamedRegion* const added = region.get();
  region_names_[{added->spec.kind(), added->home, added->name}] = added->id;
  regions_[added->id] = std::move(region);
  return added;
}

void Registry::RemoveRegion(uint64_t id) {
  const auto it = regions_.find(id);
  if (it == regions_.end()) return;
  const NamedRegion& region = *it->second;
  for (const auto& [open_id, open] : region.opens) vault_->Drop(OpenKey(id, open_id));
  region_names_.erase({region.spec.kind(), region.home, region.name});
  vault_->Drop(RegionKey(id));
  regions_.erase(it);
}

NamedRegion* Registry::FindRegion(uint64_t id) {
  const auto it = regions_.find(id);
  return it == regions_.end() ? nullptr : it->second.get();
}

NamedRegion* Registry::FindRegion(proto::RegionSpec::Kind kind, const std::string& home,
                                  const std::string& name) {
  const auto it = region_names_.find({kind, home, name});
  return it == region_names_.end() ? nullptr : FindRegion(it->second);
}

absl::StatusOr<uint64_t> Registry::AddRegionOpen(NamedRegion* region, const RegionOpen& open) {
  const uint64_t open_id = NewId();
  if (absl::Status status =
          vault_->Put(OpenKey(region->id, open_id), EncodeOpen(region->id, open_id, open), {});
      !status.ok()) {
    return status;
  }
  region->opens[open_id] = open;
  return open_id;
}

void Registry::RemoveRegionOpen(NamedRegion* region, uint64_t open_id) {
  if (region->opens.erase(open_id) != 0) vault_->Drop(OpenKey(region->id, open_id));
}

absl::Status Registry::RestoreRegion(KeptRecord* record) {
  state::NamedRegion value;
  if (!value.ParseFromString(record->value)) return absl::DataLossError("it is not well-formed");
  auto region = std::make_unique<NamedRegion>();
  region->id = value.id();
  region->name = value.name();
  region->spec = value.spec();
  region->stamp = value.stamp();
  region->home = value.home();
  const bool has_versions = HasVersions(region->spec.bytes());
  const bool has_memory = !region->replica() && !region->value();
  std::vector<Fd>& fds = record->fds;
  if (fds.size() != 2u + has_versions + has_memory) {
    return absl::DataLossError("it is incomplete");
  }
  region->control = std::move(fds[0]);
  region->bell = std::move(fds[1]);
  if (has_versions) region->versions = std::move(fds[2]);
  if (has_memory) region->memory = std::move(fds.back());
  absl::StatusOr<Mapping> control =
      Mapping::Map(region->control, sizeof(RegionControl), Access::kReadWrite);
  if (!control.ok()) return control.status();
  region->control_map = *std::move(control);
  region_names_[{region->spec.kind(), region->home, region->name}] = region->id;
  regions_[region->id] = std::move(region);
  return absl::OkStatus();
}

// The keys of regions come before those of their users.
absl::Status Registry::RestoreRegionOpen(const KeptRecord& record) {
  state::RegionUser value;
  if (!value.ParseFromString(record.value)) return absl::DataLossError("it is not well-formed");
  NamedRegion* const region = FindRegion(value.region());
  if (region == nullptr) return absl::NotFoundError("its region is not there");
  region->opens[value.open_id()] = {value.number(), value.request(), value.writes()};
  return absl::OkStatus();
}

void Registry::SaveRegions() {
  for (const auto& [id, region] : regions_) {
    vault_->Put(RegionKey(id), Encode(*region), FdsOf(*region)).IgnoreError();
    for (const auto& [open_id, open] : region->opens) {
      vault_->Put(OpenKey(id, open_id), EncodeOpen(id, open_id, open), {}).IgnoreError();
    }
  }
}

}  // namespace mailrail
