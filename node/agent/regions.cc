#include "node/agent/regions.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "core/base/name.h"
#include "core/process/grants.h"
#include "core/region/snapshot_reader.h"
#include "node/agent/region_memories.h"
#include "node/directory/unknown_name.h"

namespace mailrail {
namespace {

absl::string_view KindName(proto::RegionSpec::Kind kind) {
  return kind == proto::RegionSpec::VALUE ? "value" : "region";
}

absl::Status NotHere(proto::RegionSpec::Kind kind, absl::string_view name, absl::string_view node) {
  return absl::NotFoundError(absl::StrCat("there is no ", KindName(kind), " '", name, "' on node ",
                                          node, "; see mailrail region ls"));
}

}  // namespace

Regions::Regions(const Options& options, Loop* loop, Registry* registry, Directory* directory,
                 PeerCaller* peers)
    : options_(options),
      registry_(registry),
      directory_(directory),
      loop_(loop),
      feeds_(loop, registry, options.answer),
      replicas_({[this](uint64_t region) { OnSynced(region); },
                 [this](uint64_t region) { OnGone(region); }, options.log},
                loop, registry, peers) {}

absl::Status Regions::CheckRoom(uint64_t bytes) const {
  if (registry_->regions().size() >= kMaxRegions) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this node has ", kMaxRegions, " named regions and values already"));
  }
  uint64_t all = 0;
  for (const auto& [id, region] : registry_->regions()) {
    all += RegionMemoryOf(region->spec, region->replica());
  }
  if (all + bytes <= options_.max_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the named regions and values of this node may have ", options_.max_bytes,
      " bytes of memory, and have ", all, "; this one takes ", bytes, ", its versions included"));
}

absl::StatusOr<NamedRegion*> Regions::Make(const std::string& name, const proto::RegionSpec& spec) {
  auto region = std::make_unique<NamedRegion>();
  region->name = name;
  region->spec = spec;
  if (!proto::RegionSpec::Kind_IsValid(spec.kind())) {
    return absl::InvalidArgumentError("neither a region nor a value");
  }
  if (spec.bytes() == 0) return absl::InvalidArgumentError("a region has at least one byte");
  if (spec.bytes() > options_.max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("the named regions of this node may have ",
                                                     options_.max_bytes,
                                                     " bytes of memory, and not ", spec.bytes()));
  }
  if (!region->value()) {
    region->spec.set_bytes(RegionPages(spec.bytes()));
  } else if (!HasVersions(spec.bytes())) {
    return absl::InvalidArgumentError(
        absl::StrCat("a value of ", spec.bytes(), " bytes is too large"));
  }
  absl::BitGen random;
  region->stamp = absl::Uniform<uint64_t>(random);
  if (absl::Status status = CheckRoom(RegionMemoryOf(region->spec, /*replica=*/false));
      !status.ok()) {
    return status;
  }
  if (absl::Status status = MakeRegionMemories(region.get()); !status.ok()) return status;
  return registry_->AddRegion(std::move(region));
}

