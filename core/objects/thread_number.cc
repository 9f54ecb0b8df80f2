#include "core/objects/thread_number.h"

#include <deque>

#include "absl/base/attributes.h"
#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace mailrail::internal {
namespace {

// So many of threads that have ended are not given out again: one that ended with a lock should not
// have a namesake soon.
constexpr size_t kResting = 1024;

ABSL_CONST_INIT absl::Mutex mutex(absl::kConstInit);
uint32_t last_number ABSL_GUARDED_BY(mutex) = 0;

// Those of threads that have ended. Never destroyed: threads may end after it.
std::deque<uint32_t>& Free() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
  static auto* const free = new std::deque<uint32_t>();
  return *free;
}

class Number {
 public:
  Number() {
    absl::MutexLock lock(&mutex);
    if (Free().size() < kResting) {
      value_ = ++last_number;
    } else {
      value_ = Free().front();
      Free().pop_front();
    }
  }
  ~Number() {
    absl::MutexLock lock(&mutex);
    Free().push_back(value_);
  }
  uint32_t value() const { return value_; }

 private:
  uint32_t value_ = 0;
};

}  // namespace

constinit thread_local uint32_t thread_number = 0;

uint32_t NewThreadNumber() {
  thread_local const Number number;
  return thread_number = number.value();
}

}  // namespace mailrail::internal
