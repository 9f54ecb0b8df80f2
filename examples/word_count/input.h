#ifndef MAILRAIL_EXAMPLES_WORD_COUNT_INPUT_H_
#define MAILRAIL_EXAMPLES_WORD_COUNT_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mailrail::examples {

// The text to count.
struct Input {
  std::vector<std::string> folders;
  std::vector<std::string> files;  // in the order in which they are read, again in each repetition
  uint64_t bytes = 0;              // of all files
  int repetitions = 1;
};

// Finds the text files (those without a zero byte at their start) under `folders`, or, if that is
// empty, under folders where a Debian machine has text. Takes them several times if they have less
// than `min_bytes`. kNotFound when there are none.
absl::StatusOr<Input> FindText(const std::vector<std::string>& folders, uint64_t min_bytes);

// Reads files one after the other, as `cat` does, and cuts them at white space. Thread-compatible.
class ChunkReader {
 public:
  // Chunks have up to `chunk_bytes`; one that would split a longer word has more.
  ChunkReader(const std::vector<std::string>& files, size_t chunk_bytes)
      : files_(files), chunk_bytes_(chunk_bytes) {}

  // The next chunk; empty at the end.
  absl::StatusOr<std::string> Next();

 private:
  const std::vector<std::string>& files_;
  const size_t chunk_bytes_;
  size_t next_file_ = 0;
  std::ifstream file_;
  std::string rest_;  // read, and part of the next chunk
};

}  // namespace mailrail::examples

#endif  // MAILRAIL_EXAMPLES_WORD_COUNT_INPUT_H_
