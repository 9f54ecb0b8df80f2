#ifndef MAILRAIL_CORE_MAILBOX_RECEIVE_QUEUE_H_
#define MAILRAIL_CORE_MAILBOX_RECEIVE_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "core/base/fork.h"
#include "core/lane/cell_reader.h"
#include "core/lane/ring_reader.h"
#include "core/mailbox/attachment.h"
#include "core/mailbox/outgoing_lane.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"

namespace mailrail {

// One sender's lane, as a receiver sees it. Owned by its queue, and by the views of its messages.
class IncomingLane : public internal::HeldRoom {
 public:
  IncomingLane(uint64_t id, const ProcessId& sender, bool same_user, bool by_agent)
      : id_(id),
        sender_(sender),
        same_user_(same_user),
        by_agent_(by_agent),
        fork_generation_(ForkGeneration()) {}

  // In a forked child, which has no such memory, nothing: the room is the parent's.
  void Release(int priority, uint32_t cell, uint64_t sequence) final {
    if (fork_generation_ == ForkGeneration()) GiveBack(priority, cell, sequence);
  }

  uint64_t id() const { return id_; }
  const ProcessId& sender() const { return sender_; }
  // Large bodies are shown in place; else they are copied first, since the sender could change
  // them while they are read.
  bool same_user() const { return same_user_; }
  // The agent writes this lane. Prefixes, which name senders, are well-formed in its lanes alone.
  bool by_agent() const { return by_agent_; }

 private:
  virtual void GiveBack(int priority, uint32_t cell, uint64_t sequence) = 0;

  const uint64_t id_;
  const ProcessId sender_;
  const bool same_user_;
  const bool by_agent_;
  const uint32_t fork_generation_;
};

class IncomingRing : public IncomingLane {
 public:
  IncomingRing(uint64_t id, const ProcessId& sender, bool same_user,
               std::shared_ptr<LinkMemory> link, bool by_agent = false);
  RingReader& reader() { return reader_; }

 private:
  void GiveBack(int priority, uint32_t cell, uint64_t sequence) override {
    reader_.ReleaseCell(priority, cell, sequence);
  }

  const std::shared_ptr<LinkMemory> link_;
  RingReader reader_;
};

// Both memories of a cell lane, as a receiver maps them. The receivers of one process share it.
struct CellMemory {
  CellGeometry geometry;
  Mapping data;   // read-only
  Mapping state;  // read-write
};

class IncomingCells : public IncomingLane {
 public:
  IncomingCells(uint64_t id, const ProcessId& sender, bool same_user,
                std::shared_ptr<const CellMemory> memory, bool by_agent = false);
  CellReader& reader() { return reader_; }

 private:
  void GiveBack(int priority, uint32_t cell, uint64_t sequence) override {
    reader_.Done(priority, cell, sequence);
  }

  const std::shared_ptr<const CellMemory> memory_;
  CellReader reader_;
};

// The lanes of one inbox or mailbox as one queue: the best message of all of them.
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
  Taken Take(const ControlPage& control, const ProcessId* only_from, Message* message);

  // Whether Take would find something. May be kBehind's equal: true.
  bool MayHave(const ControlPage& control);

  // Tells the senders of all room given back. Before a park.
  virtual void Flush() {}

  // Whether the lane of `sender` is there (and not ended and empty).
  virtual bool HasLaneOf(const ProcessId& sender) const = 0;

  const absl::Status& error() const { return error_; }

 protected:
  // A message that could be taken.
  struct Candidate {
    size_t lane = 0;
    int priority = -1;
    uint64_t stamp = 0;
    Record record;
    CellHead head;
    bool found() const { return priority >= 0; }
    // Whether a message of this priority and stamp goes before.
    bool BeatenBy(int other_priority, uint64_t other_stamp) const {
      return other_priority != priority ? other_priority > priority : other_stamp < stamp;
    }
  };
  enum class Claimed { kYes, kLost, kCorrupt, kVoid };

  virtual void AddLane(std::shared_ptr<IncomingLane> lane) = 0;
  virtual void EndLane(uint64_t id, EndReason reason) = 0;
  // Makes `message` the notice of an end that is to be told; false when there is none.
  virtual bool TakeEnd(const ProcessId* /*only_from*/, Message* /*message*/) { return false; }
  virtual bool HasEnd() const { return false; }
  // Improves `best` by whatever goes before it; false when a lane is corrupt: then error() says
  // whose, and it was dropped.
  virtual bool Find(const ProcessId* only_from, Candidate* best) = 0;
  // Makes the candidate this receiver's, and a message. A corrupt one's lane is dropped.
  virtual Claimed Claim(const Candidate& best, Message* message) = 0;
  // Lets go of lanes that have ended and are empty.
  virtual void DropEnded() = 0;
  virtual const IncomingLane& lane(size_t index) const = 0;

