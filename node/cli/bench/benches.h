// The measurements of `mailrail bench`, each through the public interface alone.
#ifndef MAILRAIL_NODE_CLI_BENCH_BENCHES_H_
#define MAILRAIL_NODE_CLI_BENCH_BENCHES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "mailrail/process.h"
#include "node/cli/bench/report.h"

namespace mailrail::bench {

// Where the far side of `remote` is found: the name that `serve` registers.
inline constexpr char kServerName[] = "bench";

struct BenchArguments {
  AttachOptions attach;
  uint64_t size = 64;
  double seconds = 3;
  // Without one: kSpin where each process has a processor of its own, else kAdaptive.
  absl::optional<WaitMode> mode;
  bool in_place = false;
  uint64_t batch = 1;
  uint64_t senders = 1;
  uint64_t receivers = 1;
  // Of mailbox: what it is, how it is received from, how many keys messages have (0: none), and
  // whether senders ask for receipts, and take them.
  MailboxOptions mailbox;
  Acknowledgement acknowledgement = Acknowledgement::kAutomatic;
  uint64_t keys = 0;
  bool receipts = false;
  uint64_t bulk_size = 1024;
  std::string node;                // of remote
  std::string name = kServerName;  // of remote and serve
};

// A direct message goes to another process and comes back.
absl::StatusOr<Report> RunLatency(const BenchArguments& arguments);

// The same with both asleep while they wait.
absl::StatusOr<Report> RunWakeup(const BenchArguments& arguments);

// One sender, one receiver: direct.
absl::StatusOr<Report> RunThroughput(const BenchArguments& arguments);

// Several senders to one inbox.
absl::StatusOr<Report> RunFanin(const BenchArguments& arguments);

// Several senders, several receivers: a mailbox.
absl::StatusOr<Report> RunMailbox(const BenchArguments& arguments);

// The round trip of an urgent message whose sender's bulk has used up its room, and of one without.
absl::StatusOr<Report> RunPriority(const BenchArguments& arguments);

// Round trip, flood, and urgent behind bulk, to a process on another node that does RunServe.
absl::StatusOr<Report> RunRemote(const BenchArguments& arguments);

// A mutex, a semaphore, a barrier: one process alone, and two that want the same.
absl::StatusOr<Report> RunLock(const BenchArguments& arguments);
absl::StatusOr<Report> RunSemaphore(const BenchArguments& arguments);
absl::StatusOr<Report> RunBarrier(const BenchArguments& arguments);

// Bytes through a pipe, from one process to another.
absl::StatusOr<Report> RunPipe(const BenchArguments& arguments);

// A shared value: read while nobody writes, and while its writer does.
absl::StatusOr<Report> RunRegion(const BenchArguments& arguments);

// Answers RunRemote of other nodes, one at a time; returns when something is wrong.
absl::Status RunServe(const BenchArguments& arguments);

}  // namespace mailrail::bench

#endif  // MAILRAIL_NODE_CLI_BENCH_BENCHES_H_
