#include "node/config/units.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mailrail {
namespace {

TEST(UnitsTest, SizesAreBytesOrMultiplesOf1024) {
  EXPECT_EQ(*ReadSize("0"), 0u);
  EXPECT_EQ(*ReadSize("4096"), 4096u);
  EXPECT_EQ(*ReadSize("64K"), 65536u);
  EXPECT_EQ(*ReadSize("64KiB"), 65536u);
  EXPECT_EQ(*ReadSize("64kB"), 65536u);
  EXPECT_EQ(*ReadSize("4M"), 4u << 20);
  EXPECT_EQ(*ReadSize("1G"), 1u << 30);
}

TEST(UnitsTest, WhatIsNoSizeIsRefused) {
  for (const char* text : {"", "K", "-1", "1.5M", "4 M", "4T", "12iB", "0x10",
                           "18446744073709551616", "99999999999999G"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadSize(text).status())) << text;
  }
}

TEST(UnitsTest, SizesAreFormattedAsTheyAreRead) {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, uint64_t{65536},
                               uint64_t{64} << 20, uint64_t{3} << 30}) {
    EXPECT_EQ(*ReadSize(FormatSize(bytes)), bytes);
  }
  EXPECT_EQ(FormatSize(64 << 20), "64M");
  EXPECT_EQ(FormatSize(1000), "1000");
}

TEST(UnitsTest, DurationsHaveUnitsOrAreSeconds) {
  EXPECT_EQ(*ReadDuration("250ms"), absl::Milliseconds(250));
  EXPECT_EQ(*ReadDuration("1m30s"), absl::Seconds(90));
  EXPECT_EQ(*ReadDuration("5"), absl::Seconds(5));
  EXPECT_EQ(*ReadDuration("0.5"), absl::Milliseconds(500));
  EXPECT_EQ(*ReadDuration("0"), absl::ZeroDuration());
  EXPECT_EQ(*ReadDuration("inf"), absl::InfiniteDuration());
}

TEST(UnitsTest, WhatIsNoDurationIsRefused) {
  for (const char* text : {"", "soon", "5 s", "-1s", "-1", "1x", "-inf"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadDuration(text).status())) << text;
  }
}

TEST(UnitsTest, ModesAreOctal) {
  EXPECT_EQ(*ReadMode("0600"), 0600u);
  EXPECT_EQ(*ReadMode("666"), 0666u);
  EXPECT_EQ(FormatMode(0660), "0660");
  for (const char* text : {"", "0x1ff", "888", "1777", "rw", "-1", "06000"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadMode(text).status())) << text;
  }
}

TEST(UnitsTest, AddressesHaveHostAndPort) {
  for (const char* text : {"10.0.0.1:7400", "alpha.example:1", "[::1]:7400", "localhost:65535"}) {
    EXPECT_EQ(*ReadAddress(text, /*any_port=*/false), text);
  }
  for (const char* text : {"", "7400", "10.0.0.1", "host:", ":7400", "::1:7400", "host:65536",
                           "host:-1", "host:http", "http://host:80", "a b:1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadAddress(text, true).status())) << text;
  }
  EXPECT_TRUE(ReadAddress("127.0.0.1:0", /*any_port=*/true).ok());
  EXPECT_FALSE(ReadAddress("127.0.0.1:0", /*any_port=*/false).ok());
}

TEST(UnitsTest, NumbersKeepToTheirBounds) {
  EXPECT_EQ(*ReadNumber("31", 0, 31), 31u);
  for (const char* text : {"32", "-1", "", "3.0", "0x1", "1e3", "+1"}) {
    const absl::Status status = ReadNumber(text, 0, 31).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("from 0 to 31"));
  }
}

}  // namespace
}  // namespace mailrail
