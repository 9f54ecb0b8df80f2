#ifndef MAILRAIL_CORE_PROCESS_PROCESS_LEASE_H_
#define MAILRAIL_CORE_PROCESS_PROCESS_LEASE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/fork.h"
#include "core/mailbox/mailbox_queue.h"
#include "core/message/message_extras.h"
#include "core/process/process_impl.h"

namespace mailrail::internal {

// A message that this process has leased from a mailbox. May outlive its receiver, and its process,
// with which the lease ends.
class ProcessLease final : public HeldLease {
 public:
  // `destination_id`, `memory`: of the mailbox.
  ProcessLease(const std::shared_ptr<ProcessImpl>& process, uint64_t destination_id,
               std::shared_ptr<const ReceiverMemory> memory, const Lease& lease);
  // Gives it back, unless it is settled.
  ~ProcessLease() override;

  absl::Status Acknowledge() override;
  absl::Status GiveBack(absl::Duration delay) override;
  absl::Status Extend(absl::Duration time, absl::Time deadline) override;

 private:
  // The process, or why nothing can be said of it any more.
  absl::StatusOr<std::shared_ptr<ProcessImpl>> UsableProcess() const;
  CellReader& reader() const { return lane_->reader(); }
  // Has whoever waits for it look: other receivers, or, for a mailbox of another node, the agent.
  void Ring() const;
  // Of a mailbox of another node all is the agent's, who tells its home.
  bool remote() const { return memory_->carrier_gate.valid(); }

  const uint32_t fork_generation_ = ForkGeneration();
  const std::weak_ptr<ProcessImpl> process_;
  const uint32_t number_;  // its own
  const uint64_t destination_id_;
  const std::shared_ptr<const ReceiverMemory> memory_;
  const std::shared_ptr<IncomingCells> lane_;
  const int priority_;
  const uint32_t slot_;
  const uint64_t sequence_;
  const uint32_t attempts_;
  bool settled_ = false;
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_PROCESS_LEASE_H_
