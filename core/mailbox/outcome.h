#ifndef MAILRAIL_CORE_MAILBOX_OUTCOME_H_
#define MAILRAIL_CORE_MAILBOX_OUTCOME_H_

#include "core/lane/cell_writer.h"
#include "mailrail/sender.h"

namespace mailrail {

// What a cell says of its message's end, as a receipt says it.
inline Receipt::Outcome OutcomeOf(const CellEnd& end) {
  if (end.owner <= kMaxNumber) return Receipt::Outcome::kReceived;
  switch (static_cast<Condemned>(end.owner)) {
    case Condemned::kAttempts:
      return Receipt::Outcome::kAttempts;
    case Condemned::kExpired:
      return Receipt::Outcome::kExpired;
    case Condemned::kDropped:
      return Receipt::Outcome::kDropped;
    case Condemned::kPurged:
      return Receipt::Outcome::kPurged;
  }
  return Receipt::Outcome::kUnknown;
}

}  // namespace mailrail

#endif  // MAILRAIL_CORE_MAILBOX_OUTCOME_H_
