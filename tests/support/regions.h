#ifndef MAILRAIL_TESTS_SUPPORT_REGIONS_H_
#define MAILRAIL_TESTS_SUPPORT_REGIONS_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "mailrail/mailrail.h"
#include "tests/support/party.pb.h"

namespace mailrail {

// The value number N of a test: N in each of its words, so that half of it shows.
using TestValue = std::array<uint64_t, 100>;

// The named regions and values that a party has open, one of each name. Thread-safe; one call at a
// time on one of them.
class NamedRegions {
 public:
  // `process` is not owned, and outlives it.
  explicit NamedRegions(Process* process) : process_(process) {}

  party::RegionResult Do(const party::RegionCall& call, absl::Time deadline);

 private:
  absl::Status DoRegion(const party::RegionCall& call, absl::Time deadline,
                        party::RegionResult* result);
  absl::Status DoValue(const party::RegionCall& call, absl::Time deadline,
                       party::RegionResult* result);
  std::shared_ptr<SharedRegion> FindRegion(const std::string& name);
  std::shared_ptr<SharedValue<TestValue>> FindValue(const std::string& name);

  Process* const process_;
  absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<SharedRegion>> regions_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<SharedValue<TestValue>>> values_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace mailrail

#endif  // MAILRAIL_TESTS_SUPPORT_REGIONS_H_
