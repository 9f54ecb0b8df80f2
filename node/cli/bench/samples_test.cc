#include "node/cli/bench/samples.h"

#include <memory>

#include "gtest/gtest.h"
#include "node/cli/bench/body.h"
#include "node/cli/bench/exchange.h"

namespace mailrail::bench {
namespace {

TEST(SamplesTest, PercentilesAreOfRecordedValues) {
  const auto samples = std::make_unique<Samples>();
  samples->Prepare();
  for (int i = 1000; i > 0; --i) samples->Add(i);
  const std::vector<uint32_t> sorted = samples->Sorted();
  EXPECT_EQ(Percentile(sorted, 0.5), 500u);
  EXPECT_EQ(Percentile(sorted, 0.99), 990u);
  EXPECT_EQ(Percentile(sorted, 0.999), 999u);
  EXPECT_EQ(Percentile(sorted, 1), 1000u);
  EXPECT_EQ(Percentile({}, 0.5), 0u);
}

TEST(SamplesTest, FullSamplesThinOut) {
  const auto samples = std::make_unique<Samples>();
  samples->Prepare();
  constexpr int64_t kAll = 3 * int64_t{Samples::kCapacity};
  for (int64_t i = 0; i < kAll; ++i) samples->Add(i);
  EXPECT_LE(samples->count(), Samples::kCapacity);
  EXPECT_GE(samples->count(), Samples::kCapacity / 2);
  EXPECT_NEAR(Percentile(samples->Sorted(), 0.5), kAll / 2, kAll / 100);
}

TEST(SamplesTest, ValuesOutOfRangeAreKeptAtItsEnds) {
  const auto samples = std::make_unique<Samples>();
  samples->Prepare();
  samples->Add(-5);
  samples->Add(int64_t{1} << 40);
  EXPECT_EQ(samples->Sorted(), (std::vector<uint32_t>{0, UINT32_MAX}));
}

TEST(MedianTest, IsTheMiddle) {
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(Median({}), 0);
}

TEST(SliceTimesTest, SlicesAreAboutThreeTenthsOfASecond) {
  EXPECT_EQ(SliceTimes::Of(3).slices, 10u);
  EXPECT_EQ(SliceTimes::Of(0.3).slices, 1u);
  EXPECT_EQ(SliceTimes::Of(0.01).slices, 1u);
  EXPECT_EQ(SliceTimes::Of(0.01).slice_ns, 10'000'000);
  EXPECT_EQ(SliceTimes::Of(1e6).slices, SliceTimes::kMaxSlices);
}

TEST(SliceMeterTest, CountsInTheSliceOfNow) {
  const auto meter = std::make_unique<SliceMeter>();
  SliceTimes times;
  times.slice_ns = int64_t{3600} * 1'000'000'000;
  times.slices = 2;
  // Now is in the second slice, whatever the machine does meanwhile.
  meter->Start(times, NowNs() - times.slice_ns - times.slice_ns / 2, 10);
  meter->Add(7);  // too few to look at the clock
  meter->Add(5);
  EXPECT_EQ(meter->Rate(0), 0);
  EXPECT_DOUBLE_EQ(meter->Rate(1) * 3600, 12);
}

TEST(BodyTest, WhatIsWrittenIsRead) {
  for (const BodyStyle style : {BodyStyle::kWhole, BodyStyle::kEnds}) {
    for (const size_t size : {1u, 7u, 8u, 9u, 15u, 16u, 17u, 64u, 100u, 8192u}) {
      std::string body(size, 'x');
      WriteBody(body.data(), size, 0x0123456789abcdef, style);
      uint64_t number = 0;
      EXPECT_TRUE(ReadBody(body, style, &number)) << size;
      EXPECT_EQ(number, Carried(0x0123456789abcdef, size)) << size;
    }
  }
}

TEST(BodyTest, EveryByteThatDiffersIsSeen) {
  for (const size_t size : {16u, 17u, 23u, 64u, 100u}) {
    std::string body(size, 'x');
    WriteBody(body.data(), size, 0x0123456789abcdef, BodyStyle::kWhole);
    for (char& byte : body) {
      byte = static_cast<char>(byte ^ 1);
      uint64_t number = 0;
      EXPECT_FALSE(ReadBody(body, BodyStyle::kWhole, &number)) << size << " " << (&byte - &body[0]);
      byte = static_cast<char>(byte ^ 1);
    }
  }
}

}  // namespace
}  // namespace mailrail::bench
