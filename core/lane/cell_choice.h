#ifndef MAILRAIL_CORE_LANE_CELL_CHOICE_H_
#define MAILRAIL_CORE_LANE_CELL_CHOICE_H_

#include <cstdint>
#include <vector>

namespace mailrail {

// What a receiver passes over, of the messages in a lane that nobody holds
// (MailboxOptions::hold_order and ::distribution). Owned by the receiver's
// queue, for the readers of all its lanes. Thread-compatible.
//
// hold_order: a message, while an earlier one of its lane and priority is held, that is LEASED,
// RETURNED, or DELAYED since it was given back. (Not while one was sent for later, and is not due:
// it has never been received.) A reader first finds its candidate, and then looks at the
// states of all earlier ones but those that it has seen settled. What it cannot find there:
//
//   - An earlier message that nobody has claimed yet: it would have been the candidate itself.
//   - One that is claimed between the look and the claim of the candidate. All earlier ones had
//     been claimed when the candidate was found, and none of them was held when they were looked
//     at: so they are TAKEN, DONE or CONDEMNED, which nobody takes back, and their slots are used
//     again for later messages alone. TAKEN is no hold: it is received, and only its room is held.
//   - Except for one that was sent for later, and is due and claimed just then. Only a lane that
//     expires() has such messages; there a receiver looks once more when it has the claim, and
//     gives the message back, unseen, if an earlier one is held by now. Whichever of the two claims
//     came second sees the other's, or is of the earlier message, which nothing later holds back.
//
// Who ends a hold wakes those that may have passed over what it held back.
// By key, this is said of messages of one key (Slot::kKeyShift).
//
// by: a message that is another receiver's. Whose it is follows from the message and the receivers
// alone, so all receivers that know the same ones agree; those that do not may both take it for
// theirs, or neither, until they do. When the receivers change, readers go back to the first
// message that they have passed over.
struct CellChoice {
  enum class By { kNothing, kPosition, kKey };

  bool hold_order = false;
  By by = By::kNothing;
  uint32_t self = 0;                // the number of this receiver
  std::vector<uint32_t> receivers;  // those of all, in an order that all know
  uint32_t version = 0;             // of `receivers`: changes with them

  // Whether there is anything to pass over.
  bool active() const { return hold_order || by != By::kNothing; }

  // Whether the message at `position` of a lane, with these flags of its slot, is this receiver's.
  bool IsMine(uint64_t lane, uint64_t position, uint32_t flags) const;
};

}  // namespace mailrail

#endif  // MAILRAIL_CORE_LANE_CELL_CHOICE_H_
