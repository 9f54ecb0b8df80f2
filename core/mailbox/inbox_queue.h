#ifndef MAILRAIL_CORE_MAILBOX_INBOX_QUEUE_H_
#define MAILRAIL_CORE_MAILBOX_INBOX_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/mailbox/receive_queue.h"

namespace mailrail {

// An inbox: ring lanes, one receiver. Senders of equal priority take turns: order is promised per
// sender alone.
class InboxQueue final : public ReceiveQueue {
 public:
  // Has the end of `process` told, once, after its last message. Unwatch undoes one Watch: what
  // others have asked for stays. Thread-safe.
  void Watch(const ProcessId& process);
  void Unwatch(const ProcessId& process);

  Taken Take(const ControlPage& control, const ProcessId* only_from, Message* message) override;
  bool MayHave(const ControlPage& control) override;
  void Flush() override;
  bool HasLaneOf(const ProcessId& sender) const override;

 protected:
  void AddLane(std::shared_ptr<IncomingLane> lane) override;
  void EndLane(uint64_t id, EndReason reason) override;

 private:
  friend class ReceiveQueue;

  struct Candidate {
    size_t lane = 0;
    int priority = -1;
    Record record;
    bool found() const { return priority >= 0; }
  };
  struct Lane {
    std::shared_ptr<IncomingRing> ring;
    RingReader* reader = nullptr;  // the ring's
    bool ended = false;
    EndReason reason = EndReason::kNone;
  };
  struct Ended {
    ProcessId process;
    EndReason reason;
  };

  Found Find(const ProcessId* only_from, Candidate* best);
  Found FindBetter(const ProcessId* only_from, Candidate* best) {
    // Only a higher priority goes before what was found.
    const uint32_t better = Above(best->priority);
    for (const Lane& lane : lanes_) {
      if (ABSL_PREDICT_FALSE((lane.reader->rings_in_use() & better) != 0)) {
        return FindAgain(only_from, best);
      }
    }
    return Found::kNothingBetter;
  }
  Found FindAgain(const ProcessId* only_from, Candidate* best);
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

  std::vector<Lane> lanes_;
  size_t turn_ = 0;           // the lane that a look begins with
  bool some_ended_ = false;   // of `lanes_`
  std::vector<Ended> ended_;  // to be told
  absl::Mutex watched_mutex_;
  // How many have asked.
  absl::flat_hash_map<ProcessId, int> watched_ ABSL_GUARDED_BY(watched_mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_INBOX_QUEUE_H_
