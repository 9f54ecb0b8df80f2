#ifndef MAILRAIL_CORE_MAILBOX_MAILBOX_QUEUE_H_
#define MAILRAIL_CORE_MAILBOX_MAILBOX_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/mailbox/attachment.h"
#include "core/mailbox/receive_queue.h"

namespace mailrail {

// A message that was claimed and neither taken nor returned yet.
struct Lease {
  std::shared_ptr<IncomingCells> lane;
  int priority = 0;
  uint64_t sequence = 0;
  uint32_t slot = 0;
  uint32_t attempts = 0;       // as the receiver is told
  uint32_t attempts_seen = 0;  // in the lane
  Record record;
};

// A mailbox: cell lanes, competing receivers. `number` is this receiver's; `attachment`, which
// outlives this, its process's (an agent's receivers have none).
//
// Of an exclusive mailbox a receiver takes while it is the holder (ControlPage::holder). The agent
// takes the right away (holder = 0), then the claims of who had it, unless it has let go of them by
// itself, and then gives the right to the next. So whoever claims looks at `holder` again after the
// claim, and before it takes: either the agent finds the claim, or the claimant sees that it has
// the right no more, and gives the message back unseen. That is why here no message is claimed and
// taken in one step.
class MailboxQueue final : public ReceiveQueue {
 public:
  explicit MailboxQueue(uint32_t number, const Attachment* attachment = nullptr)
      : number_(number), attachment_(attachment) {}

  // How often a message is handed out at most; 0: without limit. Before the first lane joins.
  void set_max_attempts(uint32_t max_attempts) { max_attempts_ = max_attempts; }

  // Takes nothing of a lower priority from now on.
  void set_lowest_priority(int priority) { priorities_ = ~uint32_t{0} << priority; }
  // In which order messages of equal priority are taken. Before the first Take.
  void set_order(MailboxOrder order) { per_sender_ = order == MailboxOrder::kPerSender; }

  // From now on takes nothing of a lane and priority while an earlier message there is held
  // (MailboxOptions::hold_order), and rings `gate`, the mailbox's, when one is not held any more
  // that this receiver has held. Before the first lane joins.
  void HoldOrder(std::shared_ptr<GateWord> gate) {
    choice_.hold_order = true;
    gate_ = std::move(gate);
  }

  // From now on takes only what is assigned to the process with this number in the ReceiverTable
  // (MailboxOptions::distribution). Before the first lane joins.
  void Distribute(Distribution distribution, uint32_t number);

  // What Join and End have said; by itself only when something is taken.
  using ReceiveQueue::TakeOverChanges;

  // From now on takes only while ControlPage::holder is this number: the receiver's own, or, on
  // another node, that of all receivers of its process. An agent that takes for itself need not.
  // Before the first Take.
  void RequireHolder(uint32_t number) { right_ = number; }

  Taken Take(const ControlPage& control, const ProcessId* only_from, Message* message) override;
  bool MayHave(const ControlPage& control) override {
    LearnReceivers(control);
    return Waits(control) ? control.closed.load() != 0 : MayHaveBest(this, control);
  }
  bool MayTake(const ControlPage& control) const override {
    return right_ == 0 || control.holder.load() == right_;
  }
  bool HasLaneOf(const ProcessId& sender) const override;

  // Claims the best message for this receiver and leaves it leased; see Finish. `message`, unless
  // it is null, becomes a copy of it.
  Taken TakeLease(const ControlPage& control, Lease* lease, Message* message = nullptr);
  // What became of a lease.
  enum class Outcome {
    kReceived,
    kWithdrawn,  // it goes back to its place, and nobody has seen it
    kReturned,   // it goes back to its place, one attempt more
  };
  // False when the lease was taken away before. After kWithdrawn and kReturned ring the mailbox's
  // gate (RingGate): a receiver that sleeps may take it.
  bool Finish(const Lease& lease, Outcome outcome);
  // As kReturned, but for later.
  bool FinishLater(const Lease& lease, uint32_t due_tick);
  // What is leased cannot be what an honest sender writes: it is dropped, and nothing is received
  // of its lane any more.
  void Refuse(const Lease& lease);
  // The leases that this receiver's number holds: after a restart.
  std::vector<Lease> HeldLeases();

