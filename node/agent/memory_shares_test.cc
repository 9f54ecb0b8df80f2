#include "node/agent/memory_shares.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "node/agent/agent_testing.h"

namespace mailrail {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kNode = 64 * kMiB;

class MemorySharesTest : public testing::Test {
 protected:
  struct Member {
    LocalProcess* process = nullptr;
    Link* link = nullptr;  // whose memory it writes
    uint64_t used = 0;
  };

  Member Attach() {
    Member member;
    member.process = AddTestProcess(&registry_);
    shares_.OnAttach(*member.process);
    member.link = registry_
                      .AddLink(Endpoint::OfProcess(member.process->number),
                               Endpoint::OfRemoteProcess(ProcessId("beta", 7, ++last_remote_)), {})
                      .value();
    return member;
  }
  static uint64_t Granted(const Member& member) {
    return member.process->inbox.page()->memory_bytes.load();
  }
  // As a lane that reserves.
  static void Use(Member* member, uint64_t bytes) {
    if (bytes == 0) return;
    const auto from = static_cast<off_t>(member->used);
    ASSERT_EQ(fallocate(member->link->memory_a.get(), 0, from, static_cast<off_t>(bytes)), 0);
    member->used += bytes;
  }
  void Ask(const Member& member, uint64_t wanted = kMiB) {
    shares_.OnUse(member.process->number, member.used, wanted);
  }

  TestKeeper keeper_;
  Registry registry_{"alpha", 7, keeper_.vault(), [](absl::string_view) {}};
  Loop loop_;
  MemoryShares shares_{{kNode, 0, [this](absl::string_view line) { logged_ = std::string(line); }},
                       &loop_,
                       &registry_};
  std::string logged_;
  uint64_t last_remote_ = 0;
};

TEST_F(MemorySharesTest, WhoAttachesHasAShare) {
  const Member one = Attach(), two = Attach();
  EXPECT_EQ(Granted(one), kNode / 4 / 8);
  EXPECT_GE(Granted(two), kMiB);
}

TEST_F(MemorySharesTest, WhoAsksGetsMoreThanWhoDoesNot) {
  const Member one = Attach(), two = Attach();
  Ask(one);
  shares_.Resume();
  EXPECT_GT(Granted(one), kNode / 4);
  EXPECT_LT(Granted(two), kNode / 8);
  EXPECT_GT(Granted(two), kMiB);
  Ask(two);
  shares_.Resume();
  EXPECT_GT(Granted(two), kNode / 4);
}

// Whatever they use and whenever they ask, and though each may use what it was granted before.
TEST_F(MemorySharesTest, AllThatIsGrantedIsNeverMoreThanThereIs) {
  const std::random_device::result_type seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  std::vector<Member> members;
  uint64_t agent_before = 0;
  std::vector<uint64_t> before;
  for (int round = 0; round < 300; ++round) {
    if (members.size() < 20 && random() % 4 == 0) members.push_back(Attach());
    before.clear();
    for (Member& member : members) {
      before.push_back(Granted(member));
      const uint64_t left = Granted(member) > member.used ? Granted(member) - member.used : 0;
      if (random() % 2 == 0) Use(&member, left * (random() % 101) / 100 / 4096 * 4096);
      if (random() % 4 == 0) Ask(member);
    }
    agent_before = shares_.agent_budget()->limit_bytes();
    if (random() % 2 == 0) shares_.Resume();
    uint64_t sum = std::max(agent_before, shares_.agent_budget()->limit_bytes());
    for (size_t i = 0; i < members.size(); ++i) {
      sum += std::max({members[i].used, before[i], Granted(members[i])});
    }
    ASSERT_LE(sum, kNode) << round;
  }
  EXPECT_FALSE(members.empty());
}

TEST_F(MemorySharesTest, WhatIsUsedIsMeasuredAndComesBackWhenItIsGone) {
  Member one = Attach();
  const Member two = Attach();
  Ask(one);
  shares_.Resume();
  Use(&one, 16 * kMiB);
  EXPECT_EQ(shares_.Of(*one.process).used_bytes, 16 * kMiB);
  Ask(two);
  shares_.Resume();
  const uint64_t little = Granted(two);
  EXPECT_LT(little, (kNode - 16 * kMiB) / 2);
  registry_.RemoveLink(one.link->id);
  shares_.OnUse(one.process->number, 0, 0);
  Ask(two);
  shares_.Resume();
  EXPECT_GT(Granted(two), little);
}

TEST_F(MemorySharesTest, WhatAProcessSaysCountsOnlyAsFarAsItWasGranted) {
  const Member liar = Attach(), other = Attach();
  shares_.OnUse(liar.process->number, uint64_t{1} << 60, uint64_t{1} << 60);
  Ask(other);
  shares_.Resume();
  EXPECT_GT(Granted(other), kNode / 10);
}

TEST_F(MemorySharesTest, ItIsSaidWhenItIsNearlyUsedUp) {
  Member one = Attach();
  for (int i = 0; i < 20; ++i) {
    Ask(one);
    shares_.Resume();
    Use(&one, (Granted(one) - one.used) / 4096 * 4096);
  }
  shares_.Resume();
  EXPECT_NE(logged_.find("--memory-bytes"), std::string::npos);
}

TEST_F(MemorySharesTest, NoProcessHasMoreThanTheOptionForEachSays) {
  MemoryShares shares({kNode, 100000, [](absl::string_view) {}}, &loop_, &registry_);
  LocalProcess* const process = AddTestProcess(&registry_);
  shares.OnAttach(*process);
  EXPECT_EQ(process->inbox.page()->memory_bytes.load(), 100000u);
  shares.OnUse(process->number, 100000, 1);
  shares.Resume();
  EXPECT_EQ(process->inbox.page()->memory_bytes.load(), 100000u);
}

}  // namespace
}  // namespace mailrail
