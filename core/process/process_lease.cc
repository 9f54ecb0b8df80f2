#include "core/process/process_lease.h"

#include <algorithm>
#include <utility>

#include "core/base/coarse_clock.h"
#include "core/shm/bell.h"

namespace mailrail::internal {
namespace {

absl::Status LeaseHasEnded() {
  return absl::FailedPreconditionError(
      "the lease of this message has ended: it is another's, or will be");
}

}  // namespace

ProcessLease::ProcessLease(const std::shared_ptr<ProcessImpl>& process, uint64_t destination_id,
                           std::shared_ptr<const ReceiverMemory> memory, const Lease& lease)
    : process_(process),
      number_(process->number()),
      destination_id_(destination_id),
      memory_(std::move(memory)),
      lane_(lease.lane),
      priority_(lease.priority),
      slot_(lease.slot),
      sequence_(lease.sequence),
      attempts_(lease.attempts_seen) {}

ProcessLease::~ProcessLease() {
  if (!settled_) GiveBack(absl::ZeroDuration()).IgnoreError();
}

absl::StatusOr<std::shared_ptr<ProcessImpl>> ProcessLease::UsableProcess() const {
  // In a forked child it is the parent's, which has the memory.
  if (fork_generation_ != ForkGeneration()) {
    return absl::FailedPreconditionError(
        "this message is leased by the program that forked; the child has no leases");
  }
  std::shared_ptr<ProcessImpl> process = process_.lock();
  if (process == nullptr) {
    return absl::AbortedError("detached: the Process that had leased this message is gone");
  }
  if (process->gone()) return process->Check();
  return process;
}

void ProcessLease::Ring() const {
  RingGate(
      reinterpret_cast<GateWord*>(remote() ? memory_->carrier_gate.data() : memory_->gate.data()));
}

absl::Status ProcessLease::Acknowledge() {
  settled_ = true;
  if (absl::Status status = UsableProcess().status(); !status.ok()) return status;
  if (!reader().Take(priority_, slot_, sequence_, number_, /*keep_room=*/false, attempts_)) {
    return LeaseHasEnded();
  }
  // Its carrier is to know; or those that it has held up.
  if (remote() || reader().choice() != nullptr) Ring();
  return absl::OkStatus();
}

absl::Status ProcessLease::GiveBack(absl::Duration delay) {
  settled_ = true;
  const absl::StatusOr<std::shared_ptr<ProcessImpl>> process = UsableProcess();
  if (!process.ok()) return process.status();
  bool moved;
  if (delay == absl::ZeroDuration() && !remote()) {
    moved = reader().Return(priority_, slot_, sequence_, number_, /*attempted=*/true, attempts_);
  } else {
    moved = reader().ReturnLater(priority_, slot_, sequence_, number_,
                                 DueTick::After(MonotonicTime(), absl::ToInt64Nanoseconds(delay)),
                                 attempts_);
  }
  if (!moved) return LeaseHasEnded();
  Ring();
  if (remote()) return absl::OkStatus();
  control::Request look;
  look.set_look_at_mailbox(destination_id_);
  (*process)->connection().Tell(look);
  return absl::OkStatus();
}

absl::Status ProcessLease::Extend(absl::Duration time, absl::Time deadline) {
  const absl::StatusOr<std::shared_ptr<ProcessImpl>> process = UsableProcess();
  if (!process.ok()) return process.status();
  if (time < absl::ZeroDuration()) return absl::InvalidArgumentError("a lease ends in the future");
  control::Request request;
  control::ExtendLease* const extend = request.mutable_extend_lease();
  extend->set_destination_id(destination_id_);
  extend->set_lane_id(lane_->id());
  extend->set_priority(static_cast<uint32_t>(priority_));
  extend->set_slot(slot_);
  extend->set_sequence(sequence_);
  extend->set_time_ms(static_cast<uint64_t>(
      absl::ToInt64Milliseconds(std::min(time, absl::Duration(absl::Hours(24 * 365))))));
  return (*process)->Call(std::move(request), deadline).status();
}

}  // namespace mailrail::internal
