#ifndef MAILRAIL_CORE_MAILBOX_RECEIVE_QUEUE_H_
#define MAILRAIL_CORE_MAILBOX_RECEIVE_QUEUE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "core/base/coarse_clock.h"
#include "core/base/seeded_bug.h"
#include "core/mailbox/control_page.h"
#include "core/mailbox/incoming_lane.h"
#include "core/message/prefix.h"
#include "mailrail/mailbox.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail {

// The lanes of one inbox (InboxQueue) or mailbox (MailboxQueue) as one queue: the best message of
// all of them.
//
// Lanes join and end by notices, which any thread of the process may read (Join, End: thread-safe).
// The receiver takes them over when members_version says so: it compares the version after it has
// found a candidate and before its second look, so that no message of a lane that had joined by
// then is missed. All else is thread-compatible.
class ReceiveQueue {
 public:
  virtual ~ReceiveQueue() = default;

  // A lane has joined, or will get no more messages; `version` is members_version from then on.
  void Join(std::shared_ptr<IncomingLane> lane, uint32_t version);
  // `reason`: of its sender's end.
  void End(uint64_t lane_id, uint32_t version, EndReason reason = EndReason::kNone);
  // What was watched has ended; `process`, when it is one, has written all that it ever will.
  void EndOf(Ended what, const ProcessId& process, uint32_t version, EndReason reason);
  // Notices up to `version` were read, whatever they were.
  void Reach(uint32_t version);

  // The version up to which notices were read.
  uint32_t version() const;
  // Whether notices were read up to what `control` says now, or further.
  bool ReadUpTo(const ControlPage& control) const;

  // What bodies may be received, which their senders' libraries see to: a lane with another one is
  // not well-formed. Before the first Take; without it, any size.
  void set_limits(const MailboxOptions& limits) { limits_ = limits; }

  enum class Taken {
    kMessage,
    kNothing,
    kBehind,   // lanes have joined whose notices were not read: read them, then call again
    kCorrupt,  // a lane was closed: error() says whose
    kVoid,     // this receiver was declared gone: its claims are void
  };
  // Takes the best message, of all lanes or of one sender's. A lane whose sender keeps changing
  // what is already sent is passed over, so that it holds up no other.
  virtual Taken Take(const ControlPage& control, const ProcessId* only_from, Message* message) = 0;

  // Whether Take would find something. May be kBehind's equal: true.
  virtual bool MayHave(const ControlPage& control) = 0;

  // Whether Take may take anything now; if not, the agent rings when that may have changed
  // (ControlPage::rings), and messages are no reason to wake up.
  virtual bool MayTake(const ControlPage&) const { return true; }

  // Tells the senders of all room given back. Before a park.
  virtual void Flush() {}

  // Whether the lane of `sender` is there (and not ended and empty).
  virtual bool HasLaneOf(const ProcessId& sender) const = 0;

  const absl::Status& error() const { return error_; }

  // How many messages were found expired, and taken out, since the last call.
  uint64_t TakeExpired() { return std::exchange(expired_, 0); }
  bool found_expired() const { return expired_ != 0; }

 protected:
  // What a look over all lanes has found.
  enum class Found {
    kNothingBetter,
    kBetter,
    kCorrupt,  // error() says whose lane, which was dropped
  };
  enum class Claimed {
    kYes,
    kLost,
    kCorrupt,
    kVoid,
    kNotAllowed,  // MayTake became false meanwhile; the message went back to its place
    kExpired,     // it is taken out, and nobody's: look again
  };

  virtual void AddLane(std::shared_ptr<IncomingLane> lane) = 0;
  virtual void EndLane(uint64_t id, EndReason reason) = 0;
  virtual void EndWatched(const Ended&, const ProcessId&, EndReason) {}

  // Take, for a Queue with
  //   a type Candidate, with found() and lane, the index of its lane;
  //   Found Find(only_from, Candidate* best), a look over all lanes, and Found FindBetter, which
  //     improves a candidate by whatever goes before it;
  //   Claimed Claim(candidate, message), which makes the candidate this receiver's, and a message;
  //   bool TakeEnd(only_from, message), which makes `message` the notice of an end, if lanes have
  //     ended of which that is to be told; and Taken TakeNothing(only_from, message), for when
  //     nothing was found;
  //   const IncomingLane& lane(index).
  template <typename Queue>
  Taken TakeBest(Queue* queue, const ControlPage& control, const ProcessId* only_from,
                 Message* message);
  template <typename Queue>
  bool MayHaveBest(Queue* queue, const ControlPage& control) {
    passed_over_.clear();
    typename Queue::Candidate best;
    return queue->Find(nullptr, &best) != Found::kNothingBetter || Behind(control) ||
           control.closed.load() != 0;
  }

  // The priorities above this one, as bits.
  static uint32_t Above(int priority) { return ~((uint32_t{2} << priority) - 1); }

