#ifndef MAILRAIL_CORE_LANE_CELL_READER_H_
#define MAILRAIL_CORE_LANE_CELL_READER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/optional.h"
#include "core/lane/cell_choice.h"
#include "core/lane/cell_layout.h"
#include "core/lane/record.h"

namespace mailrail {

// A message that a receiver may claim.
struct CellHead {
  uint64_t position = 0;
  uint32_t slot = 0;
  uint64_t stamp = 0;
  uint64_t seen = 0;      // the state that a claim exchanges
  uint32_t attempts = 0;  // how often it was handed out before
  bool returned = false;
};

// One receiver's end of a mailbox lane; its place in the lane is private to it. What it reads is
// copied once and checked.
//
// Thread-compatible, but for what becomes of a claimed message (Take, Done, Return), which is
// thread-safe. `data` (read-only) and `state` are mappings that outlive it.
class CellReader {
 public:
  CellReader(const CellGeometry& geometry, const char* data, char* state);

  // How often a message is handed out at most before it is condemned; 0: without limit. Before the
  // first call of all others.
  void set_max_attempts(uint32_t max_attempts) { max_attempts_ = max_attempts; }

  // Has it pass over what `choice`, which outlives it, says; `lane` is this one's id. Likewise
  // before the first call.
  void set_choice(const CellChoice* choice, uint64_t lane) {
    choice_ = choice;
    lane_ = lane;
  }
  const CellChoice* choice() const { return choice_; }

  // The priorities that the sender has used so far, as bits.
  uint32_t rings_in_use() const { return header_->rings_in_use.load(std::memory_order_acquire); }

  // The first message at this priority that nobody holds: returned ones before those that were
  // never handed out. Not one that is to be passed over.
  Look Peek(int priority, CellHead* head);

  // Whether an earlier message of this priority is held, so that this one is not to be handed out
  // yet: CellChoice::hold_order.
  bool HeldBack(int priority, const CellHead& head);

  // Claims it for `owner`; false when another receiver was quicker: look again.
  bool Claim(int priority, const CellHead& head, uint32_t owner);

  // A small body without a prefix, of a message that was never handed out, in one step: copies it
  // to `to`, which has room for Slot::kInlineBytes, and then takes the message for `owner`. The
  // length, or nothing when it is not such a message, or another receiver was quicker.
  absl::optional<uint32_t> TakeSmall(int priority, const CellHead& head, uint32_t owner, char* to);

  // Whether the message after a claimed one was claimed before. Then a message that was returned
  // unseen is not the first of the two to be delivered. No claim of the other's that follows ours
  // can change that, since returned messages go first.
  bool Overtaken(int priority, const CellHead& head) const;

  // What a claimed message is. kCorrupt when it is not well-formed.
  Look Read(int priority, const CellHead& head, Record* record) const;

  // A claim is that of `owner` on the message at `position`; where a claimant may lose one and have
  // another on the same message, also that with so many attempts before it.
  static constexpr uint32_t kAnyAttempts = ~uint32_t{0};

  // The claimed message was received: from now on it is not handed out again. `keep_room`: a view
  // holds its room until Done. False when the claim was taken away meanwhile.
  bool Take(int priority, uint32_t slot, uint64_t position, uint32_t owner, bool keep_room,
            uint32_t attempts = kAnyAttempts);

  // Gives the room of a taken message back.
  void Done(int priority, uint32_t slot, uint64_t position);

  // Gives a claimed message back to its place; `attempted`: it may have been seen, and counts one
  // attempt more, and if that was the last one it is condemned. False when the claim was taken away
  // meanwhile.
  bool Return(int priority, uint32_t slot, uint64_t position, uint32_t owner, bool attempted = true,
              uint32_t attempts = kAnyAttempts);
  // The same, one attempt more, for later: until MakeDue nobody can claim it.
  bool ReturnLater(int priority, uint32_t slot, uint64_t position, uint32_t owner,
                   uint32_t due_tick, uint32_t attempts = kAnyAttempts);

  // Takes a claimed message out: the agent has it from now on. False as above.
  bool Condemn(int priority, uint32_t slot, uint64_t position, uint32_t owner, Condemned why);

  // --- The agent's.

  // Whether messages of this lane may expire.
  bool expires() const { return header_->expires.load(std::memory_order_acquire) != 0; }

