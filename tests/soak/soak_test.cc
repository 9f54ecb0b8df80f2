// Senders and receivers under random kills and stops, checked against the contract.
//
//   MAILRAIL_SOAK_SECONDS  how long, 60 without it
//   MAILRAIL_SOAK_SEED     whose schedule of kills and stops, a random one without it
#include "tests/soak/soak.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdio>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "tests/support/require.h"

namespace mailrail::soak {
namespace {

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* const text = getenv(name);
  uint64_t value = otherwise;
  Require(text == nullptr || absl::SimpleAtoi(text, &value), name);
  return value;
}

TEST(SoakTest, KillsAndStopsOfAllProcessesBreakNoPromise) {
  const uint64_t seed = Setting("MAILRAIL_SOAK_SEED", std::random_device{}());
  const uint64_t seconds = Setting("MAILRAIL_SOAK_SECONDS", 60);
  absl::PrintF("[soak] seed %d, %d s\n", seed, seconds);
  std::fflush(stdout);
  auto cluster = Cluster::Start({"alpha", "beta"});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  Soak soak(cluster->get(), seed);
  const int64_t end_ns = NowNs() + static_cast<int64_t>(seconds) * 1'000'000'000;
  const auto goes_on = [&] { return NowNs() < end_ns && !HasFatalFailure(); };
  do {
    soak.RunRound();
    const Counts& now = soak.counts();
    if (now.rounds % 12 == 0 && goes_on()) {
      absl::PrintF("[soak] after %d rounds: %d messages, %d kills, %d violations\n", now.rounds,
                   now.told, now.kills(), now.violations);
      std::fflush(stdout);
    }
  } while (goes_on());
  const Counts& counts = soak.counts();
  absl::PrintF(
      "[soak] killed: %d senders, %d receivers, %d agents, %d keepers; received %d, of these %d "
      "redelivered, %d leased; gone with their receivers: %d in inboxes, %d taken from mailboxes; "
      "ends told: "
      "%d\n",
      counts.sender_kills, counts.receiver_kills, counts.agent_kills, counts.keeper_kills,
      counts.received, counts.redelivered, counts.leased, counts.gone_in_inboxes, counts.gone_taken,
      counts.ends_told);
  absl::PrintF("[soak] seed %d: %d messages, %d kills, %d stops, %d violations\n", seed,
               counts.told, counts.kills(), counts.stops, counts.violations);
  EXPECT_GT(counts.received, 0u);
  EXPECT_GT(counts.leased, 0u);
  EXPECT_GT(counts.sender_kills, 0u);
  EXPECT_GT(counts.receiver_kills, 0u);
}

}  // namespace
}  // namespace mailrail::soak
