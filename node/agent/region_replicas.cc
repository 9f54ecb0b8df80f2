#include "node/agent/region_replicas.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/region/snapshot_reader.h"
#include "node/agent/region_feeds.h"

namespace mailrail {
namespace {

// A question that is not answered is asked anew after so long, and one that failed after this.
constexpr absl::Duration kQuestion = absl::Seconds(60);
constexpr absl::Duration kAskAgain = absl::Seconds(1);
constexpr absl::Duration kForgetTimeout = absl::Seconds(10);

constexpr size_t kNumber = sizeof(uint64_t);
constexpr size_t kBlock = RegionFeeds::kBlock;

}  // namespace

absl::Status RegionReplicas::Start(const NamedRegion& region) {
  const SnapshotGeometry geometry = region.geometry();
  Replica replica;
  absl::StatusOr<Mapping> data =
      Mapping::Map(region.versions, geometry.data_bytes(), Access::kReadWrite);
  if (!data.ok()) return data.status();
  replica.data = *std::move(data);
  absl::StatusOr<Mapping> bell =
      Mapping::Map(region.bell, sizeof(SnapshotBell), Access::kReadWrite);
  if (!bell.ok()) return bell.status();
  replica.bell = *std::move(bell);
  auto* const bell_words = reinterpret_cast<SnapshotBell*>(replica.bell.data());
  replica.serial = ++last_serial_;
  replica.writer = std::make_unique<SnapshotWriter>(geometry, replica.data.data(), bell_words);
  replica.next.resize(geometry.value_bytes);
  uint64_t sequence = 0;
  const SnapshotReader reader(geometry, replica.data.data(), bell_words);
  replica.synced = reader.ReadFirst(kNumber, &replica.version, &sequence) == SnapshotLook::kRead;
  replicas_[region.id] = std::move(replica);
  Ask(region.id);
  return absl::OkStatus();
}

void RegionReplicas::Stop(const NamedRegion& region) {
  if (replicas_.erase(region.id) == 0) return;
  proto::Request request;
  request.mutable_forget_region()->set_stamp(region.stamp);
  // What is not told so it finds out.
  peers_->Call(region.home, std::move(request), absl::Now() + kForgetTimeout,
               [](const absl::StatusOr<proto::Reply>&) {});
}

void RegionReplicas::Ask(uint64_t region_id) {
  const auto found = replicas_.find(region_id);
  const NamedRegion* const region = registry_->FindRegion(region_id);
  if (found == replicas_.end() || region == nullptr) return;
  const Replica& replica = found->second;
  const std::vector<std::string> peers = peers_->Peers();
  if (std::find(peers.begin(), peers.end(), region->home) == peers.end()) {
    // It is known when it is met.
    return AskLater(region_id);
  }
  proto::Request request;
  proto::NextRegion* const next = request.mutable_next_region();
  next->set_kind(region->spec.kind());
  next->set_name(region->name);
  next->set_stamp(region->stamp);
  next->set_lineage(replica.lineage);
  next->set_version(replica.base);
  next->set_target(replica.target);
  next->set_next_block(replica.next_block);
  peers_->Call(region->home, std::move(request), absl::Now() + kQuestion,
               [this, region_id, serial = replica.serial](absl::StatusOr<proto::Reply> reply) {
                 const auto asked = replicas_.find(region_id);
                 if (asked == replicas_.end() || asked->second.serial != serial) return;
                 OnAnswer(region_id, reply);
               });
}

void RegionReplicas::AskLater(uint64_t region) {
  loop_->RunAfter(kAskAgain, [this, region, serial = replicas_.at(region).serial] {
    const auto replica = replicas_.find(region);
    if (replica != replicas_.end() && replica->second.serial == serial) Ask(region);
  });
}

void RegionReplicas::OnAnswer(uint64_t region, const absl::StatusOr<proto::Reply>& reply) {
  if (absl::IsNotFound(reply.status())) {
    replicas_.erase(region);
    return options_.gone(region);
  }
  // It was away, or busy with others.
  if (absl::IsUnavailable(reply.status()) || absl::IsDeadlineExceeded(reply.status())) {
    return Ask(region);
  }
  if (!reply.ok()) return AskLater(region);
  Replica& replica = replicas_.at(region);
  const bool was_synced = replica.synced;
  if (absl::Status status = Take(&replica, reply->region_change()); !status.ok()) {
    options_.log(absl::StrCat("a replica of a region is not told well: ", status.message()));
    // From the beginning.
    replica.lineage = replica.base = replica.target = replica.next_block = 0;
    return AskLater(region);
  }
  const bool now_synced = replica.synced && !was_synced;
  Ask(region);
  if (now_synced) options_.synced(region);
}

absl::Status RegionReplicas::CheckChange(const Replica& replica,
                                         const proto::RegionChange& change) {
  const size_t bytes = replica.next.size() - kNumber;
  const uint64_t blocks = (bytes + kBlock - 1) / kBlock;
  if (change.version() >= kSnapshotVersionsEnd) return absl::DataLossError("its version");
  // What begins anew says so, unless it goes on from what was told here.
  if (change.lineage() != replica.lineage && !change.anew()) {
    return absl::DataLossError("its lineage");
  }
  uint64_t expected = 0, after = 0;
  for (const uint32_t block : change.blocks()) {
    if (block >= blocks || block < after) return absl::DataLossError("its blocks");
    after = uint64_t{block} + 1;
    expected += std::min(kBlock, bytes - block * kBlock);
  }
  if (expected != change.bytes().size()) return absl::DataLossError("its size");
  if (change.next_block() != 0 && (change.next_block() >= blocks || change.next_block() < after)) {
    return absl::DataLossError("where it goes on");
  }
  return absl::OkStatus();
}

absl::Status RegionReplicas::Take(Replica* replica, const proto::RegionChange& change) {
  if (change.version() == 0) {
    // Nothing was published yet.
    if (change.lineage() != 0) replica->lineage = change.lineage();
    replica->base = replica->target = replica->next_block = 0;
    replica->synced = true;
    return absl::OkStatus();
  }
  if (absl::Status status = CheckChange(*replica, change); !status.ok()) return status;
  if (change.anew()) {
    std::fill(replica->next.begin(), replica->next.end(), '\0');
    replica->base = 0;
  }
  const char* from = change.bytes().data();
  for (const uint32_t block : change.blocks()) {
    const size_t begin = kNumber + block * kBlock;
    const size_t size = std::min(kBlock, replica->next.size() - begin);
    std::memcpy(replica->next.data() + begin, from, size);
    from += size;
  }
  replica->lineage = change.lineage();
  replica->target = change.version();
  replica->next_block = change.next_block();
  if (change.next_block() != 0) return absl::OkStatus();
  replica->base = change.version();
  replica->target = 0;
  replica->synced = true;
  // Of an agent of home that was started again the same, perhaps.
  if (change.version() <= replica->version) return absl::OkStatus();
  replica->version = change.version();
  std::memcpy(replica->next.data(), &replica->version, kNumber);
  replica->writer->Publish(replica->next.data());
  return absl::OkStatus();
}

}  // namespace mailrail
