#ifndef MAILRAIL_NODE_CLI_PROGRESS_H_
#define MAILRAIL_NODE_CLI_PROGRESS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace mailrail::cli {

// Counts messages, or bytes alone, and tells how many there were and how fast on standard error, if
// that is a terminal. Thread-compatible.
class Progress {
 public:
  Progress();

  void Add(size_t bytes) {
    ++messages_;
    bytes_ += bytes;
  }

  void AddBytes(size_t bytes) { bytes_ += bytes; }

  // Renews the line on the terminal, a few times a second at most.
  void Show();

  // Writes the last line.
  void Finish();

  uint64_t messages() const { return messages_; }

 private:
  const bool on_terminal_;
  const absl::Time begin_;
  absl::Time shown_;
  uint64_t messages_ = 0;
  uint64_t bytes_ = 0;
};

// "1234 messages, 56789 bytes in 1.2 s: 1028 messages/s, 0.05 MB/s"; without messages: "56789 bytes
// in 1.2 s: 0.05 MB/s".
std::string FormatRate(uint64_t messages, uint64_t bytes, absl::Duration time);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_PROGRESS_H_
