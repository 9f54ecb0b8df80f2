// Which messages that are missing in a mailbox may have been taken by receivers that were killed.
#ifndef MAILRAIL_TESTS_SOAK_EXCUSES_H_
#define MAILRAIL_TESTS_SOAK_EXCUSES_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace mailrail::soak {

// When a message can have been taken, by what is known of those before and after it.
struct Window {
  int64_t begin = 0;
  int64_t end = std::numeric_limits<int64_t>::max();

  void BeginAfter(int64_t time) { begin = std::max(begin, time); }
  void EndBy(int64_t time) { end = std::min(end, time); }
};

// A receive that had not returned when its process was killed.
struct OpenReceive {
  int64_t call = 0;
  int64_t struck = 0;  // the process lived until then at least,
  int64_t died = 0;    // and until then at most
};

// Finds as many pairs as possible of a window and a receive that fits: one that was open in the
// window; or later, when another was open in it, which had claimed the message without taking it,
// so that it came again. Returns whether each window has got one.
std::vector<bool> Excuse(const std::vector<Window>& windows,
                         const std::vector<OpenReceive>& receives);

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_EXCUSES_H_
