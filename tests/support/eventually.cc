#include "tests/support/eventually.h"

namespace mailrail {

bool Eventually(absl::FunctionRef<bool()> condition) {
  for (const absl::Time end = Patience(); absl::Now() < end;
       absl::SleepFor(absl::Milliseconds(2))) {
    if (condition()) return true;
  }
  return condition();
}

}  // namespace mailrail
