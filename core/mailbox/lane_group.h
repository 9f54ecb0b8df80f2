#ifndef MAILRAIL_CORE_MAILBOX_LANE_GROUP_H_
#define MAILRAIL_CORE_MAILBOX_LANE_GROUP_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "core/lane/record.h"
#include "core/mailbox/outgoing_lane.h"

namespace mailrail {

// What a sender of a broadcast mailbox has: a lane to each of its subscriptions, which are
// mailboxes of one receiver each. Before each message it compares ControlPage::subscriptions, and
// if that has changed it asks for the lanes anew; a subscription that was closed is left out.
//
// A message is for all that have room, or, where one without room makes the sender wait, for none:
// first room is found in every lane, and then the message is published in all. Room that was found
// stays, since nobody else writes these lanes.
//
// Part of an OutgoingLane, `whole`, whose lock it uses: Send and SendBatch take it, and are
// thread-safe as its own are. `whole` outlives it.
class LaneGroup {
 public:
  LaneGroup(OutgoingLane* whole, OutgoingLane::FetchLanes fetch)
      : whole_(whole), fetch_(std::move(fetch)) {}

  // As OutgoingLane.
  absl::Status Send(int priority, const Payload& payload, absl::Time deadline,
                    const CellOptions& options);
  absl::StatusOr<size_t> SendBatch(int priority, absl::Span<const absl::string_view> bodies,
                                   absl::Time deadline, absl::string_view prefix,
                                   const CellOptions& options);
  // Under the lock.
  void SetExpires();

 private:
  enum class Tried {
    kSent,
    kWaits,    // full_ has no room
    kBuries,   // full_ has none until the agent has buried something
    kRefused,  // by the mailbox's policy
  };
  // What is known of one lane's room for the message that is being sent.
  struct Room {
    absl::optional<SlabRoom> slab = absl::nullopt;
    bool skipped = false;  // this subscription does not get it
  };

  // The following run under the lock. Takes over which subscriptions there are. An error when
  // nothing can be sent, or the agent does not say.
  absl::Status Refresh(absl::Time deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(whole_->lock_);
  void Keep(std::vector<std::shared_ptr<OutgoingLane>> lanes);
  Tried Try(int priority, const Payload& payload, const CellOptions& options);
  // Finds room in one lane; kSent: there is, or it is skipped.
  Tried FindRoom(OutgoingLane* lane, int priority, size_t size, Room* room);
  void FreeRooms();
  void Publish(OutgoingLane* lane, int priority, const Payload& payload, const CellOptions& options,
               const Room& room);
  // After Try has sent it: rings, and finds out whether it is for nobody.
  absl::Status Published(int priority) ABSL_EXCLUSIVE_LOCKS_REQUIRED(whole_->lock_);
  absl::Status Full(Tried tried, absl::string_view how);

  OutgoingLane* const whole_;
  const OutgoingLane::FetchLanes fetch_;
  std::vector<std::shared_ptr<OutgoingLane>> lanes_;
  absl::optional<uint32_t> version_;    // of lanes_
  std::vector<Room> rooms_;             // of lanes_, in Try and Published
  std::shared_ptr<OutgoingLane> full_;  // what Try found without room
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_LANE_GROUP_H_
