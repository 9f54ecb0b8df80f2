#include "tests/soak/violation.h"

#include "absl/strings/str_cat.h"

namespace mailrail::soak {

const char* NameOf(Breach breach) {
  switch (breach) {
    case Breach::kLost:
      return "lost";
    case Breach::kPhantom:
      return "phantom";
    case Breach::kDuplicate:
      return "duplicate";
    case Breach::kOrder:
      return "order";
    case Breach::kQueueOrder:
      return "queue order";
    case Breach::kPriority:
      return "priority";
    case Breach::kHidden:
      return "hidden";
    case Breach::kMark:
      return "mark";
    case Breach::kEnd:
      return "end";
    case Breach::kAltered:
      return "altered";
    case Breach::kStatus:
      return "status";
  }
  return "?";
}

void Report(std::vector<Violation>* violations, Breach breach, const std::string& text) {
  violations->push_back({breach, absl::StrCat(NameOf(breach), ": ", text)});
}

}  // namespace mailrail::soak
