// The lanes, the bell and the snapshot as they are shipped, under Relacy; and the same with one
// order of memory weakened, which must be noticed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <iostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/model/scenarios.h"

namespace mailrail::model {
namespace {

constexpr uint64_t kRuns = 20000;
// Enough to reach every operation, to name them.
constexpr uint64_t kRunsOfSurvey = 500;
// How long to look for a failure in each scenario: most are found soon in one of them.
constexpr uint64_t kRunsUntilNoticed[] = {6000, 60000};

std::vector<NamedScenario> AllScenarios() {
  std::vector<NamedScenario> all;
  for (const auto* each :
       {&RingScenarios(), &CellScenarios(), &BellScenarios(), &SnapshotScenarios()}) {
    all.insert(all.end(), each->begin(), each->end());
  }
  return all;
}

// The weaker orders of one operation that are not noticed, and why.
struct Unnoticed {
  const char* site;
  const char* why;
};

constexpr char kValue[] = "its value alone decides; nothing is read because of it";
constexpr char kCompared[] = "what it reads is compared again by an exchange";
constexpr char kTwice[] = "another pair orders the same; both are weak and cost nothing";
constexpr char kInPlace[] = "it must not move down, and Relacy executes every load where it stands";
constexpr char kFence[] = "the fence behind it does as much";
constexpr char kKernel[] = "its owner is dead, and the kernel orders the death before it";
constexpr char kBarrier[] = "the barrier before it does as much";
constexpr char kNeighbour[] =
    "here each sequentially consistent neighbour has a fence, which C++ does not promise; bell.pml "
    "shows what it is for";
constexpr char kNoOrder[] = "stronger than needed: nobody relies on a total order here";
constexpr char kClaim[] = "Peek has acquired the message, and Move releases what was read of it";

// Not noticed in whatever weaker order.
constexpr Unnoticed kNeverNoticed[] = {
    {"CellReader::Claim compare 0", kClaim},
    {"CellReader::Count load 0", kBarrier},
    {"CellReader::Count load 1", kBarrier},
    {"CellReader::Count load 2", kBarrier},
    {"CellReader::Done load 0", kCompared},
    {"CellReader::FindReturned load 1", kTwice},
    {"CellReader::FindReturned load 2", kTwice},
    {"CellReader::Move load 0", kCompared},
    {"CellReader::Peek load 1", kCompared},
    {"CellReader::Peek load 2", kTwice},
    {"CellReader::ReleaseClaimsIf fetch_add 0", kValue},
    {"CellReader::ReleaseClaimsIf load 0", kKernel},
    {"CellReader::ReleaseClaimsIf load 1", kKernel},
    {"CellReader::Return fetch_add 0", kValue},
    {"CellReader::RingSender fetch_add 0", kValue},
    {"CellReader::rings_in_use load 0", kValue},
    {"CellWriter::ParkForRoom fetch_add 0", kFence},
    {"CellWriter::ParkForRoom load 0", kInPlace},
    {"CellWriter::Publish fetch_or 0", kValue},
    {"CellWriter::Publish store 0", kTwice},
    {"CellWriter::Retract compare 0", kValue},
    {"CellWriter::Retract load 0", kCompared},
    {"Parker::Park compare 0", kValue},
    {"Parker::Park fence 0", kNeighbour},
    {"Parker::Park load 0", kInPlace},
    {"Parker::Park load 1", kNeighbour},
    {"Parker::Unpark store 0", kValue},
    {"RingGate fetch_add 0", kValue},
    {"RingReader::RingSender fetch_add 0", kValue},
    {"RingReader::rings_in_use load 0", kValue},
    {"RingWriter::ParkForRoom fetch_add 0", kFence},
    {"RingWriter::ParkForRoom load 0", kInPlace},
    {"RingWriter::Use fetch_or 0", kValue},
    {"Ringer::RingFor fence 0", kNeighbour},
    {"Ringer::RingFor load 0", kNeighbour},
    {"Ringer::Stream compare 0", kNeighbour},
    {"Ringer::Stream load 0", kNeighbour},
    {"Ringer::Stream load 1", kNeighbour},
};

// Not noticed while they still acquire and release; relaxed they are.
constexpr Unnoticed kTotalOrderNotNoticed[] = {
    {"CellReader::Done compare 0", kNoOrder},
    {"CellReader::FindReturned load 0", kNoOrder},
    {"CellReader::Move compare 0", kNoOrder},
    {"CellReader::ReleaseClaimsIf fetch_add 1", kNoOrder},
    {"CellReader::Return fetch_add 1", kNoOrder},
};

// What must be noticed.
constexpr std::pair<const char*, std::memory_order> kNoticed[] = {
    {"CellReader::Done compare 0", std::memory_order_relaxed},
    {"CellReader::FindReturned load 0", std::memory_order_relaxed},
    {"CellReader::Move compare 0", std::memory_order_relaxed},
    {"CellReader::Peek load 0", std::memory_order_relaxed},
    {"CellReader::ReleaseClaimsIf fetch_add 1", std::memory_order_relaxed},
    {"CellReader::Return fetch_add 1", std::memory_order_relaxed},
    {"CellReader::RingSender load 0", std::memory_order_acquire},
    {"CellReader::RingSender load 0", std::memory_order_relaxed},
    {"CellReader::TakeSmall compare 0", std::memory_order_acq_rel},
    {"CellReader::TakeSmall compare 0", std::memory_order_relaxed},
    {"CellWriter::Done load 0", std::memory_order_relaxed},
    {"CellWriter::ParkForRoom fence 0", std::memory_order_relaxed},
    {"CellWriter::Publish exchange 0", std::memory_order_acq_rel},
    {"CellWriter::Publish exchange 0", std::memory_order_relaxed},
    {"CellWriter::Publish store 1", std::memory_order_relaxed},
    {"Parker::Park fetch_add 0", std::memory_order_acq_rel},
    {"Parker::Park fetch_add 0", std::memory_order_relaxed},
    {"RingReader::CheckOther load 0", std::memory_order_relaxed},
    {"RingReader::Peek load 0", std::memory_order_relaxed},
    {"RingReader::ReleaseCell exchange 0", std::memory_order_acq_rel},
    {"RingReader::ReleaseCell exchange 0", std::memory_order_relaxed},
    {"RingReader::RingSender load 0", std::memory_order_acquire},
    {"RingReader::RingSender load 0", std::memory_order_relaxed},
    {"RingReader::TellAll exchange 0", std::memory_order_acq_rel},
    {"RingReader::TellAll exchange 0", std::memory_order_relaxed},
    {"RingWriter::LookForRoom load 0", std::memory_order_relaxed},
    {"RingWriter::ParkForRoom fence 0", std::memory_order_relaxed},
    {"RingWriter::Publish exchange 0", std::memory_order_acq_rel},
    {"RingWriter::Publish exchange 0", std::memory_order_relaxed},
    {"RingWriter::Publish store 0", std::memory_order_relaxed},
    {"RingWriter::ReclaimCells load 0", std::memory_order_relaxed},
    {"RingWriter::Wrap store 0", std::memory_order_relaxed},
    {"Ringer::Ring load 0", std::memory_order_acquire},
    {"Ringer::Ring load 0", std::memory_order_relaxed},
    {"SnapshotReader::ReadFirst fence 0", std::memory_order_relaxed},
    {"SnapshotReader::ReadFirst load 0", std::memory_order_relaxed},
    {"SnapshotReader::ended load 0", std::memory_order_relaxed},
    {"SnapshotWriter::End store 0", std::memory_order_relaxed},
    {"SnapshotWriter::Publish exchange 0", std::memory_order_acq_rel},
    {"SnapshotWriter::Publish exchange 0", std::memory_order_relaxed},
    {"SnapshotWriter::Publish fence 0", std::memory_order_relaxed},
    {"SnapshotWriter::Publish store 0", std::memory_order_relaxed},
};

std::string CaseName(std::string text) {
  std::erase_if(text, [](unsigned char c) { return std::isalnum(c) == 0; });
  return text;
}

// Runs everything for a short time, so that each operation has its name.
void NameOperations() {
  static const bool named = [] {
    for (const NamedScenario& scenario : AllScenarios()) RunScenario(scenario, kRunsOfSurvey);
    return true;
  }();
  EXPECT_TRUE(named);
}

class ScenarioTest : public ::testing::TestWithParam<NamedScenario> {};

TEST_P(ScenarioTest, IsSoundInEveryRun) {
  const Outcome outcome = RunScenario(GetParam(), kRuns);
  EXPECT_TRUE(outcome.passed) << outcome.failure;
  std::cout << "[relacy] " << GetParam().name << ": " << outcome.runs << " runs\n";
}

INSTANTIATE_TEST_SUITE_P(Relacy, ScenarioTest, ::testing::ValuesIn(AllScenarios()),
                         [](const auto& test) { return test.param.name; });

class WeakenedOrderTest
    : public ::testing::TestWithParam<std::pair<const char*, std::memory_order>> {};

TEST_P(WeakenedOrderTest, IsNoticed) {
  NameOperations();
  const Weakened weakened{GetParam().first, GetParam().second};
  for (const uint64_t runs : kRunsUntilNoticed) {
    for (const NamedScenario& scenario : AllScenarios()) {
      if (!Executes(scenario, weakened.site)) continue;
      const Outcome outcome = RunScenario(scenario, runs, &weakened);
      if (outcome.passed) continue;
      std::cout << "[relacy] " << weakened.site << " as " << NameOf(weakened.order) << ": "
                << scenario.name << ", run " << outcome.runs << ", " << outcome.failure << "\n";
      return;
    }
  }
  FAIL() << weakened.site << " as " << NameOf(weakened.order) << " is not noticed";
}

INSTANTIATE_TEST_SUITE_P(Relacy, WeakenedOrderTest, ::testing::ValuesIn(kNoticed),
                         [](const auto& test) {
                           return CaseName(test.param.first) + "As" +
                                  CaseName(NameOf(test.param.second));
                         });

// Every order that is stronger than relaxed is in one of the tables, and nothing else.
TEST(OrdersTest, EachIsNeededOrSaysWhyItCannotBeShown) {
  NameOperations();
  std::set<std::pair<std::string, std::memory_order>> expected(std::begin(kNoticed),
                                                               std::end(kNoticed));
  std::set<std::string> never, total_order;
  for (const Unnoticed& each : kNeverNoticed) never.insert(each.site);
  for (const Unnoticed& each : kTotalOrderNotNoticed) total_order.insert(each.site);
  std::set<std::string> seen;
  for (const Site& site : SitesSeen()) {
    seen.insert(site.name);
    if (never.contains(site.name)) continue;
    for (const std::memory_order order : WeakerThan(site)) {
      if (order != std::memory_order_relaxed && total_order.contains(site.name)) continue;
      EXPECT_TRUE(expected.contains({site.name, order}))
          << site.name << " as " << NameOf(order) << " is in no table";
    }
  }
  for (const auto& [name, order] : expected) EXPECT_TRUE(seen.contains(name)) << name;
  for (const std::string& name : never) EXPECT_TRUE(seen.contains(name)) << name;
  for (const std::string& name : total_order) EXPECT_TRUE(seen.contains(name)) << name;
}

}  // namespace
}  // namespace mailrail::model
