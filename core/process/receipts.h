#ifndef MAILRAIL_CORE_PROCESS_RECEIPTS_H_
#define MAILRAIL_CORE_PROCESS_RECEIPTS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/mailbox/outgoing_lane.h"
#include "mailrail/process_id.h"
#include "mailrail/sender.h"
#include "proto/agent.pb.h"

namespace mailrail::internal {

class ProcessImpl;

// The receipts that the senders of a process wait for. Each message that is sent with one has a
// number, by which its end is told: by its cell, where the mailbox is of this node, or else by the
// agent, whom its home's agent tells. Thread-safe.
class Receipts {
 public:
  // Whose receipts: a handle.
  using Asker = const void*;

  // `process` outlives it.
  explicit Receipts(ProcessImpl* process) : process_(process) {}

  // The number for a message that is about to be sent.
  uint64_t Ask(Asker asker, uint64_t receipt);
  // It was not sent.
  void Withdraw(uint64_t number);
  // The handle is no more.
  void ForgetAllOf(Asker asker);

  // As Sender::NextReceipt.
  absl::StatusOr<Receipt> Next(Asker asker, OutgoingLane* lane, absl::Time deadline);

  // What the agent tells of messages to mailboxes of other nodes.
  void OnNotice(const control::Receipts& receipts);

 private:
  struct Pending {
    Asker asker;
    uint64_t receipt;
  };
  struct Ready {
    Receipt receipt;
    uint32_t owner = 0;  // with kReceived, unless receipt.receiver is known
  };
  struct Book {
    size_t pending = 0;
    std::deque<Ready> ready;
  };

  // Takes what has ended in this lane.
  void Collect(OutgoingLane* lane) ABSL_LOCKS_EXCLUDED(mutex_);
  void Settle(uint64_t number, Ready ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Nothing more will be told of what this handle waits for.
  void GiveUp(Asker asker) ABSL_LOCKS_EXCLUDED(mutex_);
  // The first that is ready; nothing when there is none. kNotFound when none will be.
  absl::StatusOr<absl::optional<Ready>> Take(Asker asker) ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasReady(Asker asker) ABSL_LOCKS_EXCLUDED(mutex_);
  // With what is said only when it is asked for.
  Receipt Complete(Ready ready, const OutgoingLane& lane);
  // Waits until there may be something new.
  void Wait(Asker asker, OutgoingLane* lane, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  // Who has, or had, this number; an empty id when nobody knows.
  ProcessId NameOf(uint32_t number, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  ProcessImpl* const process_;
  absl::Mutex mutex_;
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<uint64_t, Pending> pending_ ABSL_GUARDED_BY(mutex_);
  std::map<Asker, Book> books_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint32_t, ProcessId> names_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail::internal

#endif  // MAILRAIL_CORE_PROCESS_RECEIPTS_H_
