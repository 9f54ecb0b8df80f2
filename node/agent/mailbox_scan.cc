#include "node/agent/mailbox_scan.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

namespace mailrail {
namespace {

// How many steps of a CellBrowser one look takes: some tens of microseconds. To map a lane costs as
// much as so many of them, and to see that a priority is not in use as one.
constexpr uint32_t kStepsOfLook = 8192;
constexpr uint32_t kStepsOfLane = 512;

// In proto::Place.
constexpr uint64_t kUnclaimed = uint64_t{1} << 63;

}  // namespace

MessagePlace MessagePlace::FromProto(const proto::Place& place) {
  return {static_cast<uint32_t>(kMaxPriority) - place.priority(), place.stamp(), place.lane(),
          (place.sequence() & kUnclaimed) != 0, place.sequence() & ~kUnclaimed};
}

void MessagePlace::ToProto(proto::Place* place) const {
  place->set_priority(static_cast<uint32_t>(priority()));
  place->set_stamp(stamp);
  place->set_lane(lane);
  place->set_sequence(position | (unclaimed ? kUnclaimed : 0));
}

absl::StatusOr<std::unique_ptr<BrowsedLane>> BrowsedLane::Map(const MailboxLane& lane) {
  absl::StatusOr<Mapping> data =
      Mapping::Map(lane.data, lane.geometry.data_bytes(), Access::kReadOnly);
  if (!data.ok()) return data.status();
  absl::StatusOr<Mapping> state =
      Mapping::Map(lane.state, lane.geometry.state_bytes(), Access::kReadOnly);
  if (!state.ok()) return state.status();
  return std::unique_ptr<BrowsedLane>(
      new BrowsedLane(lane.geometry, *std::move(data), *std::move(state)));
}

MailboxScan::MailboxScan(const Options& options, uint64_t mailbox, Registry* registry)
    : options_(options), mailbox_(mailbox), registry_(registry) {}

void MailboxScan::Note(const Found& found) {
  if (found.place <= options_.after) return;
  if (first_.insert(found).second) ++found_;
  if (first_.size() <= options_.most) return;
  first_.erase(std::prev(first_.end()));
  more_ = true;
}

uint32_t MailboxScan::LookAtLane(const MailboxLane& lane, uint32_t steps) {
  uint32_t taken = kStepsOfLane;
  const absl::StatusOr<std::unique_ptr<BrowsedLane>> mapped = BrowsedLane::Map(lane);
  // What cannot be mapped nobody receives.
  if (!mapped.ok()) {
    priority_ = kPriorityCount;
    return taken;
  }
  const CellBrowser& cells = (*mapped)->cells();
  for (; priority_ < kPriorityCount && taken < steps; ++priority_, step_ = 0, claimed_stamp_ = 0) {
    ++taken;
    if ((cells.rings_in_use() >> priority_ & 1) == 0) continue;
    const uint32_t count = std::min(steps - taken, cells.steps() - step_);
    cells.Look(priority_, step_, count, [&](const CellBrowser::Found& found) {
      if (options_.waiting_only && !found.waiting()) return;
      if (found.claimed) claimed_stamp_ = std::max(claimed_stamp_, found.stamp);
      const uint64_t stamp = found.claimed ? found.stamp : std::max(found.stamp, claimed_stamp_);
      Note({MessagePlace::Of(priority_, stamp, lane.id, !found.claimed, found.position),
            found.slot});
    });
    taken += count;
    step_ += count;
    if (step_ < cells.steps()) break;
  }
  return taken;
}

bool MailboxScan::Look() {
  uint32_t steps = kStepsOfLook;
  while (true) {
    const LocalMailbox* const mailbox = registry_->FindMailbox(mailbox_);
    if (mailbox == nullptr) return true;
    const auto lane = mailbox->lanes.lower_bound(lane_);
    if (lane == mailbox->lanes.end()) return true;
    if (*lane != lane_) {
      lane_ = *lane;
      priority_ = 0;
      step_ = 0;
      claimed_stamp_ = 0;
    }
    const uint32_t taken = LookAtLane(*registry_->FindLane(lane_), steps);
    if (priority_ == kPriorityCount) {
      ++lane_;
      priority_ = 0;
    }
    if (taken >= steps) return false;
    steps -= taken;
  }
}

std::vector<MailboxScan::Found> MailboxScan::TakeFirst() {
  // What was claimed between two looks was found in two places.
  std::set<std::tuple<int, uint64_t, uint64_t>> seen;
  std::vector<Found> first;
  for (const Found& found : first_) {
    const MessagePlace& place = found.place;
    if (seen.emplace(place.priority(), place.lane, place.position).second) first.push_back(found);
  }
  return first;
}

}  // namespace mailrail
