#include "node/agent/wait_graph.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace mailrail {
namespace {

constexpr Holder kA = {1, 1}, kB = {2, 1}, kC = {3, 1}, kD = {3, 2};

class WaitGraphTest : public ::testing::Test {
 protected:
  void Wait(Holder who, uint64_t object) { graph_.Add(who, object, false, now_); }
  // Whom the cycle goes through, in its order.
  std::vector<Holder> Cycle(Holder who) {
    std::vector<Holder> through;
    for (const WaitGraph::Step& step : graph_.FindCycle(
             who, now_, [this](Holder, uint64_t object, bool) { return holders_[object]; })) {
      through.push_back(step.who);
    }
    return through;
  }

  WaitGraph graph_;
  std::map<uint64_t, std::vector<Holder>> holders_;
  absl::Time now_ = absl::FromUnixSeconds(1000);
};

TEST_F(WaitGraphTest, ALineOfWaitsIsNoCycle) {
  holders_ = {{1, {kA}}, {2, {kB}}};
  Wait(kB, 1);
  Wait(kC, 2);
  EXPECT_TRUE(Cycle(kB).empty());
  EXPECT_TRUE(Cycle(kC).empty());
}

TEST_F(WaitGraphTest, ACycleBeginsWithWhoAsks) {
  holders_ = {{1, {kA}}, {2, {kB}}, {3, {kC}}};
  Wait(kA, 2);
  Wait(kB, 3);
  EXPECT_TRUE(Cycle(kA).empty());
  Wait(kC, 1);
  EXPECT_EQ(Cycle(kC), (std::vector<Holder>{kC, kA, kB}));
  EXPECT_EQ(Cycle(kA), (std::vector<Holder>{kA, kB, kC}));
}

TEST_F(WaitGraphTest, EachStepIsHeldByTheNext) {
  holders_ = {{1, {kA}}, {2, {kB}}};
  Wait(kA, 2);
  Wait(kB, 1);
  const auto cycle = graph_.FindCycle(
      kA, now_, [this](Holder, uint64_t object, bool) { return holders_[object]; });
  ASSERT_EQ(cycle.size(), 2u);
  EXPECT_EQ(cycle[0].object, 2u);
  EXPECT_EQ(cycle[1].object, 1u);
}

TEST_F(WaitGraphTest, ThreadsOfOneProcessAreNotOne) {
  holders_ = {{1, {kC}}, {2, {kA}}};
  Wait(kA, 1);
  Wait(kD, 2);
  EXPECT_TRUE(Cycle(kD).empty());
  Wait(kC, 2);
  EXPECT_EQ(Cycle(kC), (std::vector<Holder>{kC, kA}));
}

TEST_F(WaitGraphTest, ACycleThroughOneOfManyHoldersIsFound) {
  holders_ = {{1, {kB, kC, kD}}, {2, {kA}}};
  Wait(kC, 2);
  Wait(kA, 1);
  EXPECT_EQ(Cycle(kA), (std::vector<Holder>{kA, kC}));
}

TEST_F(WaitGraphTest, ACycleOfOthersIsNoneOfOnesOwn) {
  holders_ = {{1, {kA}}, {2, {kB}}};
  Wait(kA, 2);
  Wait(kB, 1);
  Wait(kC, 1);
  EXPECT_TRUE(Cycle(kC).empty());
}

TEST_F(WaitGraphTest, OneThatWaitsForWhatItHasIsACycle) {
  holders_ = {{1, {kA}}};
  Wait(kA, 1);
  EXPECT_EQ(Cycle(kA), (std::vector<Holder>{kA}));
}

TEST_F(WaitGraphTest, WhatHasEndedIsForgotten) {
  holders_ = {{1, {kA}}, {2, {kB}}};
  const auto both = [&] {
    Wait(kA, 2);
    Wait(kB, 1);
    EXPECT_FALSE(Cycle(kA).empty());
  };
  both();
  graph_.Remove(kB);
  EXPECT_TRUE(Cycle(kA).empty());
  both();
  graph_.RemoveProcess(kB.number);
  EXPECT_TRUE(Cycle(kA).empty());
  both();
  graph_.RemoveObject(1);
  EXPECT_TRUE(Cycle(kA).empty());
  both();
  now_ += WaitGraph::kBelieved + absl::Seconds(1);
  Wait(kA, 2);
  EXPECT_TRUE(Cycle(kA).empty()) << "it was not said again";
  EXPECT_EQ(graph_.WaitersOf(1, now_).size(), 0u);
  EXPECT_EQ(graph_.WaitersOf(2, now_).size(), 1u);
}

TEST_F(WaitGraphTest, SoManyThreadsOfAProcessWaitAndThoseThatAreOverMakeRoom) {
  for (uint32_t thread = 1; thread <= WaitGraph::kMostOfProcess; ++thread) {
    ASSERT_TRUE(graph_.Add({5, thread}, 1, false, now_));
  }
  EXPECT_FALSE(graph_.Add({5, 5000}, 1, false, now_));
  EXPECT_TRUE(graph_.Add({5, 1}, 2, false, now_)) << "one that is known";
  EXPECT_TRUE(graph_.Add({6, 5000}, 1, false, now_)) << "of another process";
  now_ += WaitGraph::kBelieved + absl::Seconds(1);
  EXPECT_TRUE(graph_.Add({5, 5000}, 1, false, now_));
  EXPECT_EQ(graph_.WaitersOf(1, now_).size(), 1u);
}

}  // namespace
}  // namespace mailrail