  // error(): the lane of `sender` was closed.
  void RefuseLane(const ProcessId& sender);
  void TakeOverChanges();
  // The same, if there are any: for one that does not look.
  void KeepUp(const ControlPage& control) {
    if (Behind(control)) TakeOverChanges();
  }
  // Whether a look leaves this lane out.
  bool LeftOut(const IncomingLane& lane, const ProcessId* only_from) const {
    if (only_from != nullptr && lane.sender() != *only_from) return true;
    return ABSL_PREDICT_FALSE(!passed_over_.empty()) &&
           std::find(passed_over_.begin(), passed_over_.end(), &lane) != passed_over_.end();
  }
  // Whether this body may be received; of one with a prefix, perhaps: once that is taken off it
  // must fit.
  bool MayCarry(const Record& record) const {
    return record.has_prefix ? record.length <= limits_.max_message_bytes ||
                                   record.length - limits_.max_message_bytes <= kLargestPrefixBytes
                             : Fits(record.length);
  }
  bool Fits(size_t body_bytes) const {
    return body_bytes <= limits_.max_message_bytes &&
           (!limits_.fixed_size || body_bytes == limits_.max_message_bytes);
  }

  // Whether this message has expired; counts it then.
  bool Expired(const Record& record) {
    if (ABSL_PREDICT_TRUE(!record.has_prefix)) return false;
    if (!HasExpired({record.data, record.length}, MonotonicTime())) return false;
    ++expired_;
    return true;
  }

  // A body up to this size is copied out even when it stands in the slab: that costs less than a
  // view, whose room the sender gets back later.
  static constexpr uint32_t kAlwaysCopied = 1024;

 private:
  // How often a receiver looks for something better than what it found, and how often it may lose a
  // claim, before it takes a sender for one that plays with it. Sound ones keep it to a few of
  // each.
  static constexpr size_t kMaxLooks = 100;
  static constexpr int kMaxLosses = 1000;

  // Whether `a` is after `b`. Versions wrap.
  static bool IsAfter(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) > 0; }
  // Whether lanes have joined or ended that were not taken over. The agent sends its notices before
  // it changes the page, so notices may be ahead.
  bool Behind(const ControlPage& control) const {
    return IsAfter(control.members_version.load(), version_);
  }
  void ReachLocked(uint32_t version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  struct Change {
    std::shared_ptr<IncomingLane> joined;  // null: ended
    uint64_t id;
    EndReason reason = EndReason::kNone;
    Ended ended = {};  // not kNothing: it is no lane
    ProcessId process = {};
  };

  mutable absl::Mutex mutex_;
  std::vector<Change> changes_ ABSL_GUARDED_BY(mutex_);
  uint32_t read_version_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t version_ = 0;  // taken over by the receiver
  MailboxOptions limits_{.max_message_bytes = SIZE_MAX};
  std::vector<const IncomingLane*> passed_over_;  // in this Take
  uint64_t expired_ = 0;
  absl::Status error_;
};

template <typename Queue>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline ReceiveQueue::Taken ReceiveQueue::TakeBest(
    Queue* queue, const ControlPage& control, const ProcessId* only_from, Message* message) {
  if (ABSL_PREDICT_FALSE(!passed_over_.empty())) passed_over_.clear();
  int losses = 0;
  while (true) {
    typename Queue::Candidate best;
    Found found = queue->Find(only_from, &best);
    if (ABSL_PREDICT_FALSE(found == Found::kCorrupt)) return Taken::kCorrupt;
    if (ABSL_PREDICT_FALSE(Behind(control)) &&
        !(SEEDED_BUG(MEMBERS_NOT_COMPARED) && best.found())) {
      TakeOverChanges();
      if (Behind(control)) return Taken::kBehind;
      if (queue->TakeEnd(only_from, message)) return Taken::kMessage;
      continue;
    }
    if (!best.found()) return queue->TakeNothing(only_from, message);
    // The second look, until one finds nothing better: a message that goes before may have been
    // sent between our look at its place and the sending of the candidate.
    for (size_t looks = 0; looks < kMaxLooks && !SEEDED_BUG(NO_SECOND_LOOK); ++looks) {
      found = queue->FindBetter(only_from, &best);
      if (ABSL_PREDICT_TRUE(found == Found::kNothingBetter)) break;
      if (found == Found::kCorrupt) break;
    }
    if (ABSL_PREDICT_FALSE(found == Found::kCorrupt)) return Taken::kCorrupt;
    switch (queue->Claim(best, message)) {
      case Claimed::kYes:
        return Taken::kMessage;
      case Claimed::kLost:
        if (++losses < kMaxLosses) continue;
        losses = 0;
        passed_over_.push_back(&queue->lane(best.lane));
        continue;
      case Claimed::kCorrupt:
        return Taken::kCorrupt;
      case Claimed::kExpired:
        continue;
      case Claimed::kVoid:
        return Taken::kVoid;
      case Claimed::kNotAllowed:
        return Taken::kNothing;
    }
  }
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_RECEIVE_QUEUE_H_
