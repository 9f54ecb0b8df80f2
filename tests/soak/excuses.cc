#include "tests/soak/excuses.h"

#include <cstddef>
#include <optional>

namespace mailrail::soak {
namespace {

bool IsOpenIn(const OpenReceive& receive, const Window& window) {
  return receive.call < window.end && receive.died > window.begin;
}

bool Fits(const std::vector<OpenReceive>& receives, size_t receive, const Window& window) {
  if (IsOpenIn(receives[receive], window)) return true;
  for (size_t other = 0; other < receives.size(); ++other) {
    if (other != receive && IsOpenIn(receives[other], window) &&
        receives[other].struck < receives[receive].died) {
      return true;
    }
  }
  return false;
}

// Pairs by augmenting paths.
class Matching {
 public:
  Matching(const std::vector<Window>& windows, const std::vector<OpenReceive>& receives)
      : windows_(windows), receives_(receives), window_of_(receives.size()) {}

  bool Place(size_t window, std::vector<bool>* seen) {
    for (size_t receive = 0; receive < receives_.size(); ++receive) {
      if ((*seen)[receive] || !Fits(receives_, receive, windows_[window])) continue;
      (*seen)[receive] = true;
      if (window_of_[receive].has_value() && !Place(*window_of_[receive], seen)) continue;
      window_of_[receive] = window;
      return true;
    }
    return false;
  }

  const std::vector<std::optional<size_t>>& window_of() const { return window_of_; }

 private:
  const std::vector<Window>& windows_;
  const std::vector<OpenReceive>& receives_;
  std::vector<std::optional<size_t>> window_of_;
};

}  // namespace

std::vector<bool> Excuse(const std::vector<Window>& windows,
                         const std::vector<OpenReceive>& receives) {
  Matching matching(windows, receives);
  for (size_t window = 0; window < windows.size(); ++window) {
    std::vector<bool> seen(receives.size());
    matching.Place(window, &seen);
  }
  std::vector<bool> excused(windows.size());
  for (const std::optional<size_t>& window : matching.window_of()) {
    if (window.has_value()) excused[*window] = true;
  }
  return excused;
}

}  // namespace mailrail::soak
