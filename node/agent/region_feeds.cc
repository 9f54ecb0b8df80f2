#include "node/agent/region_feeds.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "core/shm/barrier.h"

namespace mailrail {
namespace {

// A writer that is quicker is looked at again later.
constexpr int kAttempts = 3;

}  // namespace

absl::StatusOr<RegionFeeds::Feed*> RegionFeeds::FindOrMake(const proto::NextRegion& next) {
  if (const auto feed = feeds_.find(next.stamp()); feed != feeds_.end()) return &feed->second;
  const NamedRegion* const region = registry_->FindRegion(next.kind(), "", next.name());
  if (region == nullptr || region->stamp != next.stamp() || !region->versions.valid()) {
    return absl::NotFoundError(absl::StrCat("there is no such '", next.name(), "' any more"));
  }
  const SnapshotGeometry geometry = region->geometry();
  absl::StatusOr<Mapping> data =
      Mapping::Map(region->versions, geometry.data_bytes(), Access::kReadOnly);
  if (!data.ok()) return data.status();
  absl::BitGen random;
  const char* const begin = data->data();
  Feed feed = {.region = region->id,
               .data = *std::move(data),
               // It never parks at the bell.
               .reader = SnapshotReader(geometry, begin, nullptr),
               .lineage = absl::Uniform<uint64_t>(random) | 1,
               .copy = std::string(geometry.value_bytes, '\0'),
               .changed = std::vector<uint64_t>((geometry.value_bytes + kBlock - 1) / kBlock)};
  return &feeds_.emplace(next.stamp(), std::move(feed)).first->second;
}

void RegionFeeds::Refresh(Feed* feed) {
  const absl::Time now = absl::Now();
  for (auto& [node, asker] : feed->askers) {
    asker.gathers = asker.gathers && now - asker.heard < kGathering;
    if (asker.gathers) return;
  }
  if (feed->reader.latest() == feed->version) return;
  std::string value(feed->copy.size(), '\0');
  uint64_t version = 0;
  if (feed->reader.Read(value.data(), &version, kAttempts) != SnapshotLook::kRead) return;
  // One that goes back is no sound writer's.
  if (version <= feed->version) return;
  for (size_t block = 0; block < feed->changed.size(); ++block) {
    const size_t begin = block * kBlock, size = std::min(kBlock, value.size() - begin);
    if (std::memcmp(value.data() + begin, feed->copy.data() + begin, size) != 0) {
      feed->changed[block] = version;
    }
  }
  feed->copy = std::move(value);
  feed->version = version;
}

bool RegionFeeds::AnswerOne(const Feed& feed, const std::string& node, Asker* asker) {
  const proto::NextRegion& asked = asker->asked;
  const bool same = asked.lineage() == feed.lineage && asked.version() <= feed.version;
  const uint64_t base = same ? asked.version() : 0;
  const bool goes_on = same && asked.next_block() != 0 && asked.target() == feed.version;
  if (same && base == feed.version && !goes_on) return false;
  proto::Reply reply;
  proto::RegionChange* const change = reply.mutable_region_change();
  change->set_lineage(feed.lineage);
  change->set_version(feed.version);
  change->set_anew(base == 0 && !goes_on);
  size_t block = goes_on ? std::min<uint64_t>(asked.next_block(), feed.changed.size()) : 0;
  for (; block < feed.changed.size(); ++block) {
    if (feed.changed[block] <= base) continue;
    if (change->bytes().size() >= kPartBytes) break;
    change->add_blocks(static_cast<uint32_t>(block));
    change->mutable_bytes()->append(feed.copy, block * kBlock, kBlock);
  }
  change->set_next_block(block < feed.changed.size() ? block : 0);
  asker->gathers = change->next_block() != 0;
  asker->waits = false;
  answer_(node, asker->id, reply);
  return true;
}

void RegionFeeds::Settle(Feed* feed) {
  const NamedRegion* const region = registry_->FindRegion(feed->region);
  Refresh(feed);
  const auto answer_all = [&] {
    bool waits = false;
    for (auto& [node, asker] : feed->askers) {
      if (asker.waits && !AnswerOne(*feed, node, &asker)) waits = true;
    }
    return waits;
  };
  const bool waits = answer_all();
  if (feed->ended || region == nullptr) {
    for (auto& [node, asker] : feed->askers) {
      if (!asker.waits) continue;
      // It has the last one.
      asker.waits = false;
      Say(node, asker.id,
          absl::NotFoundError(absl::StrCat("'", asker.asked.name(), "' was destroyed")));
    }
    return;
  }
  SharedAtomic<uint32_t>& tell = region->words().tell;
  if (!waits || tell.load() != 0) {
    if (!waits) tell.store(0);
    return;
  }
  tell.store(1);
  // A writer that streams has published before this, or sees it. Partner: NamedMemory::Published.
  BarrierForAll();
  if (feed->reader.latest() == feed->version) return;
  Refresh(feed);
  if (!answer_all()) tell.store(0);
}

void RegionFeeds::Next(const std::string& node, uint64_t id, const proto::NextRegion& next) {
  absl::StatusOr<Feed*> feed = FindOrMake(next);
  if (!feed.ok()) return Say(node, id, feed.status());
  Asker& asker = (*feed)->askers[node];
  asker.waits = true;
  asker.id = id;
  asker.asked = next;
  asker.heard = absl::Now();
  // What it has asked for before, and not taken, is not held for it.
  asker.gathers = asker.gathers && next.next_block() != 0;
  Settle(*feed);
  if (std::exchange(looks_, true)) return;
  loop_->RunAfter(kLookAgain, [this] { LookAgain(); });
}

void RegionFeeds::Say(const std::string& node, uint64_t id, const absl::Status& status) {
  proto::Reply reply;
  reply.mutable_status()->set_code(static_cast<int>(status.code()));
  reply.mutable_status()->set_message(std::string(status.message()));
  if (status.ok()) reply.mutable_region_change();
  answer_(node, id, reply);
}

void RegionFeeds::Forget(const std::string& node, uint64_t id, const proto::ForgetRegion& forget) {
  const auto feed = feeds_.find(forget.stamp());
  if (feed != feeds_.end()) {
    const auto asker = feed->second.askers.find(node);
    if (asker != feed->second.askers.end()) {
      if (asker->second.waits) Say(node, asker->second.id, absl::OkStatus());
      feed->second.askers.erase(asker);
    }
    if (feed->second.askers.empty()) Drop(feed);
  }
  Say(node, id, absl::OkStatus());
}

void RegionFeeds::Drop(Feeds::iterator feed) {
  if (const NamedRegion* const region = registry_->FindRegion(feed->second.region)) {
    region->words().tell.store(0);
  }
  feeds_.erase(feed);
}

void RegionFeeds::Look(const NamedRegion& region) {
  const auto feed = feeds_.find(region.stamp);
  if (feed != feeds_.end()) Settle(&feed->second);
}

void RegionFeeds::OnDestroyed(const NamedRegion& region) {
  const auto feed = feeds_.find(region.stamp);
  if (feed == feeds_.end()) return;
  feed->second.ended = true;
  Settle(&feed->second);
}

void RegionFeeds::OnPeerDown(const std::string& node) {
  for (auto feed = feeds_.begin(); feed != feeds_.end();) {
    const auto next = std::next(feed);
    feed->second.askers.erase(node);
    if (feed->second.askers.empty()) Drop(feed);
    feed = next;
  }
}

void RegionFeeds::LookAgain() {
  const absl::Time now = absl::Now();
  for (auto feed = feeds_.begin(); feed != feeds_.end();) {
    const auto next = std::next(feed);
    std::erase_if(feed->second.askers, [now](const auto& entry) {
      return !entry.second.waits && now - entry.second.heard > kSilence;
    });
    if (feed->second.askers.empty()) {
      Drop(feed);
    } else {
      Settle(&feed->second);
    }
    feed = next;
  }
  looks_ = !feeds_.empty();
  if (looks_) loop_->RunAfter(kLookAgain, [this] { LookAgain(); });
}

std::vector<std::string> RegionFeeds::NodesOf(const NamedRegion& region) const {
  std::vector<std::string> nodes;
  const auto feed = feeds_.find(region.stamp);
  if (feed == feeds_.end()) return nodes;
  for (const auto& [node, asker] : feed->second.askers) nodes.push_back(node);
  return nodes;
}

}  // namespace mailrail
