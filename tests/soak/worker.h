// What the processes of a soak do: each is a fork of the driver, which has no thread and is not
// attached.
#ifndef MAILRAIL_TESTS_SOAK_WORKER_H_
#define MAILRAIL_TESTS_SOAK_WORKER_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/soak/history.h"

namespace mailrail::soak {

// How far a round is: told to all its workers in memory that they share.
enum class Stage : uint32_t { kRun, kSendersLeave, kReceiversLeave };

// A mailbox of the soak, and what it is called in events.
struct MailboxPlan {
  uint64_t id = 0;  // below kFirstKey
  std::string name;
  std::string address;  // as every node knows it
  bool leases = false;  // its receivers acknowledge by hand
};

// How long a lease is.
inline constexpr int64_t kLeaseNs = 250'000'000;

// A worker's orders.
struct Orders {
  std::string socket;  // of its agent
  uint64_t seed = 0;
  uint64_t first_value = 0;  // its messages have this number and those after it
  Journal* journal = nullptr;
  const std::atomic<Stage>* stage = nullptr;
};

// Sends to mailboxes, and to processes by the names that they have registered, in bursts; bodies of
// eight bytes to a MiB, at several priorities. Returns when senders leave.
void RunSender(const Orders& orders, const std::vector<MailboxPlan>& mailboxes,
               const std::vector<std::string>& names);

// Registers `name`, and receives from its inbox until receivers leave. Watches who sends to it.
void RunInboxReceiver(const Orders& orders, const std::string& name);

// Receives from `mailbox` until receivers leave. What it leases it acknowledges, or gives back,
// sometimes after the lease has ended.
void RunMailboxReceiver(const Orders& orders, const MailboxPlan& mailbox);

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_WORKER_H_
