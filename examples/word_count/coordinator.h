#ifndef MAILRAIL_EXAMPLES_WORD_COUNT_COORDINATOR_H_
#define MAILRAIL_EXAMPLES_WORD_COUNT_COORDINATOR_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "examples/word_count/input.h"
#include "examples/word_count/word_count.pb.h"
#include "mailrail/mailrail.h"

namespace mailrail::examples {

// Has text counted by workers on any node. Sends it in chunks to mailbox `chunks`, for which the
// workers compete, and gets their counts in its inbox. Thread-compatible.
class Coordinator {
 public:
  struct Worker {
    ProcessId id;
    Sender sender;
    uint64_t chunks = 0;   // of which the count has come
    uint64_t counted = 0;  // as far as we know: `chunks`, or more, if the worker said so
    uint64_t bytes = 0;
  };

  explicit Coordinator(Process* process) : process_(process) {}

  // Waits until `workers` have joined, has `input` counted, and destroys the mailbox, which ends
  // the workers. Half way it asks each for its status.
  absl::Status Count(const Input& input, size_t workers);

  const Counts& total() const { return total_; }
  absl::Duration elapsed() const { return elapsed_; }
  const std::map<std::string, Worker>& workers() const { return workers_; }

 private:
  absl::Status WaitForWorkers(size_t count);
  absl::Status SendChunks(const Input& input);
  absl::Status ReceiveReport(absl::Time deadline);
  absl::Status AskForStatus();
  void PrintStatus(const Worker& worker);
  void PrintProgress(uint64_t bytes);

  Process* const process_;
  std::map<std::string, Worker> workers_;  // by ID
  Counts total_;
  uint64_t chunks_sent_ = 0;
  uint64_t chunks_counted_ = 0;
  absl::Time asked_;
  size_t answers_ = 0;
  absl::Duration elapsed_;
};

}  // namespace mailrail::examples

#endif  // MAILRAIL_EXAMPLES_WORD_COUNT_COORDINATOR_H_
