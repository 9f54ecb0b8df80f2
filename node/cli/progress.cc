#include "node/cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace mailrail::cli {
namespace {

constexpr absl::Duration kShowEvery = absl::Milliseconds(250);

}  // namespace

Progress::Progress()
    : on_terminal_(isatty(STDERR_FILENO) == 1), begin_(absl::Now()), shown_(begin_) {}

void Progress::Show() {
  if (!on_terminal_) return;
  const absl::Time now = absl::Now();
  if (now - shown_ < kShowEvery) return;
  shown_ = now;
  fprintf(stderr, "\r%s\033[K", FormatRate(messages_, bytes_, now - begin_).c_str());
}

void Progress::Finish() {
  if (!on_terminal_) return;
  fprintf(stderr, "\r%s\033[K\n", FormatRate(messages_, bytes_, absl::Now() - begin_).c_str());
}

std::string FormatRate(uint64_t messages, uint64_t bytes, absl::Duration time) {
  const double seconds = std::max(absl::ToDoubleSeconds(time), 1e-6);
  const double rate = static_cast<double>(bytes) / seconds / 1e6;
  if (messages == 0) return absl::StrFormat("%d bytes in %.1f s: %.2f MB/s", bytes, seconds, rate);
  return absl::StrFormat("%d messages, %d bytes in %.1f s: %.0f messages/s, %.2f MB/s", messages,
                         bytes, seconds, static_cast<double>(messages) / seconds, rate);
}

}  // namespace mailrail::cli
