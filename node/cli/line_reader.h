#ifndef MAILRAIL_NODE_CLI_LINE_READER_H_
#define MAILRAIL_NODE_CLI_LINE_READER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mailrail::cli {

// Reads lines from a descriptor, as many at a time as are there. One thread at a time. The
// descriptor outlives it.
class LineReader {
 public:
  LineReader(int fd, size_t max_line_bytes) : fd_(fd), max_line_bytes_(max_line_bytes) {}

  // Waits for at least one whole line, and returns all that came with it, without their newlines.
  // The last line needs none. Empty at the end of the input. The views hold until the next call.
  // kInvalidArgument for a line that is too long, after the lines before it.
  absl::StatusOr<std::vector<absl::string_view>> Next();

 private:
  // Reads once to the end of the buffer; kUnavailable when reading fails.
  absl::Status Fill();

  const int fd_;
  const size_t max_line_bytes_;
  std::string buffer_;
  size_t begin_ = 0;    // of what has not been returned
  size_t end_ = 0;      // of what was read
  size_t scanned_ = 0;  // no newline between begin_ and here
  bool at_end_ = false;
};

// Everything that can be read from `fd`. kInvalidArgument beyond `max_bytes`, kUnavailable when
// reading fails.
absl::StatusOr<std::string> ReadAll(int fd, size_t max_bytes);

}  // namespace mailrail::cli

#endif  // MAILRAIL_NODE_CLI_LINE_READER_H_
