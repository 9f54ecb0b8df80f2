#ifndef MAILRAIL_CORE_MAILBOX_OUTGOING_LANE_H_
#define MAILRAIL_CORE_MAILBOX_OUTGOING_LANE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "core/lane/cell_writer.h"
#include "core/lane/record.h"
#include "core/lane/ring_writer.h"
#include "core/mailbox/attachment.h"
#include "core/mailbox/control_page.h"
#include "core/message/prefix.h"
#include "core/shm/adaptive_spin.h"
#include "core/shm/bell.h"
#include "core/shm/budget.h"
#include "core/shm/handle_lock.h"
#include "core/shm/memory.h"
#include "core/shm/stamp.h"
#include "mailrail/mailbox.h"

namespace mailrail {

// Both memories of a link (core/lane/ring_layout.h), as one party maps them.
struct LinkMemory {
  RingGeometry geometry;
  Mapping own;   // read-write
  Mapping peer;  // read-only
  // Of the own one, which is as sparse as it was; null: all of it is there.
  std::shared_ptr<Reserve> reserve = nullptr;

  // What a party writes there in any case, and the first step of its lane.
  static constexpr uint64_t kFixedBytes = kRingCountsBytes;
  static constexpr uint64_t kFirstBytes = kFixedBytes + 4096;
  // From now on it reserves by this budget, beginning with what is written in any case.
  void ReserveBy(const std::shared_ptr<Budget>& budget);
};

class LaneGroup;

// What a sender maps of its destination.
struct DestinationMemory {
  Mapping control;  // ControlPage, read-only
  Mapping bell;     // BellWords, read-only
  Mapping gate;     // GateWord, read-write

  const ControlPage* control_page() const {
    return reinterpret_cast<const ControlPage*>(control.data());
  }
  const BellWords* bell_words() const { return reinterpret_cast<const BellWords*>(bell.data()); }
  GateWord* gate_word() const { return reinterpret_cast<GateWord*>(gate.data()); }
};

// One sender's lane to one destination, with the destination's bell: the only way by which a
// message enters Mailrail. Two kinds of lane, one behaviour.
//
// Thread-safe: the senders of one process to one destination share it, and keep their order. Each
// of them is counted (AddHandle), so that a sole one need not lock.
class OutgoingLane {
 public:
  // A ring lane: to an inbox, or to whatever an agent carries on.
  OutgoingLane(std::string name, const MailboxOptions& options, std::shared_ptr<LinkMemory> link,
               DestinationMemory destination);
  // A cell lane, to a mailbox of this node. `number` is the sender's, to take back messages with.
  // It reserves by `reserve`, unless that is null.
  OutgoingLane(std::string name, const MailboxOptions& options, const CellGeometry& geometry,
               Mapping data, Mapping state, uint32_t number, DestinationMemory destination,
               std::shared_ptr<Reserve> reserve = nullptr);
  // No lane of its own, but one to each subscription of a broadcast mailbox of this node, which
  // `fetch` returns; see LaneGroup.
  using FetchLanes =
      std::function<absl::StatusOr<std::vector<std::shared_ptr<OutgoingLane>>>(absl::Time)>;
  OutgoingLane(std::string name, const MailboxOptions& options, DestinationMemory destination,
               FetchLanes fetch);
  ~OutgoingLane();

  // For a lane of a process: with it sends are kAborted soon after the process is detached. Set
  // before the lane is used; outlives all sends. An agent's lanes have none.
  void set_attachment(const Attachment* attachment) { attachment_ = attachment; }

  void AddHandle() { lock_.AddHandle(); }
  void RemoveHandle() { lock_.RemoveHandle(); }

  // Takes up the lane of a sender that died. kDataLoss.
  absl::Status Recover();

