#include "node/keeper/restart_policy.h"

#include <vector>

#include "gtest/gtest.h"

namespace mailrail {
namespace {

std::vector<absl::Duration> DelaysAfterQuickDeaths(RestartPolicy& policy, int deaths) {
  std::vector<absl::Duration> delays;
  for (int i = 0; i < deaths; ++i) delays.push_back(policy.DelayAfterDeath(absl::Milliseconds(1)));
  return delays;
}

TEST(RestartPolicy, AgentThatLivedIsStartedAgainAtOnce) {
  RestartPolicy policy({});
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(policy.DelayAfterDeath(absl::Seconds(1)), absl::ZeroDuration());
  }
}

TEST(RestartPolicy, DelaysDoubleUpToTheMaximumAfterTheFirstRestarts) {
  RestartPolicy policy({});
  const std::vector<absl::Duration> expected = {
      absl::ZeroDuration(),     absl::ZeroDuration(),    absl::ZeroDuration(),
      absl::Milliseconds(50),   absl::Milliseconds(100), absl::Milliseconds(200),
      absl::Milliseconds(400),  absl::Milliseconds(800), absl::Milliseconds(1600),
      absl::Milliseconds(3200), absl::Seconds(5),        absl::Seconds(5)};
  EXPECT_EQ(DelaysAfterQuickDeaths(policy, 12), expected);
}

TEST(RestartPolicy, LifeOfAMinuteMakesEarlierDeathsForgotten) {
  RestartPolicy policy({});
  const std::vector<absl::Duration> first = DelaysAfterQuickDeaths(policy, 8);
  EXPECT_EQ(policy.DelayAfterDeath(absl::Minutes(1)), absl::ZeroDuration());
  EXPECT_EQ(DelaysAfterQuickDeaths(policy, 8), first);
}

TEST(RestartPolicy, ShorterLifeDoesNotMakeThemForgotten) {
  RestartPolicy policy({});
  DelaysAfterQuickDeaths(policy, 4);
  EXPECT_EQ(policy.DelayAfterDeath(absl::Seconds(59)), absl::ZeroDuration());
  EXPECT_EQ(policy.DelayAfterDeath(absl::Milliseconds(1)), absl::Milliseconds(100));
}

TEST(RestartPolicy, MaximumHoldsForTheFirstDelayToo) {
  RestartPolicy policy({.min_backoff = absl::Seconds(2), .max_backoff = absl::Seconds(1)});
  DelaysAfterQuickDeaths(policy, kRestartsAtOnce);
  EXPECT_EQ(policy.DelayAfterDeath(absl::ZeroDuration()), absl::Seconds(1));
}

TEST(RestartPolicy, ConfigurationErrorIsFinalForTheFirstAgentOnly) {
  EXPECT_TRUE(IsFinalExitCode(0, true));
  EXPECT_TRUE(IsFinalExitCode(0, false));
  for (int code : {3, 7, 9}) {
    EXPECT_TRUE(IsFinalExitCode(code, true)) << code;
    EXPECT_FALSE(IsFinalExitCode(code, false)) << code;
  }
  for (int code : {1, 2, 13, 14, 255}) EXPECT_FALSE(IsFinalExitCode(code, true)) << code;
}

}  // namespace
}  // namespace mailrail