 protected:
  void AddLane(std::shared_ptr<IncomingLane> lane) override;
  void EndLane(uint64_t id, EndReason reason) override;

 private:
  friend class ReceiveQueue;

  struct Candidate {
    size_t lane = 0;
    int priority = -1;
    CellHead head;
    bool found() const { return priority >= 0; }
  };

  // Whether another has the right. Then this one only keeps up with lanes that join and end.
  bool Waits(const ControlPage& control) {
    if (MayTake(control)) return false;
    KeepUp(control);
    return true;
  }
  Found Find(const ProcessId* only_from, Candidate* best);
  // The same where order is promised per sender: at one priority the lanes take turns, and what is
  // found first goes first.
  Found FindInTurn(const ProcessId* only_from, Candidate* best);
  Found FindBetter(const ProcessId* only_from, Candidate* best) {
    if (per_sender_) return FindHigher(only_from, best);
    // In a sole lane a message is overtaken by none of its own priority.
    if (lanes_.size() == 1 && (lanes_[0]->reader().rings_in_use() & Above(best->priority)) == 0) {
      return Found::kNothingBetter;
    }
    return Find(only_from, best);
  }
  // Only a higher priority goes before what the lanes have in turn.
  Found FindHigher(const ProcessId* only_from, Candidate* best) {
    const uint32_t higher = Above(best->priority);
    for (const std::shared_ptr<IncomingCells>& lane : lanes_) {
      if (ABSL_PREDICT_FALSE((lane->reader().rings_in_use() & higher) != 0)) {
        return FindInTurn(only_from, best);
      }
    }
    return Found::kNothingBetter;
  }
  Claimed Claim(const Candidate& best, Message* message);
  bool TakeEnd(const ProcessId*, Message*) { return false; }
  Taken TakeNothing(const ProcessId*, Message*) { return Taken::kNothing; }
  const IncomingLane& lane(size_t index) const { return *lanes_[index]; }
  bool gone() const { return attachment_ != nullptr && attachment_->gone(); }
  // How often the candidate was handed out before; one that was overtaken while it was away counts
  // as handed out.
  uint32_t AttemptsOf(const Candidate& best) const;
  // Whether a claim may have come beside that of an earlier message, so that it is to be looked at
  // again; see CellChoice.
  bool MayBeHeldBack(const CellReader& reader) const {
    return choice_.hold_order && reader.expires();
  }
  // Reads the table, if it has changed and messages are assigned by it.
  void LearnReceivers(const ControlPage& control) {
    if (ABSL_PREDICT_FALSE(choice_.by != CellChoice::By::kNothing)) {
      ReceiverTable::Of(control).Read(&choice_.version, &choice_.receivers);
    }
  }
  // Something is not held any more that this receiver has held.
  void EndHold() {
    if (gate_ != nullptr) RingGate(gate_.get());
  }
  void DropCorrupt(size_t index);

  const uint32_t number_;
  const Attachment* const attachment_;
  uint32_t max_attempts_ = 0;
  uint32_t priorities_ = ~uint32_t{0};  // of which it takes, as bits
  CellChoice choice_;
  std::shared_ptr<GateWord> gate_;        // with hold_order
  bool per_sender_ = false;               // MailboxOrder::kPerSender
  size_t turn_ = 0;                       // then: the lane that a look begins with
  uint32_t right_ = 0;                    // 0: nobody needs one
  const ControlPage* control_ = nullptr;  // with right_, in Take
  std::vector<std::shared_ptr<IncomingCells>> lanes_;
  Lease* lease_out_ = nullptr;  // where Claim leaves the lease, in TakeLease
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_MAILBOX_QUEUE_H_
