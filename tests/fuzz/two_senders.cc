#include "tests/fuzz/two_senders.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "tests/fuzz/lane_memory.h"

namespace mailrail {

void SendHostile(Input* input, OutgoingLane* lane) {
  const int priority = AnyPriority(input);
  const std::string body(input->Below(kTooManyBytes), 'h');
  const absl::string_view prefix = input->Bytes(input->Byte() >= 0xe0 ? 8 : 0);
  lane->Send(priority, {prefix, body}, absl::InfinitePast()).IgnoreError();
}

void CheckClosed(const ReceiveQueue& queue) {
  Promise(absl::IsDataLoss(queue.error()) &&
              absl::StrContains(queue.error().message(), kHostile.ToString()),
          "the error names the sender of the lane that was closed");
  Promise(!queue.HasLaneOf(kHostile) && queue.HasLaneOf(kSound),
          "the lane that is not well-formed is closed, and no other");
}

void HeldMessages::Hold(Message message) {
  std::string body(message.body());
  held_.push_back({std::move(message), std::move(body)});
  if (held_.size() > 6) LetGo();
}

void HeldMessages::LetGo() {
  const Held& held = held_.front();
  if (held.message.sender() == kSound) {
    Promise(held.message.body() == held.body, "a message that is held stays what it was");
  }
  held_.pop_front();
}

}  // namespace mailrail
