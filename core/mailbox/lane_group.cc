#include "core/mailbox/lane_group.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/seeded_bug.h"
#include "core/shm/futex.h"
#include "core/shm/stamp.h"

namespace mailrail {
namespace {

// How long the agent has to say which subscriptions there are, whatever the sender's deadline.
constexpr absl::Duration kLeastToAsk = absl::Seconds(1);
constexpr absl::Duration kMostToAsk = absl::Seconds(10);

// As of a single lane: how long to look for room before sleeping.
constexpr absl::Duration kSpinForRoom = absl::Microseconds(50);
constexpr int kPausesForRoom = 16;
// Where memory is short nobody rings when there is some.
constexpr absl::Duration kLookForMemory = absl::Milliseconds(1);

}  // namespace

void LaneGroup::Keep(std::vector<std::shared_ptr<OutgoingLane>> lanes) {
  // The lock of a lane that has one handle is cheap: this group is that handle.
  for (const auto& lane : lanes) {
    if (std::find(lanes_.begin(), lanes_.end(), lane) == lanes_.end()) lane->AddHandle();
  }
  for (const auto& lane : lanes_) {
    if (std::find(lanes.begin(), lanes.end(), lane) == lanes.end()) lane->RemoveHandle();
  }
  lanes_ = std::move(lanes);
}

absl::Status LaneGroup::Refresh(absl::Time deadline) {
  if (absl::Status status = whole_->closed_status(); !status.ok()) return status;
  if (!whole_->LookedAt()) {
    if (absl::Status status = whole_->CheckAttached(); !status.ok()) return status;
  }
  const auto gone = [](const std::shared_ptr<OutgoingLane>& lane) {
    return lane->destination_.control_page()->closed.load() != 0;
  };
  if (std::any_of(lanes_.begin(), lanes_.end(), gone)) {
    std::vector<std::shared_ptr<OutgoingLane>> left = lanes_;
    std::erase_if(left, gone);
    Keep(std::move(left));
  }
  // Read before the agent is asked: who subscribes later changes it once more.
  const uint32_t version = whole_->destination_.control_page()->subscriptions.load();
  if (version_ == version) return absl::OkStatus();
  const absl::Time now = absl::Now();
  absl::StatusOr<std::vector<std::shared_ptr<OutgoingLane>>> lanes =
      fetch_(std::clamp(deadline, now + kLeastToAsk, now + kMostToAsk));
  if (!lanes.ok()) {
    absl::Status closed = whole_->closed_status();
    return closed.ok() ? lanes.status() : closed;
  }
  Keep(*std::move(lanes));
  version_ = version;
  if (!whole_->expires()) return absl::OkStatus();
  for (const auto& lane : lanes_) {
    if (lane->SetExpires() && whole_->attachment_ != nullptr) {
      whole_->attachment_->AskToLookAt(*lane);
    }
  }
  return absl::OkStatus();
}

void LaneGroup::SetExpires() {
  for (const auto& lane : lanes_) lane->SetExpires();
}

void LaneGroup::FreeRooms() {
  for (size_t i = 0; i < rooms_.size(); ++i) {
    if (rooms_[i].slab.has_value()) lanes_[i]->Free(*rooms_[i].slab);
  }
  rooms_.clear();
}

LaneGroup::Tried LaneGroup::FindRoom(OutgoingLane* lane, int priority, size_t size, Room* room) {
  const HandleLockHolder lock(&lane->lock_);
  const bool in_slab = size > Slot::kInlineBytes;
  while (true) {
    if (in_slab && !room->slab.has_value()) {
      room->slab = lane->cells_->Allocate(size, priority >= kUrgentPriority);
    }
    if ((!in_slab || room->slab.has_value()) && lane->cells_->HasSlot(priority)) {
      return Tried::kSent;
    }
    switch (lane->OnFull(priority)) {
      case OutgoingLane::Full::kTryAgain:
        continue;
      case OutgoingLane::Full::kWaits:
        return Tried::kWaits;
      case OutgoingLane::Full::kBuries:
        return Tried::kBuries;
      case OutgoingLane::Full::kRefused:
        if (lane->options_.when_full == FullPolicy::kReject) return Tried::kRefused;
        break;
      case OutgoingLane::Full::kDropped:
        break;
    }
    room->skipped = true;
    return Tried::kSent;
  }
}

void LaneGroup::Publish(OutgoingLane* lane, int priority, const Payload& payload,
                        const CellOptions& options, const Room& room) {
  const HandleLockHolder lock(&lane->lock_);
  CellWriter& cells = *lane->cells_;
  bool done = false;
  if (room.skipped) {
    if (room.slab.has_value()) cells.Free(*room.slab);
  } else if (room.slab.has_value()) {
    char* const to = room.slab->data;
    if (!payload.prefix.empty()) memcpy(to, payload.prefix.data(), payload.prefix.size());
    StepsOfCopy(to + payload.prefix.size(), payload.body.data(), payload.body.size());
    memcpy(to + payload.prefix.size(), payload.body.data(), payload.body.size());
    done = cells.AppendSlab(priority, *room.slab, static_cast<uint32_t>(payload.size()),
                            !payload.prefix.empty(), lane->NextStamp(), options);
    // Its receiver has made the room vanish, by what it wrote into its states: it has none.
    if (!done) cells.Free(*room.slab);
  } else {
    done = cells.Append(priority, payload, lane->NextStamp(), lane->ringer_.publication(), options);
  }
  if (!done) cells.DropNew(priority, {});
}

LaneGroup::Tried LaneGroup::Try(int priority, const Payload& payload, const CellOptions& options) {
  rooms_.assign(lanes_.size(), Room());
  for (size_t i = 0; i < lanes_.size(); ++i) {
    const Tried tried = FindRoom(lanes_[i].get(), priority, payload.size(), &rooms_[i]);
    if (tried == Tried::kSent) continue;
    full_ = lanes_[i];
    if (SEEDED_BUG(GROUP_GOES_ON)) {
      rooms_[i].skipped = true;
      continue;
    }
    FreeRooms();
    return tried;
  }
  for (size_t i = 0; i < lanes_.size(); ++i) {
    Publish(lanes_[i].get(), priority, payload, options, rooms_[i]);
  }
  return Tried::kSent;
}

absl::Status LaneGroup::Published(int priority) {
  // Looked at before the bells are rung, as of a single lane.
  absl::Status status = whole_->closed_status();
  for (size_t i = 0; i < lanes_.size(); ++i) {
    if (rooms_[i].skipped) continue;
    const HandleLockHolder lock(&lanes_[i]->lock_);
    lanes_[i]->ringer_.Ring();
  }
  if (status.ok() && whole_->attachment_ != nullptr && whole_->attachment_->ended()) {
    status = whole_->CheckAttached();
  }
  if (status.ok() || lanes_.empty()) return status;
  // Closed or detached before or while we published: for nobody, unless somebody has it already.
  bool received = false;
  for (size_t i = 0; i < lanes_.size(); ++i) {
    if (rooms_[i].skipped) continue;
    OutgoingLane& lane = *lanes_[i];
    const HandleLockHolder lock(&lane.lock_);
    received |= lane.cells_->Retract(priority, lane.number_) == 0;
  }
  return received ? absl::OkStatus() : status;
}

absl::Status LaneGroup::Full(Tried tried, absl::string_view how) {
  const HandleLockHolder lock(&full_->lock_);
  const std::string why = absl::StrCat(full_->WhyFull(how), " for one of its receivers");
  return tried == Tried::kRefused ? absl::ResourceExhaustedError(why)
                                  : absl::DeadlineExceededError(why);
}

absl::Status LaneGroup::Send(int priority, const Payload& payload, absl::Time deadline,
                             const CellOptions& options) {
  if (absl::Status status = whole_->CheckMessage(payload.body.size(), priority); !status.ok()) {
    return status;
  }
  absl::Time spin_until = absl::InfiniteFuture();
  std::shared_ptr<OutgoingLane> parked;  // where we have said that we wait for room
  while (true) {
    FutexWord word{nullptr, 0};
    if (parked != nullptr) word = parked->ParkForRoom();
    bool memory = false;
    {
      const HandleLockHolder lock(&whole_->lock_);
      if (absl::Status status = Refresh(deadline); !status.ok()) return status;
      const Tried tried = Try(priority, payload, options);
      if (tried == Tried::kSent) return Published(priority);
      if (tried == Tried::kRefused) return Full(tried, "is full");
      const absl::Time now = absl::Now();
      const bool sleeps = parked == full_;
      const bool gives_up = deadline <= now;
      if (tried == Tried::kBuries && (sleeps || gives_up) && whole_->attachment_ != nullptr) {
        whole_->attachment_->AskToLookAt(*full_);
      }
      if (deadline == absl::InfinitePast()) return Full(tried, "has no room now");
      if (gives_up) return Full(tried, "had no room until the deadline");
      if (spin_until == absl::InfiniteFuture()) spin_until = now + kSpinForRoom;
      if (now >= spin_until) parked = full_;
      if (!sleeps) word.word = nullptr;
      const HandleLockHolder full_lock(&full_->lock_);
      memory = full_->short_of_memory();
    }
    if (word.word == nullptr) {
      for (int i = 0; i < kPausesForRoom; ++i) SpinPause();
      continue;
    }
    // A receiver that is gone rings nobody: we look again.
    const absl::Duration left = deadline - absl::Now();
    const absl::Duration most = memory ? kLookForMemory : kLookAgain;
    if (left > absl::ZeroDuration()) FutexWait(word.word, word.expected, std::min(left, most));
    spin_until = absl::InfinitePast();
  }
}

absl::StatusOr<size_t> LaneGroup::SendBatch(int priority,
                                            absl::Span<const absl::string_view> bodies,
                                            absl::Time deadline, absl::string_view prefix,
                                            const CellOptions& options) {
  size_t sent = 0;
  for (; sent < bodies.size(); ++sent) {
    const absl::Status status = Send(priority, {prefix, bodies[sent]}, deadline, options);
    if (status.ok()) continue;
    if (sent == 0) return status;
    break;
  }
  return sent;
}

}  // namespace mailrail
