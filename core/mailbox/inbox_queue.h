#ifndef MAILRAIL_CORE_MAILBOX_INBOX_QUEUE_H_
#define MAILRAIL_CORE_MAILBOX_INBOX_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/mailbox/receive_queue.h"

namespace mailrail {

// An inbox: ring lanes, one receiver. Senders of equal priority take turns: order is promised per
// sender alone. A lane that is mute only ends; joined once more, and not mute, it is heard.
class InboxQueue final : public ReceiveQueue {
 public:
  // Has the end of a process, mailbox or node told, once, a process's after its last message.
  // UndoWatch undoes one Watch: what others have asked for stays. Thread-safe.
  void Watch(const Ended& what);
  void UndoWatch(const Ended& what);
  // Tells nothing of it from now on, also if it has ended. A mailbox's name without a node stands
  // for all that have it. False when it is not watched. Thread-safe.
  bool Unwatch(const Ended& what);
  bool IsWatched(const Ended& what);

  // What Join and End have said; by itself only when something is taken.
  using ReceiveQueue::TakeOverChanges;

  Taken Take(const ControlPage& control, const ProcessId* only_from, Message* message) override;
  bool MayHave(const ControlPage& control) override;
  void Flush() override;
  bool HasLaneOf(const ProcessId& sender) const override;

 protected:
  void AddLane(std::shared_ptr<IncomingLane> lane) override;
  void EndLane(uint64_t id, EndReason reason) override;
  void EndWatched(const Ended& what, const ProcessId& process, EndReason reason) override;

 private:
  friend class ReceiveQueue;

  struct Candidate {
    size_t lane = 0;
    int priority = -1;
    size_t looked = 0;  // how many lanes the look had looked at when it found this one
    Record record;
    bool found() const { return priority >= 0; }
  };
  struct Lane {
    std::shared_ptr<IncomingRing> ring;
    RingReader* reader = nullptr;                          // the ring's
    const SharedAtomic<uint32_t>* rings_in_use = nullptr;  // what the sender says, unless mute
    bool ended = false;
    EndReason reason = EndReason::kNone;
  };
  struct Ending {
    Ended what;
    ProcessId process;
    EndReason reason;
  };
  using Name = std::pair<Ended::Kind, std::string>;

  Found Find(const ProcessId* only_from, Candidate* best);
  Found FindBetter(const ProcessId* only_from, Candidate* best) {
    // Only a higher priority goes before what was found, and only in a lane that the look had
    // looked at before it found that.
    const uint32_t better = Above(best->priority);
    size_t i = First();
    for (size_t looked = 0; looked < best->looked; ++looked, i = After(i)) {
      if (ABSL_PREDICT_FALSE((InUse(lanes_[i]) & better) != 0)) return FindAgain(only_from, best);
    }
    return Found::kNothingBetter;
  }
  Found FindAgain(const ProcessId* only_from, Candidate* best);
  // Where a look begins, and where it goes on.
  size_t First() const { return turn_ < lanes_.size() ? turn_ : 0; }
  size_t After(size_t lane) const { return lane + 1 < lanes_.size() ? lane + 1 : 0; }
  static uint32_t InUse(const Lane& lane) {
    return lane.rings_in_use->load(std::memory_order_acquire);
  }
  Claimed Claim(const Candidate& best, Message* message);
  Taken TakeNothing(const ProcessId* only_from, Message* message);
  const IncomingLane& lane(size_t index) const { return *lanes_[index].ring; }
  // Makes `message` the notice of an end that is to be told; false when there is none.
  bool TakeEnd(const ProcessId* only_from, Message* message);
  // Lets go of lanes that have ended and are empty.
  void DropEnded();
  void DropCorrupt(size_t index);
  // Lets go of an ended lane, and notes the end if it is watched.
  void Drop(const Lane& lane);
  void NoteEnd(Ended what, const ProcessId& process, EndReason reason);

  std::vector<Lane> lanes_;
  size_t turn_ = 0;            // the lane that a look begins with
  bool some_ended_ = false;    // of `lanes_`
  std::vector<Ending> ended_;  // to be told, of those that are still watched
  absl::Mutex watched_mutex_;
  // How many have asked; until the end is told.
  absl::flat_hash_map<Name, int> watched_ ABSL_GUARDED_BY(watched_mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_INBOX_QUEUE_H_
