#ifndef MAILRAIL_EXAMPLES_WORD_COUNT_COUNT_H_
#define MAILRAIL_EXAMPLES_WORD_COUNT_COUNT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "examples/word_count/word_count.pb.h"

namespace mailrail::examples {

// Counts as `wc` does in the C locale. `text` begins and ends between two words.
Counts CountText(absl::string_view text);

void Add(const Counts& counts, Counts* total);

// What `cat FILES | wc` says in the C locale.
struct WcCounts {
  uint64_t lines = 0;
  uint64_t words = 0;
  uint64_t bytes = 0;
  // Whether this version of `wc` counts words without a printable character; up to coreutils 9.4
  // it does not.
  bool counts_unprintable = false;
};
absl::StatusOr<WcCounts> RunWc(const std::vector<std::string>& files);

}  // namespace mailrail::examples

#endif  // MAILRAIL_EXAMPLES_WORD_COUNT_COUNT_H_
