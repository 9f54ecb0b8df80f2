#ifndef MAILRAIL_CORE_MAILBOX_OUTGOING_LANE_H_
#define MAILRAIL_CORE_MAILBOX_OUTGOING_LANE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "core/lane/cell_writer.h"
#include "core/lane/record.h"
#include "core/lane/ring_writer.h"
#include "core/mailbox/attachment.h"
#include "core/mailbox/control_page.h"
#include "core/shm/bell.h"
#include "core/shm/memory.h"
#include "mailrail/mailbox.h"

namespace mailrail {

// Both memories of a link (core/lane/ring_layout.h), as one party maps them.
struct LinkMemory {
  RingGeometry geometry;
  Mapping own;   // read-write
  Mapping peer;  // read-only
};

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
// Thread-safe: the senders of one process to one destination share it, and keep their order.
class OutgoingLane {
 public:
  // A ring lane: to an inbox, or to whatever an agent carries on.
  OutgoingLane(std::string name, const MailboxOptions& options, std::shared_ptr<LinkMemory> link,
               DestinationMemory destination);
  // A cell lane, to a mailbox of this node. `number` is the sender's, to take back messages with.
  OutgoingLane(std::string name, const MailboxOptions& options, const CellGeometry& geometry,
               Mapping data, Mapping state, uint32_t number, DestinationMemory destination);

  // For a lane of a process: with it sends are kAborted soon after the process is detached. Set
  // before the lane is used; outlives all sends. An agent's lanes have none.
  void set_attachment(const Attachment* attachment) { attachment_ = attachment; }

  // Takes up the lane of a sender that died. kDataLoss.
  absl::Status Recover();

  // Sends one message; errors as mailrail::Sender.
  absl::Status Send(int priority, const Payload& payload, absl::Time deadline);

  // Sends several, if each of them may be sent: how many were sent, or the error of the first.
  absl::StatusOr<size_t> SendBatch(int priority, absl::Span<const absl::string_view> bodies,
                                   absl::Time deadline);

  // Room in shared memory for a body of `size` bytes, to be committed or freed; nothing when a
  // body of this size stands in the lane itself, and is better written to a buffer first.
  absl::StatusOr<absl::optional<SlabRoom>> Claim(int priority, size_t size, absl::Time deadline);
  absl::Status Commit(int priority, const SlabRoom& room, size_t size, absl::Time deadline);
  void Free(const SlabRoom& room);

  absl::Status CheckMessage(size_t size, int priority) const {
    return mailrail::CheckMessage(options_, size, priority);
  }

  // For a sender that must not wait in Send (deadline: InfinitePast). Announces that it will sleep
  // for room: try again after this, and sleep on the word returned only if there was none.
  FutexWord ParkForRoom();

  // The number of the last message sent at this priority.
  uint64_t sequence(int priority);
  // Whether all that was sent was received and let go of.
  bool Drained();
  // Cell lanes: what became of the message `sequence`; nothing when it is long done.
  absl::optional<CellState> StateOf(int priority, uint64_t sequence);
  // Cell lanes: takes back the last message of this priority unless it is claimed; true if so.
  bool Retract(int priority);

  const std::string& name() const { return name_; }
  const MailboxOptions& options() const { return options_; }
  // OK, or why nothing can be sent any more.
  absl::Status closed_status() const;

 private:
  enum class Try { kDone, kNoRoom };

  // The following run under the lock and do not wait.
  Try TrySend(int priority, const Payload& payload) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Try TryAppendSlab(int priority, const SlabRoom& room, size_t size, bool has_prefix)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::optional<SlabRoom> TryAllocate(int priority, size_t size)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  CloseReason closed_reason() const;
  // After a publish of `count` messages: rings, and finds out whether they are for nobody, since
  // the destination was closed or this process detached before; *taken_back is then how many
  // nobody will receive, and otherwise 0.
  absl::Status Published(int priority, size_t count, size_t* taken_back)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether this process is attached, as far as that is known at the time of `stamp`: what costs a
  // system call is looked at when the last look is some 50 ms ago.
  absl::Status CheckAttached(uint64_t stamp) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Repeats `attempt` (which returns whether it got its room) until then or until the deadline.
  template <typename Attempt>
  absl::Status UntilRoom(absl::Time deadline, const Attempt& attempt);
  FutexWord ParkLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  size_t inline_limit() const { return ring_ ? kMaxInlineRecord : Slot::kInlineBytes; }

  const std::string name_;
  const MailboxOptions options_;
  const std::shared_ptr<LinkMemory> link_;
  const Mapping data_;
  const Mapping state_;
  const uint32_t number_ = 0;
  const DestinationMemory destination_;
  const Attachment* attachment_ = nullptr;

  absl::Mutex mutex_;
  // One of the two; what they point to is guarded by mutex_, but for RingWriter::refused.
  const std::unique_ptr<RingWriter> ring_;
  const std::unique_ptr<CellWriter> cells_;
  Ringer ringer_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_stamp_ ABSL_GUARDED_BY(mutex_) = 0;  // of the last message
  uint64_t looked_at_ ABSL_GUARDED_BY(mutex_) = 0;   // the stamp of the last CheckAttached
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_OUTGOING_LANE_H_