  // A message that is leased, delayed or condemned.
  struct Kept {
    int priority = 0;
    uint32_t slot = 0;
    uint64_t position = 0;
    CellState state;
  };
  void ForEachKept(absl::FunctionRef<void(const Kept&)> each) const;
  // The messages that nobody holds, and that are not delayed.
  void ForEachWaiting(
      absl::FunctionRef<void(int priority, const CellHead& head, const Record& record)> each) const;
  // Takes one of them out; false when it has changed since.
  bool CondemnWaiting(int priority, const CellHead& head, Condemned why);
  // The same, for nobody: it is done.
  bool PurgeWaiting(int priority, const CellHead& head);
  // Keeps one of them from the receivers, for later, as ReturnLater does; `kept` is then what it
  // has become. False when it has changed since.
  bool Withhold(int priority, const CellHead& head, uint32_t due_tick, Kept* kept);
  // Of what ForEachKept has shown; each is false when it has changed since.
  bool MakeDue(const Kept& kept);  // DELAYED: goes back to its place
  bool Discard(const Kept& kept);  // DELAYED or CONDEMNED: nobody gets it, its room is free
  // CONDEMNED (or any other): the message itself, as Read says.
  Look ReadKept(const Kept& kept, Record* record) const;

  // Takes the claims of `owner` away, who is gone: what it had claimed goes back to its place,
  // what it had taken is done. Returns how many went back.
  int ReleaseClaimsOf(uint32_t owner);
  // The same for every owner that `gone` is true for. Also makes every receiver look for returned
  // messages again, as one that died while it returned one could not.
  int ReleaseClaimsIf(const std::function<bool(uint32_t owner)>& gone);

  // The messages at this priority that `owner` has claimed and not taken.
  std::vector<CellHead> HeldBy(int priority, uint32_t owner) const;

  struct Counts {
    uint64_t waiting = 0;  // published, or returned, and held by nobody
    uint64_t leased = 0;
    uint64_t delayed = 0;
    uint64_t condemned = 0;
    uint64_t sent = 0;
    uint64_t dropped = 0;  // of those sent, by their sender, to make room; and what never was

    // How many are in the lane, whoever has them.
    uint64_t left() const { return waiting + leased + delayed + condemned; }
  };
  // A snapshot, for display.
  Counts Count() const;

 private:
  struct Queue {
    uint64_t next = 1;
    uint64_t returns_seen = 0;
    // With a choice:
    bool passed_returned = false;  // a returned message was passed over, and may be ours now
    uint64_t passed = 0;           // the first message passed over as another's; 0: none was
    uint32_t choice_version = 0;   // of the choice by which that was so
    uint64_t settled = 0;          // up to here nothing will be handed out any more
  };

  const SharedAtomic<uint64_t>* order(int priority) const;
  const Slot* slots(int priority) const;
  SharedAtomic<uint64_t>* states(int priority) const;
  // Fetches what the message some positions further on takes, if it is there.
  void FetchAhead(int priority, uint64_t position) const;
  bool FindReturned(int priority, CellHead* head);
  // Peek with a choice (cell_choice.cc).
  Look PeekChosen(int priority, CellHead* head);
  bool FindReturnedChosen(int priority, CellHead* head);
  // HeldBack, by a look at all states, where the order does not reach back far enough.
  bool HeldBackByAny(int priority, const CellHead& head);
  // Whether the message of this slot, which is open and earlier, holds `head` back.
  bool IsHeld(int priority, uint32_t slot, const CellState& state, const CellHead& head) const;
  // Who receives has changed: what was passed over may be ours.
  void GoBack(Queue* queue);
  bool NeverUsed(int priority, uint32_t slot, uint64_t state) const;
  // Changes the state of a slot from what it is for `owner` at `position`.
  struct Change {
    Phase from;
    Phase to;
    bool attempted = false;
    uint32_t new_owner = 0;            // to RETURNED, DELAYED (a DueTick), CONDEMNED (a Condemned)
    uint32_t attempts = kAnyAttempts;  // before
  };
  bool Move(int priority, uint32_t slot, uint64_t position, uint32_t owner, const Change& change);
  void RingSender();

  const CellGeometry geometry_;
  const char* const data_;
  char* const state_;
  const CellHeader* const header_;
  StateHeader* const state_header_;
  uint32_t max_attempts_ = 0;
  const CellChoice* choice_ = nullptr;
  uint64_t lane_ = 0;
  Queue queues_[kPriorityCount];
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_CELL_READER_H_