absl::Status Regions::CheckSame(const NamedRegion& region, const control::OpenRegion& open) {
  const proto::RegionSpec& spec = open.spec();
  const absl::string_view kind = KindName(spec.kind());
  if (open.writes() && region.replica()) {
    return absl::PermissionDeniedError(absl::StrCat("the ", kind, " '", region.name,
                                                    "' is written on node ", region.home,
                                                    ", and can only be read here"));
  }
  const uint64_t bytes = region.value() ? spec.bytes() : RegionPages(spec.bytes());
  if (spec.bytes() != 0 && bytes != region.spec.bytes()) {
    return absl::FailedPreconditionError(absl::StrCat("the ", kind, " '", region.name, "' has ",
                                                      region.spec.bytes(), " bytes, not ", bytes));
  }
  if (region.value() && spec.schema() != region.spec.schema()) {
    return absl::FailedPreconditionError(absl::StrCat("the value '", region.name, "' has schema ",
                                                      region.spec.schema(), ", not ",
                                                      spec.schema()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Regions::Opened> Regions::OpenHere(const std::string& name, const RegionOpen& as,
                                                  const control::OpenRegion& open) {
  const proto::RegionSpec::Kind kind = open.spec().kind();
  if (NamedRegion* const region = registry_->FindRegion(kind, "", name)) {
    const bool repeated =
        std::any_of(region->opens.begin(), region->opens.end(), [&as](const auto& entry) {
          return entry.second.number == as.number && entry.second.request == as.request;
        });
    if (open.create() && open.exclusive() && !repeated) {
      return absl::AlreadyExistsError(
          absl::StrCat("the ", KindName(kind), " '", name, "' exists already"));
    }
    if (absl::Status status = CheckSame(*region, open); !status.ok()) return status;
    return Grant(region, as);
  }
  if (!open.create()) return NotHere(kind, name, registry_->node());
  absl::StatusOr<NamedRegion*> made = Make(name, open.spec());
  if (!made.ok()) return made.status();
  absl::StatusOr<Opened> opened = Grant(*made, as);
  if (opened.ok()) opened->grant.set_created(true);
  return opened;
}

void Regions::Open(uint32_t number, uint64_t request, const control::OpenRegion& open,
                   absl::Time deadline, OpenCallback done) {
  const absl::StatusOr<QualifiedName> name = ParseQualifiedName("region", open.name());
  if (!name.ok()) return done(name.status());
  Waiter waiter = {{number, request, open.writes()}, open, std::move(done)};
  if (name->node.empty() || name->node == registry_->node()) {
    absl::StatusOr<Opened> opened = OpenHere(name->name, waiter.as, open);
    if (!absl::IsNotFound(opened.status()) || !name->node.empty()) {
      return waiter.done(std::move(opened));
    }
  } else if (open.writes()) {
    return waiter.done(absl::PermissionDeniedError(absl::StrCat(
        "'", open.name(), "' is written on node ", name->node, ", and can only be read here")));
  } else if (!directory_->HasNode(name->node)) {
    return waiter.done(UnknownNode(name->node));
  }
  if (NamedRegion* const replica = FindReplica(open.spec().kind(), name->name, name->node)) {
    return Await(replica, std::move(waiter), deadline);
  }
  directory_->FindRegion(open.spec().kind(), name->name, name->node, deadline,
                         [this, name = name->name, waiter = std::move(waiter),
                          deadline](absl::StatusOr<FoundRegion> found) mutable {
                           OnFound(name, std::move(waiter), deadline, std::move(found));
                         });
}

absl::StatusOr<std::vector<Fd>> Regions::DescriptorsFor(const NamedRegion& region,
                                                        bool writes) const {
  std::vector<Fd> fds;
  const auto add = [&fds](const Fd& fd, bool writable) {
    if (!fd.valid()) return absl::OkStatus();
    absl::StatusOr<Fd> added = writable ? absl::StatusOr<Fd>(fd.Duplicate()) : OpenReadOnly(fd);
    if (!added.ok()) return added.status();
    if (!added->valid()) return OutOfDescriptors();
    fds.push_back(*std::move(added));
    return absl::OkStatus();
  };
  absl::Status status = add(region.control, false);
  if (status.ok()) status = add(region.bell, true);
  if (status.ok()) status = add(region.versions, writes);
  if (status.ok()) status = add(region.memory, writes);
  if (!status.ok()) return status;
  return fds;
}

absl::StatusOr<Regions::Opened> Regions::Grant(NamedRegion* region, const RegionOpen& as) {
  uint64_t open_id = 0;
  size_t of_process = 0;
  for (const auto& [id, open] : region->opens) {
    if (open.number == as.number) ++of_process;
    if (open.number == as.number && open.request == as.request) open_id = id;
  }
  if (open_id == 0 && of_process >= kMaxRegionOpens) {
    return absl::ResourceExhaustedError(absl::StrCat("this process has '", region->name, "' open ",
                                                     kMaxRegionOpens, " times already"));
  }
  const uint64_t writer = region->writer();
  if (region->value() && as.writes && writer != 0 && writer != open_id) {
    const ProcessId who = registry_->owner_names()->NameOf(region->opens.at(writer).number);
    return absl::FailedPreconditionError(
        absl::StrCat("the value '", region->name, "' has a writer: process ", who.ToString()));
  }
  absl::StatusOr<std::vector<Fd>> fds = DescriptorsFor(*region, as.writes);
  absl::Status status = fds.status();
  if (status.ok() && open_id == 0) {
    absl::StatusOr<uint64_t> added = registry_->AddRegionOpen(region, as);
    status = added.status();
    if (added.ok()) open_id = *added;
  }
  if (!status.ok()) {
    if (region->opens.empty() && !Lingers(*region)) Remove(region);
    return status;
  }
  if (region->value() && as.writes) region->words().writer.store(open_id);
  Opened opened;
  opened.grant.set_region_id(region->id);
  opened.grant.set_open_id(open_id);
  *opened.grant.mutable_spec() = region->spec;
  opened.grant.set_name(region->name);
  opened.grant.set_home(region->home);
  opened.fds = *std::move(fds);
  return opened;
}

void Regions::Close(uint32_t number, const control::CloseRegion& close) {
  NamedRegion* const region = registry_->FindRegion(close.region_id());
  if (region == nullptr) return;
  const auto open = region->opens.find(close.open_id());
  if (open == region->opens.end() || open->second.number != number) return;
  Release(region, close.open_id());
}

absl::Status Regions::Destroy(const control::DestroyRegion& destroy) {
  const absl::StatusOr<QualifiedName> name = ParseQualifiedName("region", destroy.name());
  if (!name.ok()) return name.status();
  if (!name->node.empty() && name->node != registry_->node()) {
    return absl::PermissionDeniedError(
        absl::StrCat("'", destroy.name(), "' is destroyed on node ", name->node));
  }
  NamedRegion* const region = registry_->FindRegion(destroy.kind(), "", name->name);
  if (region == nullptr) return NotHere(destroy.kind(), name->name, registry_->node());
  Remove(region);
  return absl::OkStatus();
}

void Regions::Release(NamedRegion* region, uint64_t open_id) {
  if (region->writer() == open_id) region->words().writer.store(0);
  registry_->RemoveRegionOpen(region, open_id);
  const bool used = !region->opens.empty() || waiters_.contains(region->id);
  if (!used && !Lingers(*region)) Remove(region);
}

void Regions::Remove(NamedRegion* region) {
  // After the last version. Partner: NamedMemory::Over.
  region->words().destroyed.store(1, std::memory_order_release);
  absl::StatusOr<Mapping> bell =
      Mapping::Map(region->bell, sizeof(SnapshotBell), Access::kReadWrite);
  // Without it they look by themselves.
  if (bell.ok()) RingGate(&reinterpret_cast<SnapshotBell*>(bell->data())->gate);
  if (region->replica()) {
    replicas_.Stop(*region);
  } else {
    feeds_.OnDestroyed(*region);
  }
  registry_->RemoveRegion(region->id);
}

void Regions::Published(uint64_t region) {
  if (const NamedRegion* const published = registry_->FindRegion(region)) feeds_.Look(*published);
}

absl::StatusOr<proto::FoundRegion> Regions::Find(const proto::FindRegion& find) {
  const NamedRegion* const region = registry_->FindRegion(find.kind(), "", find.name());
  if (region == nullptr) return NotHere(find.kind(), find.name(), registry_->node());
  proto::FoundRegion found;
  *found.mutable_spec() = region->spec;
  found.set_stamp(region->stamp);
  return found;
}

void Regions::OnProcessGone(uint32_t number) {
  std::vector<std::pair<uint64_t, uint64_t>> open_there;
  for (const auto& [id, region] : registry_->regions()) {
    for (const auto& [open_id, open] : region->opens) {
      if (open.number == number) open_there.emplace_back(id, open_id);
    }
  }
  for (const auto& [id, open_id] : open_there) {
    if (NamedRegion* const region = registry_->FindRegion(id)) Release(region, open_id);
  }
}

void Regions::Resume() {
  std::vector<std::pair<uint64_t, uint64_t>> gone;
  std::vector<uint64_t> unused;
  for (const auto& [id, region] : registry_->regions()) {
    region->words().writer.store(region->writer());
    for (const auto& [open_id, open] : region->opens) {
      if (registry_->FindProcess(open.number) == nullptr) gone.emplace_back(id, open_id);
    }
    if (region->opens.empty() && !Lingers(*region)) unused.push_back(id);
  }
  for (const auto& [id, open_id] : gone) {
    if (NamedRegion* const region = registry_->FindRegion(id)) Release(region, open_id);
  }
  for (const uint64_t id : unused) Remove(registry_->FindRegion(id));
  for (const auto& [id, region] : registry_->regions()) {
    if (!region->replica()) {
      // Nobody is known to wait.
      region->words().tell.store(0);
    } else if (absl::Status status = replicas_.Start(*region); !status.ok()) {
      options_.log(
          absl::StrCat("a replica of '", region->name, "' stays as it is: ", status.message()));
    }
  }
}

control::RegionRow Regions::Describe(const NamedRegion& region) {
  control::RegionRow row;
  row.set_name(region.name);
  *row.mutable_spec() = region.spec;
  row.set_home(region.home);
  row.set_opens(static_cast<uint32_t>(region.opens.size()));
  row.set_memory_bytes(RegionMemoryOf(region.spec, region.replica()));
  for (const std::string& node : feeds_.NodesOf(region)) row.add_replicas(node);
  if (const uint64_t writer = region.writer(); writer != 0) {
    internal::ToProto(registry_->owner_names()->NameOf(region.opens.at(writer).number),
                      row.mutable_writer());
  }
  if (!region.versions.valid()) return row;
  const SnapshotGeometry geometry = region.geometry();
  absl::StatusOr<Mapping> data =
      Mapping::Map(region.versions, geometry.data_bytes(), Access::kReadOnly);
  if (!data.ok()) return row;
  const SnapshotReader reader(geometry, data->data(), nullptr);
  row.set_version(reader.latest());
  if (!region.replica()) return row;
  uint64_t number = 0, sequence = 0;
  const bool read = reader.ReadFirst(sizeof(number), &number, &sequence) == SnapshotLook::kRead;
  row.set_version(read ? number : 0);
  return row;
}

}  // namespace mailrail
