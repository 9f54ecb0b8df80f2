#include "node/peer/backoff.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace mailrail {
namespace {

constexpr absl::Duration kMin = absl::Milliseconds(50);
constexpr absl::Duration kMax = absl::Seconds(2);

TEST(Backoff, DoublesUpToTheMaximumWithJitter) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  Backoff backoff(kMin, kMax);
  absl::Duration full = kMin;
  for (int i = 0; i < 20; ++i) {
    const absl::Duration wait = backoff.Next(random);
    EXPECT_GE(wait, full / 2);
    EXPECT_LE(wait, full);
    full = std::min(full * 2, kMax);
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(random), kMin);
}

TEST(Backoff, ExhaustMakesTheNextWaitTheLongest) {
  std::mt19937_64 random(1);
  Backoff backoff(kMin, kMax);
  backoff.Exhaust();
  EXPECT_GE(backoff.Next(random), kMax / 2);
}

}  // namespace
}  // namespace mailrail