  // Of a cell lane, before Recover: what is to be told of the ends of its messages is kept in
  // shared memory, for whoever takes it up after this one (CellWriter::KeepEnds). Then prefixes say
  // their receipts.
  void KeepEnds() {
    if (cells_ != nullptr) cells_->KeepEnds();
  }

  // Sends one message; errors as mailrail::Sender. `options`: of a cell lane.
  absl::Status Send(int priority, const Payload& payload, absl::Time deadline,
                    const CellOptions& options = {});

  // Sends several, if each of them may be sent: how many were sent, or the error of the first.
  // Each has the prefix, and no receipt.
  absl::StatusOr<size_t> SendBatch(int priority, absl::Span<const absl::string_view> bodies,
                                   absl::Time deadline, absl::string_view prefix = {},
                                   const CellOptions& options = {});

  // Room in shared memory for a body of `size` bytes behind a prefix of `prefix_bytes`, to be
  // committed or freed; nothing when both stand in the lane itself, and are better written to a
  // buffer first.
  absl::StatusOr<absl::optional<SlabRoom>> Claim(int priority, size_t size, absl::Time deadline,
                                                 size_t prefix_bytes = 0);
  absl::Status Commit(int priority, const SlabRoom& room, size_t size, absl::Time deadline,
                      size_t prefix_bytes = 0, const CellOptions& options = {});
  void Free(const SlabRoom& room);

  absl::Status CheckMessage(size_t size, int priority) const {
    if (ABSL_PREDICT_TRUE(priority >= 0 && priority <= kMaxPriority &&
                          size <= options_.max_message_bytes && !options_.fixed_size)) {
      return absl::OkStatus();
    }
    return mailrail::CheckMessage(options_, size, priority);
  }

  // For a sender that must not wait in Send (deadline: InfinitePast). Announces that it will sleep
  // for room: try again after this, and sleep on the word returned only if there was none.
  FutexWord ParkForRoom();

  // It leads to a mailbox: of this node (a cell lane), or of another.
  bool to_mailbox() const { return to_near_mailbox() || to_far_mailbox_; }
  bool to_near_mailbox() const { return ring_ == nullptr; }
  // Before it is used.
  void set_to_far_mailbox() { to_far_mailbox_ = true; }

  // Of a cell lane: says that its messages may expire or be delayed, before the first such one is
  // sent. True when that was not said before: then the agent is to look at the mailbox.
  bool SetExpires();
  bool expires() const { return expires_.load(std::memory_order_relaxed); }

  // The number of the last message sent at this priority.
  uint64_t sequence(int priority);
  // How many messages of this priority were sent, with those that were dropped instead.
  uint64_t accepted(int priority);
  // Whether all that was sent was received and let go of.
  bool Drained();
  // Cell lanes: what became of the message `sequence`; nothing when it is long done.
  absl::optional<CellState> StateOf(int priority, uint64_t sequence);
  // Cell lanes: takes back the last message of this priority unless it is claimed; true if so.
  bool Retract(int priority);
  // Cell lanes: takes back a message that its receiver has given back for later; true if so.
  bool Recall(int priority, uint64_t sequence);

  // Of a cell lane, as CellWriter.
  void TakeEnds(std::vector<CellEnd>* ends);
  void ForgetEnd(int priority, uint64_t position);
  void PurgeAsked();
  bool AwaitsEnds();

  // Of a mailbox: whether it is known how many processes receive from it, and how many.
  absl::optional<uint32_t> receivers() const {
    const uint32_t receivers = destination_.control_page()->receivers.load();
    if (receivers == 0) return absl::nullopt;
    return receivers - 1;
  }

  const std::string& name() const { return name_; }
  const MailboxOptions& options() const { return options_; }
  // OK, or why nothing can be sent any more.
  absl::Status closed_status() const;

 private:
  friend class LaneGroup;
  enum class Try { kDone, kNoRoom };

