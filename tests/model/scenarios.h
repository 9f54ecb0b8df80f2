#ifndef MAILRAIL_TESTS_MODEL_SCENARIOS_H_
#define MAILRAIL_TESTS_MODEL_SCENARIOS_H_

#include <vector>

#include "tests/model/checker.h"

namespace mailrail::model {

// What is checked: each of the lanes', the bell's and the snapshot's promises between threads, at
// the smallest size that shows it.
const std::vector<NamedScenario>& RingScenarios();
const std::vector<NamedScenario>& CellScenarios();
const std::vector<NamedScenario>& BellScenarios();
const std::vector<NamedScenario>& SnapshotScenarios();

}  // namespace mailrail::model

#endif  // MAILRAIL_TESTS_MODEL_SCENARIOS_H_
