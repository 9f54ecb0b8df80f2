#ifndef MAILRAIL_TESTS_SOAK_VIOLATION_H_
#define MAILRAIL_TESTS_SOAK_VIOLATION_H_

#include <string>
#include <vector>

namespace mailrail::soak {

// What can be wrong with a history: checker.h says when it is.
enum class Breach {
  kLost,
  kPhantom,
  kDuplicate,
  kOrder,
  kQueueOrder,
  kPriority,
  kHidden,
  kMark,
  kEnd,
  kAltered,
  kStatus,
};
const char* NameOf(Breach breach);

struct Violation {
  Breach breach;
  std::string text;
};

// Adds one; its text begins with the name of the breach.
void Report(std::vector<Violation>* violations, Breach breach, const std::string& text);

}  // namespace mailrail::soak

#endif  // MAILRAIL_TESTS_SOAK_VIOLATION_H_
