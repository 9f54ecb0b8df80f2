// What the targets of receivers have in common: a sound sender and one that is not.
#ifndef MAILRAIL_TESTS_FUZZ_TWO_SENDERS_H_
#define MAILRAIL_TESTS_FUZZ_TWO_SENDERS_H_

#include <deque>
#include <string>

#include "absl/strings/string_view.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/mailbox/receive_queue.h"
#include "mailrail/message.h"
#include "mailrail/process_id.h"
#include "tests/fuzz/input.h"

namespace mailrail {

// No input names the sound one, in a prefix that it makes up.
inline const ProcessId kSound("the-node-of-the-sound-sender", 4711, 4711);
inline const ProcessId kHostile("alpha", 666, 2);

// Sends what the input says, if there is room.
void SendHostile(Input* input, OutgoingLane* lane);

// After a look that has found the hostile lane not to be well-formed.
void CheckClosed(const ReceiveQueue& queue);

// The messages that a receiver holds for a while.
class HeldMessages {
 public:
  // One more; with many, the first is let go.
  void Hold(Message message);
  // The first is let go: one of the sound sender must be what it was.
  void LetGo();
  bool empty() const { return held_.empty(); }
  void Clear() { held_.clear(); }

 private:
  struct Held {
    Message message;
    std::string body;
  };
  std::deque<Held> held_;
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_FUZZ_TWO_SENDERS_H_
