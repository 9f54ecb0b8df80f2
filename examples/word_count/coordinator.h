#ifndef MAILRAIL_EXAMPLES_WORD_COUNT_COORDINATOR_H_
#define MAILRAIL_EXAMPLES_WORD_COUNT_COORDINATOR_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "examples/word_count/input.h"
#include "examples/word_count/word_count.pb.h"
#include "mailrail/mailrail.h"

namespace mailrail::examples {

// Has text counted by workers on any node: sends it in chunks to mailbox `chunks`, for which the
// workers compete, and receives what they counted in its inbox. Thread-compatible.
class Coordinator {
 public:
  struct Worker {
    ProcessId id;
    Sender sender;
    uint64_t chunks = 0;   // whose counts have come
    uint64_t counted = 0;  // chunks that are counted as far as is known; it may have said more
    uint64_t bytes = 0;
  };

  // `process` outlives this.
  explicit Coordinator(Process* process) : process_(process) {}

  // Fills the mailbox with chunks of `input`, waits until `workers` have joined, starts them
  // together, and half way asks each for its status. At the end it destroys the mailbox, which ends
  // the workers.
  absl::Status Count(const Input& input, size_t workers);

  const Counts& total() const { return total_; }
  absl::Duration elapsed() const { return elapsed_; }
  const std::map<std::string, Worker>& workers() const { return workers_; }

 private:
  absl::Status SendChunks(const Input& input, size_t workers);
  absl::Status StartWorkers(size_t count);
  absl::Status ReceiveReport(absl::Time deadline);
  absl::Status AddWorker(const ProcessId& id);
  absl::Status TellWorkers(absl::string_view message);
  void PrintStatus(const Worker& worker);
  void PrintProgress();

  Process* const process_;
  uint64_t input_bytes_ = 0;
  std::map<std::string, Worker> workers_;  // by node and ID, as a table shows them
  Counts total_;
  uint64_t sent_ = 0;     // chunks
  uint64_t counted_ = 0;  // chunks
  bool started_ = false;
  absl::Time started_at_;
  bool asked_ = false;
  absl::Time asked_at_;
  size_t answers_ = 0;
  absl::Time printed_at_;
  absl::Duration elapsed_;
};

}  // namespace mailrail::examples

#endif  // MAILRAIL_EXAMPLES_WORD_COUNT_COORDINATOR_H_
