// The soak: senders and receivers on two nodes, under kills and stops of all of them.
#ifndef MAILRAIL_TESTS_SOAK_SOAK_H_
#define MAILRAIL_TESTS_SOAK_SOAK_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/kill/account.h"
#include "tests/soak/checker.h"
#include "tests/soak/history.h"
#include "tests/soak/nodes.h"
#include "tests/soak/schedule.h"
#include "tests/soak/worker.h"
#include "tests/support/cluster.h"

namespace mailrail::soak {

struct Counts {
  uint64_t rounds = 0;
  uint64_t told = 0;
  uint64_t received = 0;
  uint64_t redelivered = 0;
  uint64_t gone_in_inboxes = 0;
  uint64_t gone_taken = 0;
  uint64_t ends_told = 0;
  uint64_t leased = 0;
  uint64_t sender_kills = 0;
  uint64_t receiver_kills = 0;
  uint64_t agent_kills = 0;
  uint64_t keeper_kills = 0;
  uint64_t stops = 0;
  uint64_t violations = 0;

  uint64_t kills() const { return sender_kills + receiver_kills + agent_kills + keeper_kills; }
};

// Runs in rounds, so that its history stays small. In a round all workers run, and are struck as
// the schedule says, and another is started in the place of each that was killed; at its end
// everything is drained, all leave, the round's history is checked, and what agents and keepers
// hold is compared with what they held before. Agents and mailboxes live through all rounds.
//
// One thread at a time; in a process without threads.
class Soak {
 public:
  // `cluster` has the nodes alpha and beta, and outlives this.
  Soak(Cluster* cluster, uint64_t seed);
  ~Soak();

  // One round. What is wrong is reported to the test, and counted.
  void RunRound();

  const Counts& counts() const { return counts_; }

 private:
  enum class Role { kSender, kInboxReceiver, kMailboxReceiver };
  // A place for a worker.
  struct Slot {
    Role role;
    int node;
    std::string name;     // of an inbox receiver, and in reports
    size_t mailbox = 0;   // of a mailbox receiver
    uint64_t starts = 0;  // how many workers it has had
    // The one that it has.
    pid_t pid = -1;
    size_t life = 0;
    int64_t stopped_until_ns = 0;  // 0: it is not stopped
  };

  void CreateMailboxes();
  void StartWorker(Slot* slot);
  [[noreturn]] void BeWorker(const Slot& slot, Journal* journal, uint64_t first_value);
  void StrikeWorker(const Strike& strike);
  // Waits until a worker begins or ends a call, or does not for a while.
  void AwaitCall(const Slot& slot);
  void StrikeNode(const Strike& strike);
  // Workers and nodes that have been stopped for long enough go on.
  void Continue();
  // Waits until all of a role have left; kills who does not.
  void AwaitLeaving(bool senders);
  // Waits until no message is missing, and no end is untold, and all that was sent to mailboxes is
  // received. REQUIRES: all senders have left.
  void Drain();
  History ReadHistory();
  void CheckRound();
  void CheckNothingIsLeft();
  void Report(const std::string& violation);
  void Note(const std::string& what);

  Cluster* const cluster_;
  const uint64_t seed_;
  Nodes nodes_;
  std::vector<MailboxPlan> mailboxes_;
  std::vector<Slot> slots_;
  Schedule worker_strikes_;
  Schedule node_strikes_;
  Strike next_node_strike_;
  int64_t next_node_strike_ns_ = 0;
  std::atomic<Stage>* const stage_;  // in memory that workers share
  // Of this round.
  std::deque<Journal> journals_;
  std::vector<Life> lives_;
  std::vector<Outage> outages_;
  std::vector<std::string> notes_;  // who was struck when
  bool has_before_ = false;
  Account before_;
  Counts counts_;
};

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_SOAK_H_