  // The following run under the lock and do not wait.
  Try TrySend(int priority, const Payload& payload, Publication publication,
              const CellOptions& options) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  Try TryAppendSlab(int priority, const SlabRoom& room, size_t size, bool has_prefix,
                    const CellOptions& options) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  absl::optional<SlabRoom> TryAllocate(int priority, size_t size)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  CloseReason closed_reason() const;
  // Of a message to a mailbox.
  uint64_t NextStamp() const {
    // Acquire: a sender that knows of a message of a second lane knows of that lane.
    const bool stamped = destination_.control_page()->stamped.load(std::memory_order_acquire) != 0;
    return stamped ? Stamp() : 0;
  }
  // The key by which receivers choose, of a payload that begins with this; 0: none.
  uint32_t KeyIn(absl::string_view payload) const {
    if (ABSL_PREDICT_TRUE(payload.empty() || !keyed_)) return 0;
    return KeyHashIn(payload);
  }
  // After a publish of `count` messages: rings, and finds out whether they are for nobody, since
  // the destination was closed or this process detached before; *taken_back is then how many
  // nobody will receive, and otherwise 0.
  absl::Status Published(int priority, size_t count, size_t* taken_back)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Whether this process is attached, as far as is known: what costs a system call is looked at
  // when the last look is 50 ms ago, and at the clock after some sends, at most kSendsBetweenTimes.
  absl::Status CheckAttached() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  bool LookedAt() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    if (attachment_ == nullptr) return true;
    return ABSL_PREDICT_TRUE(!attachment_->ended() && --sends_until_time_ > 0);
  }
  // What is done without waiting when there was no room.
  enum class Full {
    kWaits,     // nothing: wait
    kBuries,    // one is condemned: ask the agent to bury it, and wait
    kTryAgain,  // room was made
    kDropped,   // the message was dropped, which is OK
    kRefused,
  };
  Full OnFull(int priority) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Repeats `attempt` (which returns whether it got its room) until then or until the deadline.
  // `dropped`: whether what was to be sent, with these options, was dropped instead
  // (FullPolicy::kDropNewest); when it is null, nothing can be.
  template <typename Attempt>
  absl::Status UntilRoom(int priority, absl::Time deadline, const Attempt& attempt, bool* dropped,
                         const CellOptions& options = {});
  FutexWord ParkLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Why there was no room.
  bool short_of_memory() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return ring_ ? ring_->short_of_memory() : cells_->short_of_memory();
  }
  std::string WhyFull(absl::string_view how) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  size_t inline_limit() const { return ring_ ? kMaxInlineRecord : Slot::kInlineBytes; }

  const std::string name_;
  const MailboxOptions options_;
  const bool keyed_ = options_.distribution == Distribution::kStickyByKey;
  const std::shared_ptr<LinkMemory> link_;
  const Mapping data_;
  const Mapping state_;
  const std::shared_ptr<Reserve> reserve_;
  const uint32_t number_ = 0;
  const DestinationMemory destination_;
  const Attachment* attachment_ = nullptr;
  bool to_far_mailbox_ = false;

  HandleLock lock_;
  // One of the two; what they point to is guarded by lock_, but for RingWriter::refused.
  const std::unique_ptr<RingWriter> ring_;
  const std::unique_ptr<CellWriter> cells_;
  const std::unique_ptr<LaneGroup> group_;  // or this, and neither of them
  Ringer ringer_ ABSL_GUARDED_BY(lock_);
  int64_t looked_at_ ABSL_GUARDED_BY(lock_) = 0;  // when Attachment::Check was called last
  int64_t last_time_ ABSL_GUARDED_BY(lock_) = 0;  // when the clock was looked at last
  int sends_between_times_ ABSL_GUARDED_BY(lock_) = 1;
  int sends_until_time_ ABSL_GUARDED_BY(lock_) = 1;
  AdaptiveSpin spin_for_room_ ABSL_GUARDED_BY(lock_);
  std::atomic<bool> expires_{false};
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_OUTGOING_LANE_H_
