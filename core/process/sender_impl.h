#ifndef MAILRAIL_CORE_PROCESS_SENDER_IMPL_H_
#define MAILRAIL_CORE_PROCESS_SENDER_IMPL_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "core/mailbox/outgoing_lane.h"
#include "core/process/process_impl.h"
#include "core/process/receipts.h"
#include "mailrail/sender.h"

namespace mailrail::internal {

// Of a request or an answer.
struct CallOptions {
  uint64_t call = 0;  // as in Prefix
  // Not 0: it expires then at the latest, by MonotonicTime.
  int64_t expires_ns = 0;
};

class SenderImpl;

// As Sender::Send. `sender`: for a receipt.
absl::Status SendWithOptions(ProcessImpl* process, OutgoingLane* lane, absl::string_view body,
                             const SendOptions& options, const CallOptions& call,
                             absl::Time deadline, const SenderImpl* sender = nullptr);

// Behind Sender: a handle on a lane that other handles of the process may share.
class SenderImpl {
 public:
  SenderImpl(std::shared_ptr<ProcessImpl> owner, std::shared_ptr<OutgoingLane> its_lane)
      : process(std::move(owner)), lane(std::move(its_lane)) {
    lane->AddHandle();
  }
  // In a forked child whoever held the lane's lock does not exist.
  ~SenderImpl() {
    if (!process->CheckUsable().ok()) return;
    process->receipts().ForgetAllOf(this);
    lane->RemoveHandle();
    process->LetGo(std::move(lane));
  }
  SenderImpl(const SenderImpl&) = delete;
  SenderImpl& operator=(const SenderImpl&) = delete;

  const std::shared_ptr<ProcessImpl> process;
  std::shared_ptr<OutgoingLane> lane;
};

class SenderAccess {
 public:
  static const SenderImpl& Impl(const Sender& sender) { return *sender.impl_; }
};

// Behind ClaimedMessage: room in shared memory, or, for what stands in the lane itself, a buffer.
class ClaimState {
 public:
  ClaimState(std::shared_ptr<ProcessImpl> owner, std::shared_ptr<OutgoingLane> its_lane)
      : process(std::move(owner)), lane(std::move(its_lane)) {
    lane->AddHandle();
  }
  ~ClaimState() {
    if (!process->CheckUsable().ok()) return;
    if (room.has_value()) lane->Free(*room);
    if (receipt != 0) process->receipts().Withdraw(receipt);
    lane->RemoveHandle();
    process->LetGo(std::move(lane));
  }
  ClaimState(const ClaimState&) = delete;
  ClaimState& operator=(const ClaimState&) = delete;

  // Of the body, behind the prefix.
  char* data() const { return room.has_value() ? room->data + prefix.size() : buffer.get(); }

  const std::shared_ptr<ProcessImpl> process;
  std::shared_ptr<OutgoingLane> lane;
  int priority = 0;
  std::string prefix;
  CellOptions cell;
  uint64_t receipt = 0;
  size_t size = 0;
  absl::optional<SlabRoom> room;
  std::unique_ptr<char[]> buffer;
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_SENDER_IMPL_H_
