#ifndef MAILRAIL_NODE_CARRIER_LANE_SINK_H_
#define MAILRAIL_NODE_CARRIER_LANE_SINK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "core/shm/futex.h"
#include "node/carrier/carrier.h"
#include "node/carrier/peers.h"
#include "proto/peer.pb.h"

namespace mailrail {

// One lane of another node to this one: publishes what has come in the lane of shared memory here,
// and acknowledges it. The two lanes have the same sequence numbers, but for what a full mailbox
// drops, which is counted; so what was published says what was accepted. What has no room yet waits
// here, bounded by the window, each priority for itself. One thread at a time.
class LaneSink {
 public:
  struct Windows {
    uint64_t bulk_bytes;
    uint64_t urgent_bytes;
  };

  // `counters` outlive it, and count what is received.
  LaneSink(InboundLane lane, Peer* peer, const Windows& windows, Carrier::Counters* counters);

  Peer* peer() const { return peer_; }
  uint64_t id() const { return lane_.id; }
  const std::shared_ptr<OutgoingLane>& lane() const { return lane_.lane; }
  // Whether this lane is of this life of the peer.
  bool IsOf(uint64_t incarnation);

  // There are new sessions with the origin, which will send again what was not published: drops
  // it. Otherwise what is sent in another order than before would exceed the window, and what is
  // acknowledged would not have been sent, as the origin sees it.
  void Restart();

  // The answer to LaneOpen.
  proto::LaneState State() const;

  // How many processes receive from the mailbox that it leads to, unless the origin was told that
  // last; nothing for a lane to a process.
  absl::optional<uint32_t> NewsOfReceivers();

  // Takes messages that have come; those that had come before are acknowledged again, and dropped.
  // kInvalidArgument when they make no sense: the peer misbehaves.
  absl::Status Add(proto::SessionClass session_class, proto::Data* data);

  // Whether the agent is to look at the mailbox, and was not told: messages have come that may
  // expire or are for later, or are to be buried to make room.
  bool TakeLook() { return std::exchange(agent_is_to_look_, false); }

  // Publishes what has room; `look_again`: tries though no room was announced. An error when the
  // destination is closed, or does not take such messages.
  absl::Status Publish(bool look_again, bool* busy);

  // Whether messages that want receipts are in the mailbox, or have an end that is not told.
  bool awaits_ends() const { return awaits_ends_; }
  // The ends to be told: those that have come, and after Restart all that the origin has not seen.
  std::vector<CellEnd> TakeEnds();
  // The origin has seen it.
  void ForgetEnd(uint64_t receipt);

  // Nothing waits, and nothing is to be acknowledged or told.
  bool idle() const { return waiting_rings_ == 0 && ack_due_ == 0 && !awaits_ends_; }
  bool empty() const { return waiting_rings_ == 0; }
  // What changes when there is room, or a message has come to its end, if something waits for it.
  absl::optional<FutexWord> room_word() const { return room_word_; }

  // Writes what is to be acknowledged to the sessions that it came on: at once when it is much, or
  // came again, or was the last; else when `now` is ack_at(), so that a message and its answer are
  // not two frames each.
  void WriteAcks(absl::Time now);
  // When something is to be acknowledged; InfiniteFuture when nothing is.
  absl::Time ack_at() const { return ack_at_; }

  // The origin has said that no more will come.
  bool ended() const { return ended_; }
  // `end_reason`: why the sender is not there any more.
  void set_ended(uint32_t end_reason) {
    ended_ = true;
    end_reason_ = end_reason;
  }
  uint32_t end_reason() const { return end_reason_; }
  // It is in Inbound's list of those that have something to do.
  bool active() const { return active_; }
  void set_active(bool active) { active_ = active; }

 private:
  struct Chunk {
    std::string records;  // see record_codec.h
    size_t at = 0;        // where the first one begins that is not published
  };
  struct Queue {
    std::deque<Chunk> chunks;
    uint64_t received = 0;   // the number of the last message that came
    uint64_t published = 0;  // the number of the last one that was published
  };
  // What waits of one class of priorities.
  struct Flow {
    uint64_t window_bytes = 0;
    uint64_t bytes = 0;
    uint64_t records = 0;
  };

  absl::Status PublishAt(int priority, bool* busy);
  // Publishes the first messages of the chunk; how many, and how many bytes of it that takes.
  absl::StatusOr<size_t> PublishSome(int priority, const Chunk& chunk, size_t* bytes);
  // Makes the times at which messages of the chunk expire or are due this host's; false when a
  // prefix is not well-formed.
  bool ReadTimes(Chunk* chunk);
  // kPermissionDenied when the peer says that others than its own processes sent it.
  absl::StatusOr<Prefix> ReadPrefix(absl::string_view bytes) const;
  // Whether a full lane is worth another try: it was not announced yet that we wait for room.
  bool AnnounceWait();
  absl::Status Misbehaved(absl::string_view what) const;

  InboundLane lane_;
  Peer* const peer_;
  Carrier::Counters* const counters_;
  Queue queues_[kPriorityCount];
  Flow flows_[2];               // bulk, urgent
  uint32_t waiting_rings_ = 0;  // priorities with something unpublished
  uint32_t full_rings_ = 0;     // those of them that wait for room
  uint32_t ack_due_ = 0;        // priorities with something to acknowledge
  uint64_t unacknowledged_bytes_ = 0;
  absl::Time ack_at_ = absl::InfiniteFuture();
  absl::optional<FutexWord> room_word_;
  std::vector<absl::string_view> bodies_;  // PublishSome's
  bool awaits_ends_ = false;
  std::vector<CellEnd> untold_;
  absl::flat_hash_map<uint64_t, CellEnd> told_;  // and not seen, by their receipts
  bool agent_is_to_look_ = false;
  absl::optional<uint32_t> told_receivers_;
  bool ended_ = false;
  uint32_t end_reason_ = 0;
  bool active_ = false;
};

}  // namespace mailrail

#endif  // MAILRAIL_NODE_CARRIER_LANE_SINK_H_