  void set_error(absl::Status error) { error_ = std::move(error); }
  void TakeOverChanges();
  // Whether a look leaves this lane out.
  bool LeftOut(const IncomingLane& lane, const ProcessId* only_from) const;
  // Whether this body may stand in this lane; of one with a prefix, once it is taken off.
  bool MayCarry(const IncomingLane& lane, const Record& record) const;
  bool Fits(size_t body_bytes) const;

 private:
  // Whether lanes have joined or ended that were not taken over.
  bool Behind(const ControlPage& control) const;
  void ReachLocked(uint32_t version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  struct Change {
    std::shared_ptr<IncomingLane> joined;  // null: ended
    uint64_t id;
    EndReason reason = EndReason::kNone;
  };

  mutable absl::Mutex mutex_;
  std::vector<Change> changes_ ABSL_GUARDED_BY(mutex_);
  uint32_t read_version_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t version_ = 0;  // taken over by the receiver
  MailboxOptions limits_{.max_message_bytes = SIZE_MAX};
  std::vector<const IncomingLane*> passed_over_;  // in this Take
  absl::Status error_;
};

// An inbox: ring lanes, one receiver.
class InboxQueue : public ReceiveQueue {
 public:
  // Has the end of `process` told, once, after its last message. Unwatch undoes one Watch: what
  // others have asked for stays. Thread-safe.
  void Watch(const ProcessId& process);
  void Unwatch(const ProcessId& process);

  void Flush() override;
  bool HasLaneOf(const ProcessId& sender) const override;

 protected:
  void AddLane(std::shared_ptr<IncomingLane> lane) override;
  void EndLane(uint64_t id, EndReason reason) override;
  bool TakeEnd(const ProcessId* only_from, Message* message) override;
  bool HasEnd() const override { return !ended_.empty(); }
  bool Find(const ProcessId* only_from, Candidate* best) override;
  Claimed Claim(const Candidate& best, Message* message) override;
  void DropEnded() override;
  const IncomingLane& lane(size_t index) const override { return *lanes_[index].ring; }

 private:
  struct Lane {
    std::shared_ptr<IncomingRing> ring;
    bool ended = false;
    EndReason reason = EndReason::kNone;
  };
  struct Ended {
    ProcessId process;
    EndReason reason;
  };
  void DropCorrupt(size_t index);
  // Lets go of an ended lane, and notes the end if it is watched.
  void Drop(const Lane& lane);

  std::vector<Lane> lanes_;
  bool some_ended_ = false;   // of `lanes_`
  std::vector<Ended> ended_;  // to be told
  absl::Mutex watched_mutex_;
  // How many have asked.
  absl::flat_hash_map<ProcessId, int> watched_ ABSL_GUARDED_BY(watched_mutex_);
};

// A message that was claimed and neither taken nor returned yet.
struct Lease {
  std::shared_ptr<IncomingCells> lane;
  int priority = 0;
  uint64_t sequence = 0;
  uint32_t slot = 0;
  uint32_t attempts = 0;
  Record record;
};

// A mailbox: cell lanes, competing receivers. `number` is this receiver's; `attachment`, which
// outlives this, its process's (an agent's receivers have none).
class MailboxQueue : public ReceiveQueue {
 public:
  explicit MailboxQueue(uint32_t number, const Attachment* attachment = nullptr)
      : number_(number), attachment_(attachment) {}

  // What Join and End have said; by itself only when something is taken.
  using ReceiveQueue::TakeOverChanges;

  // Claims the best message for this receiver and leaves it leased; see Finish.
  Taken TakeLease(const ControlPage& control, Lease* lease);
  // What became of a lease.
  enum class Outcome {
    kReceived,
    kWithdrawn,  // it goes back to its place, and nobody has seen it
    kReturned,   // it goes back to its place, one attempt more
  };
  // False when the lease was taken away before. After kWithdrawn and kReturned ring the mailbox's
  // gate (RingGate): a receiver that sleeps may take it.
  bool Finish(const Lease& lease, Outcome outcome);
  // The leases that this receiver's number holds: after a restart.
  std::vector<Lease> HeldLeases();
  bool HasLaneOf(const ProcessId& sender) const override;

 protected:
  void AddLane(std::shared_ptr<IncomingLane> lane) override;
  void EndLane(uint64_t id, EndReason reason) override;
  bool Find(const ProcessId* only_from, Candidate* best) override;
  Claimed Claim(const Candidate& best, Message* message) override;
  void DropEnded() override {}
  const IncomingLane& lane(size_t index) const override { return *lanes_[index]; }

 private:
  bool gone() const { return attachment_ != nullptr && attachment_->gone(); }
  void DropCorrupt(size_t index);

  const uint32_t number_;
  const Attachment* const attachment_;
  std::vector<std::shared_ptr<IncomingCells>> lanes_;
  Lease* lease_out_ = nullptr;  // where Claim leaves the lease, in TakeLease
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_RECEIVE_QUEUE_H_
